"""What the API shows and takes of rates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from ringline.billing.rates import LONGEST_PREFIX, Kind, Rounding
from ringline.http import Moment, PageQuery, QueryModel, RequestModel, ResponseModel, Timestamp

LARGEST_PRICE = 10**10
"""Of a unit, in micro-US-dollars or tokens: $10,000."""
LONGEST_UNIT = 86_400
NATIONAL = (
    "begins with 0, and no number in E.164 does: it begins with the code of its country, 44 and not 0044"
)


def _digits(prefix: str) -> str:
    digits = prefix.removeprefix("+")
    if digits and not (digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_PREFIX):
        raise ValueError(
            f"must be the first digits of numbers in E.164, such as 44 or +4420, at most {LONGEST_PREFIX}; empty for"
            " all numbers"
        )
    if digits.startswith("0"):
        raise ValueError(NATIONAL)
    return digits


Prefix = Annotated[str, Field(max_length=LONGEST_PREFIX + 1), AfterValidator(_digits)]
Price = Annotated[int, Field(ge=0, le=LARGEST_PRICE)]


class RateAnswer(ResponseModel):
    """What a unit of something costs, from a time on. It is never changed: another price is another rate."""

    id: UUID
    kind: str
    prefix: str = Field(description="First digits of the numbers that it is for, without `+`; empty: all.")
    name: str
    credit_per_unit: int = Field(description="In millionths of a US dollar.")
    token_per_unit: int = Field(
        description="Tokens are taken first; units that they do not pay for cost `credit_per_unit`."
    )
    unit_seconds: int = Field(description="How long a unit is; 0: a unit is a piece.")
    minimum_units: int
    rounding: str = Field(description="What becomes of a unit that was begun: `up`, `nearest` or `down`.")
    tm_start: Timestamp
    tm_end: Timestamp = Field(description="It holds until before this; `null`: there is no end.")
    tm_create: Timestamp
    tm_update: Timestamp


class RateCreate(RequestModel):
    """A price from ``tm_start`` on (now when left out), in place of an earlier one of the same kind and prefix."""

    kind: Kind
    prefix: Prefix = ""
    name: str = Field("", max_length=255)
    credit_per_unit: Price = 0
    token_per_unit: Price = 0
    unit_seconds: Annotated[int, Field(ge=0, le=LONGEST_UNIT)] | None = Field(
        None,
        description="60 bills by minutes, 1 by seconds, 0 by pieces. Left out: 60 for calls, 0 for everything"
        " else.",
    )
    minimum_units: int = Field(1, ge=0, le=LONGEST_UNIT)
    rounding: Rounding = "up"
    tm_start: Moment = Field(None, description="Now or later.")
    tm_end: Moment = None


class RateChange(RequestModel):
    """What is to be different from ``tm_start`` on (now when left out); what is left out stays."""

    name: str = Field("", max_length=255)
    credit_per_unit: Price = 0
    token_per_unit: Price = 0
    unit_seconds: int = Field(0, ge=0, le=LONGEST_UNIT)
    minimum_units: int = Field(1, ge=0, le=LONGEST_UNIT)
    rounding: Rounding = "up"
    tm_start: Moment = None
    tm_end: Moment = None


class RateQuery(PageQuery):
    """Which rates."""

    kind: Kind | None = None
    prefix: str | None = Field(None, max_length=LONGEST_PREFIX + 1, pattern=r"^\+?[0-9]*$")
    number: str | None = Field(
        None,
        max_length=LONGEST_PREFIX + 1,
        pattern=r"^\+?[0-9]*$",
        description="Those whose prefix begins this number. `%2B` is the plus sign.",
    )
    at: Moment = Field(None, description="Those that hold at that time.")


class ImportQuery(QueryModel):
    """How a file of rates is taken."""

    dry_run: bool = Field(False, description="Only check the file and count.")
    replace: bool = Field(
        False, description="Rates of the kinds in the file that are not in it end when the new ones begin."
    )
    tm_start: Moment = Field(
        None,
        description="When the rates begin whose line does not say it. Now when left out; not in the past.",
    )


class ImportAnswer(ResponseModel):
    """What came of a file of rates, or would."""

    dry_run: bool
    lines: int = Field(description="Rates in the file.")
    added: int = Field(description="Rates that are new, or different from what holds.")
    unchanged: int = Field(description="Rates that hold like this already.")
    ended: int = Field(description="Rates that end because they are not in the file (`replace`).")


class ExportQuery(QueryModel):
    """Which rates are exported."""

    kind: Kind | None = None
    at: Moment = Field(None, description="Those that hold at that time; now when left out.")


def not_past(moment: datetime | None, now: datetime, field: str = "tm_start") -> datetime:
    """When something begins. Raises ``ValueError`` for what is more than a minute ago."""
    if moment is None:
        return now
    if (now - moment).total_seconds() > 60:
        raise ValueError(
            f"`{field}`: is in the past; what has been used is paid as it cost then. Leave it out to begin now"
        )
    return max(moment, now) if moment <= now else moment.astimezone(UTC)
