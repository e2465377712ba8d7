"""Which numbers a customer may call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from ringline.outbound import DestinationForbidden, OutboundConfig, Whitelist
from ringline.outbound.models import OutboundConfigChange

CUSTOMER: Any = SimpleNamespace(id=uuid4())


def whitelist(*entries: str, unset: bool = False) -> Whitelist:
    config = OutboundConfig(uuid4(), CUSTOMER.id, None if unset else entries, 0, 0)
    return Whitelist(lambda _: config, lambda _: "us")


def allowed(checked: Whitelist, number: str) -> bool:
    try:
        checked.check(CUSTOMER, number, "destinations[0].target")
    except DestinationForbidden:
        return False
    return True


def test_who_never_said_may_call_the_own_country() -> None:
    for checked in (whitelist(unset=True), Whitelist(lambda _: None, lambda _: "us")):
        assert allowed(checked, "+15551234567")
        assert not allowed(checked, "+493012345678")
        assert not allowed(checked, "+18765551234")


def test_an_empty_list_allows_nothing() -> None:
    assert not allowed(whitelist(), "+15551234567")


def test_countries_prefixes_and_everything() -> None:
    assert allowed(whitelist("de"), "+493012345678")
    assert not allowed(whitelist("de"), "+15551234567")
    assert allowed(whitelist("+881"), "+881612345678")
    assert not allowed(whitelist("us", "de"), "+881612345678")
    assert not allowed(whitelist("us"), "+19005551234")
    assert allowed(whitelist("us", "+1900"), "+19005551234")
    for number in ("+19005551234", "+881612345678", "+493012345678"):
        assert allowed(whitelist("all"), number)


def test_the_refusal_names_field_and_remedy() -> None:
    with pytest.raises(DestinationForbidden) as refused:
        whitelist("us").check(CUSTOMER, "+493012345678", "destinations[2].target")
    error = refused.value
    assert error.http_status == 400
    assert error.reason == "DESTINATION_NOT_WHITELISTED"
    assert "destinations[2].target: outbound destination country not whitelisted" in error.message
    assert "`de`" in error.message
    assert "PUT /v1.0/outbound_config" in error.message
    assert error.details[0]["missing"] == "de"


@pytest.mark.parametrize("entry", ["xx", "germany", "+", "+0", "*", "49", ""])
def test_entries_that_mean_nothing_are_refused(entry: str) -> None:
    with pytest.raises(ValidationError, match="two letters of a country"):
        OutboundConfigChange(destination_whitelist=[entry])


def test_capital_letters_are_taken_as_small_ones() -> None:
    assert OutboundConfigChange(destination_whitelist=["DE", "All"]).destination_whitelist == ["de", "all"]
