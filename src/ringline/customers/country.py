"""In which country a customer is at home: how its phones' local numbers are read, and where it may call."""

from __future__ import annotations

from typing import Annotated, Any, Protocol
from uuid import UUID

from pydantic import AfterValidator

from ringline.sip import e164


class Homed(Protocol):
    """The customer (``customers.Customer``)."""

    @property
    def id(self) -> UUID: ...

    @property
    def country(self) -> str: ...

    @property
    def default_outgoing_source_number_id(self) -> UUID | None: ...


class Numbers(Protocol):
    """The lookups that are needed; ``NumberDirectory`` has them."""

    def by_id(self, row_id: UUID) -> Any: ...

    def oldest(self, customer_id: UUID) -> Any: ...


def country_of(customer: Homed, numbers: Numbers, default: str = "us") -> str:
    """ISO 3166 alpha-2 code in small letters.

    What the customer says (``country``), else the country of its default outgoing number, else that of its
    oldest normal number, else ``default`` (``Settings.default_country``). Looks into memory only.
    """
    if customer.country:
        return customer.country
    chosen = customer.default_outgoing_source_number_id
    number = None if chosen is None else numbers.by_id(chosen)
    if (
        number is not None
        and number.customer_id == customer.id
        and (found := e164.home_country(number.number))
    ):
        return found.lower()
    number = numbers.oldest(customer.id)
    if number is not None and (found := e164.home_country(number.number)):
        return found.lower()
    return default


def checked_country(text: str) -> str:
    """The code in small letters, ``""`` as it is. Raises ``ValueError``."""
    if text and not (text.isascii() and e164.is_country(text.upper())):
        raise ValueError(
            "must be the two letters of a country (ISO 3166 alpha-2) such as `us` or `de`, or empty"
        )
    return text.lower()


Country = Annotated[str, AfterValidator(checked_country)]
