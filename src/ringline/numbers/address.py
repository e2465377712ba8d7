"""The address that a number has for emergency calls, as the API takes and shows it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ringline.http import RequestModel
from ringline.vendors.models import Address


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters or line breaks")
    return text.strip()


def _country(text: str) -> str:
    from ringline.sip import e164  # noqa: PLC0415 - its tables are large

    code = text.upper()
    if not e164.is_country(code):
        raise ValueError("must be a country's ISO 3166 alpha-2 code, such as US")
    return code


_Line = Annotated[str, AfterValidator(_printable)]


class EmergencyAddress(RequestModel):
    """Where somebody is who dials an emergency number from this number."""

    name: _Line = Field(min_length=1, max_length=100, description="Person or company.")
    street: _Line = Field(min_length=1, max_length=120, description="With the house number.")
    extended: _Line = Field("", max_length=60, description="Floor, suite and the like.")
    city: _Line = Field(min_length=1, max_length=80)
    region: _Line = Field("", max_length=40, description="State or province, such as `CA`.")
    postal_code: _Line = Field(min_length=1, max_length=20)
    country: Annotated[str, AfterValidator(_country)] = Field(
        min_length=2, max_length=2, description="ISO 3166 alpha-2."
    )


def address_of(stored: dict[str, Any] | None) -> Address | None:
    """From the column ``emergency_address``."""
    return None if stored is None else Address(**stored)
