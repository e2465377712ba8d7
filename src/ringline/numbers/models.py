"""What the API shows and takes of numbers."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from ringline.http import NumberTimestamp, PageQuery, RequestModel, ResponseModel, UuidOrZero

NumberType = Literal["normal", "virtual"]
NumberStatus = Literal["active", "purchase-pending", "suspended", "deleted"]


class NumberAnswer(ResponseModel):
    """A telephone number."""

    id: UUID
    number: str = Field(description="E.164.")
    type: NumberType = Field(description="`normal`: of the telephone network. `virtual`: ours, +899.")
    call_flow_id: UuidOrZero = Field(description="The flow that answers calls; the zero UUID means none.")
    message_flow_id: UuidOrZero = Field(
        description="The flow that handles messages; the zero UUID means none."
    )
    name: str
    detail: str
    status: NumberStatus
    t38_enabled: bool
    emergency_enabled: bool
    tm_create: NumberTimestamp
    tm_update: NumberTimestamp
    tm_delete: NumberTimestamp


def _plus(value: object) -> object:
    """A ``+`` that nobody encoded arrives as a space."""
    return "+" + value[1:] if isinstance(value, str) and value.startswith(" ") else value


class NumberQuery(PageQuery):
    """Which numbers to list."""

    status: NumberStatus | None = Field(None, description="Only numbers in this state.")
    type: NumberType | None = Field(None, description="Only numbers of this kind.")
    number: Annotated[str, BeforeValidator(_plus)] | None = Field(
        None, max_length=32, description="Only this number, E.164."
    )


class NumberFlows(RequestModel):
    """The flows of a number; what is left out stays."""

    call_flow_id: UuidOrZero = None
    message_flow_id: UuidOrZero = None


class NumberChange(NumberFlows):
    """What is to be changed; what is left out stays."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
