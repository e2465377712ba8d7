"""Where a customer is at home."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from ringline.customers import country_of
from ringline.customers.models import CustomerChange
from ringline.numbers import Number, NumberDirectory
from ringline.settings import Settings
from ringline.storage import Database

ME = uuid4()


@dataclass(frozen=True)
class Customer:
    id: UUID = ME
    country: str = ""
    default_outgoing_source_number_id: UUID | None = None


def _number(text: str, year: int = 2020, **changes: Any) -> Number:
    values = {"customer_id": ME, "type": "normal", "status": "active", **changes}
    made = datetime(year, 1, 1, tzinfo=UTC)
    return Number(
        uuid4(), number=text, call_flow_id=None, message_flow_id=None, name="", tm_create=made, **values
    )


def _directory(*numbers: Number) -> NumberDirectory:
    directory = NumberDirectory(Database("postgresql+asyncpg://nobody@127.0.0.1:1/none"))
    for number in numbers:
        directory._put(number)
    return directory


def test_what_the_customer_says_comes_first_then_its_default_number_then_its_oldest() -> None:
    german, british = _number("+4930123456", 2019), _number("+442071234567", 2021)
    numbers = _directory(british, german)
    assert country_of(Customer(country="fr"), numbers) == "fr"
    assert country_of(Customer(default_outgoing_source_number_id=british.id), numbers) == "gb"
    assert country_of(Customer(), numbers) == "de"
    assert country_of(Customer(id=uuid4()), numbers) == "us"
    assert country_of(Customer(id=uuid4()), numbers, "nl") == "nl"


def test_a_number_without_a_country_of_its_own_counts_for_its_calling_code() -> None:
    assert country_of(Customer(), _directory(_number("+15551234567"))) == "us"
    assert country_of(Customer(), _directory(_number("+14165550123"))) == "ca"
    # international freephone belongs nowhere
    assert country_of(Customer(), _directory(_number("+80012345678")), "se") == "se"


def test_virtual_and_foreign_numbers_do_not_count() -> None:
    virtual = _number("+899100000001", 2018, type="virtual")
    foreign = _number("+81312345678", 2017, customer_id=uuid4())
    numbers = _directory(virtual, foreign, _number("+4930123456"))
    assert country_of(Customer(default_outgoing_source_number_id=foreign.id), numbers) == "de"
    assert country_of(Customer(default_outgoing_source_number_id=virtual.id), numbers) == "de"


def test_the_oldest_number_follows_what_is_bought_and_given_back() -> None:
    german, british = _number("+4930123456", 2019), _number("+442071234567", 2021)
    numbers = _directory(british)
    assert country_of(Customer(), numbers) == "gb"
    numbers._put(german)
    assert country_of(Customer(), numbers) == "de"
    numbers._drop(german.id)
    assert country_of(Customer(), numbers) == "gb"
    numbers._drop(british.id)
    assert country_of(Customer(), numbers) == "us"


@pytest.mark.parametrize("given", ["US", "us", "De", ""])
def test_countries_are_kept_in_small_letters(given: str) -> None:
    assert CustomerChange.model_validate_json(f'{{"country": "{given}"}}').country == given.lower()


@pytest.mark.parametrize("given", ["usa", "u", "zz", "uk", "001", "ß", " us", "us\\n", "u" * 5000])
def test_what_is_no_country_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="ISO 3166"):
        CustomerChange.model_validate_json(f'{{"country": "{given}"}}')


def test_the_installation_has_a_country() -> None:
    assert Settings(default_country="DE").default_country == "de"
    with pytest.raises(ValidationError, match="ISO 3166"):
        Settings(default_country="germany")
