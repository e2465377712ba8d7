"""What the API shows and takes of limits."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ringline.http import RequestModel, ResponseModel


class LimitAnswer(ResponseModel):
    """One limit, as it is in force now, and how much of it is used."""

    name: str = Field(
        description="For programs, such as `requests`, `calls_at_once`, `waiting_calls`, `extensions`."
    )
    kind: Literal["rate", "count"] = Field(
        description="`rate`: `limit` within each second, on average; `count`: `limit` at once."
    )
    limit: int | float | None = Field(description="`null`: no limit.")
    burst: int | None = Field(description="Of a rate: so many at once, after a pause.")
    used: int | None = Field(description="Of a count: so many there are now.")
    remaining: int | None = Field(description="So many more would be taken now.")
    beyond: str = Field(description="What happens beyond it: an error's status and reason, or that it waits.")
    detail: str


class LimitsAnswer(ResponseModel):
    """Everything that is limited for a customer."""

    customer_id: UUID
    plan_type: str = Field(
        description="The billing account's plan: it says how many of each resource there may be."
    )
    result: list[LimitAnswer]


class CustomerLimitsAnswer(ResponseModel):
    """The limits of one customer that administrators of the installation set, as they are in force; 0 is no limit."""

    customer_id: UUID
    requests_per_second: int
    requests_burst: int
    max_calls: int
    calls_per_second: int
    waiting_calls: int


class CustomerLimitsChange(RequestModel):
    """What is to be changed; what is left out stays. 0 is the installation's."""

    requests_per_second: int = Field(
        0, ge=0, le=1_000_000, description="Requests within a second, on average."
    )
    requests_burst: int = Field(
        0, ge=0, le=10_000_000, description="Requests at once; 0 with a rate of one's own is twice that."
    )
    max_calls: int = Field(0, ge=0, le=1_000_000, description="Calls at once.")
    calls_per_second: int = Field(0, ge=0, le=10_000, description="Calls placed within a second.")
    waiting_calls: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Calls that may wait until the two limits before let them be placed.",
    )
