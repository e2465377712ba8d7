"""What the API shows and takes of a customer's outbound settings."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from ringline.http import RequestModel, ResponseModel, Timestamp, UuidOrZero
from ringline.outbound.directory import EVERYWHERE
from ringline.sip import e164
from ringline.sip.codecs import CODECS, codecs_of, problem

MAX_ENTRIES = 300
_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}", re.ASCII)


def _entry(text: str) -> str:
    entry = text.lower()
    if entry == EVERYWHERE or _PREFIX.fullmatch(entry):
        return entry
    if entry.isascii() and e164.is_country(entry.upper()):
        return entry
    raise ValueError(
        f"{text[:20]!r} must be the two letters of a country (ISO 3166 alpha-2) such as `de`, the beginning of"
        " numbers such as `+881`, or `all`"
    )


def _codecs(text: str) -> str:
    found = codecs_of(text)
    if wrong := problem(found):
        raise ValueError(wrong)
    return found


_CODECS = (
    "The only codecs that your calls to SIP addresses (type `sip`) offer, in this order, commas between them, of "
    f"{', '.join(CODECS)}. Empty: all."
)


class OutboundConfigAnswer(ResponseModel):
    """Where a customer's calls to the telephone network may go, and how many calls it may have."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    destination_whitelist: list[str] = Field(
        description="Countries that may be called, ISO 3166 alpha-2 in small letters; beginnings of numbers such as "
        "`+881` for what belongs to no country (satellites, international networks) and for premium services, which "
        "no country covers; `all` for everything. Until somebody sets it: the customer's own country. Empty: none."
    )
    codecs: str = Field(description=_CODECS)
    default_outgoing_source_number_id: UuidOrZero = Field(description="That of `GET /v1.0/customer`.")
    max_calls: int = Field(description="Calls at once in force, those that came in included; 0 is no limit.")
    calls_per_second: int = Field(
        description="Calls in force that may be placed within a second; 0 is no limit."
    )
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class OutboundConfigChange(RequestModel):
    """What is to be changed; what is left out stays."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    destination_whitelist: list[Annotated[str, AfterValidator(_entry)]] = Field(
        default_factory=list,
        max_length=MAX_ENTRIES,
        description="Replaces the list: countries (`us`, `de`), beginnings of numbers (`+881`), or `all`.",
    )
    codecs: Annotated[str, AfterValidator(_codecs)] = Field("", max_length=255, description=_CODECS)
    default_outgoing_source_number_id: UuidOrZero = Field(
        None, description="As in `PUT /v1.0/customer`: one of your normal, active numbers; zero for none."
    )
    max_calls: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Calls at once; 0 is the installation's limit. For project administrators only.",
    )
    calls_per_second: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Calls placed within a second; 0 is the installation's limit. For project administrators only.",
    )
