"""What the API shows and takes of deliveries."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from ringline.http import Moment, PageQuery, RequestModel, ResponseModel, Timestamp

Status = Literal["pending", "delivered", "failed"]


class AttemptAnswer(ResponseModel):
    """One try."""

    tm: Timestamp = Field(description="When it began.")
    status: int = Field(description="The status of the answer; 0 where there was none.")
    ms: int = Field(description="Milliseconds until the answer, or until it was given up.")
    error: str = Field(description="Why it counts as failed; empty where it has arrived.")
    answer: str = Field(description="The first 500 bytes of the answer.")


class DeliveryAnswer(ResponseModel):
    """An event on its way to an endpoint."""

    id: UUID
    webhook_id: UUID
    customer_id: UUID
    event_id: UUID = Field(description="Also the header `webhook-id`, the same at each attempt.")
    type: str = Field(description="The event's name.")
    resource: str
    resource_id: UUID
    status: Status
    reason: str = Field(
        description="Why it has failed: `expired` (not within a day), `disabled` (its endpoint was), `deleted` (its"
        " endpoint was), `gone` (the endpoint answered 410), `lost` (its event is no longer stored); or empty."
    )
    attempt_count: int
    attempts: list[AttemptAnswer] = Field(description="Oldest first, the last 50 of them.")
    tm_next: Timestamp = Field(description="When it is tried again, where it has failed and waits.")
    tm_create: Timestamp
    tm_update: Timestamp


class DeliveryQuery(PageQuery):
    """Which deliveries to list."""

    webhook_id: UUID | None = None
    type: str = Field("", max_length=64, description="The event's name.")
    status: Literal["", "pending", "delivered", "failed"] = ""
    resource_id: UUID | None = Field(None, description="Those about this call (or message, ...).")
    since: Moment = Field(None, description="Those made then or later.")
    until: Moment = Field(None, description="Those made before.")


class Recovery(RequestModel):
    """Which failed deliveries to send again."""

    since: Annotated[str, Field(max_length=64)] = Field(
        description="Those of events since then, ISO 8601: `2021-02-06T08:54:38Z`."
    )


class RecoveryAnswer(ResponseModel):
    """What is sent again."""

    webhook_id: UUID
    count: int = Field(description="Deliveries that wait again.")


class TestAnswer(ResponseModel):
    """What an endpoint answered to an event made for it."""

    __test__ = False

    webhook_id: UUID
    event_id: UUID
    delivered: bool = Field(description="Whether it answered 2xx in time.")
    attempt: AttemptAnswer
