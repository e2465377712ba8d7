"""What the API shows and takes of numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, computed_field

from ringline.http import NumberTimestamp, PageQuery, RequestModel, ResponseModel, UuidOrZero
from ringline.numbers.address import EmergencyAddress

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
    tm_purchase: NumberTimestamp
    tm_renew: NumberTimestamp = Field(description="When the next month is to be paid.")
    status_reason: str = Field(
        description="Why, where nobody asked for it: `renewal_unpaid`, `purchase_rejected: ...`, "
        "`emergency_refused: ...`."
    )
    emergency_address: EmergencyAddress | None

    @computed_field(description="The old name of `call_flow_id`.")  # type: ignore[prop-decorator]  # pydantic's way
    @property
    def flow_id(self) -> UuidOrZero:
        return self.call_flow_id


def _plus(value: object) -> object:
    """A ``+`` that nobody encoded arrives as a space."""
    return "+" + value[1:] if isinstance(value, str) and value.startswith(" ") else value


class NumberQuery(PageQuery):
    """Which numbers to list."""

    status: NumberStatus | None = Field(
        None, description="Only numbers in this state; `deleted` lists those that were given back."
    )
    type: NumberType | None = Field(None, description="Only numbers of this kind.")
    number: Annotated[str, BeforeValidator(_plus)] | None = Field(
        None, max_length=32, description="Only this number, E.164."
    )


class NumberFlows(RequestModel):
    """The flows of a number; what is left out stays."""

    call_flow_id: UuidOrZero = None
    message_flow_id: UuidOrZero = None


_Name = Annotated[str, Field(max_length=255)]
_Detail = Annotated[str, Field(max_length=2000)]
_EMERGENCY = (
    "Whether emergency calls are possible from this number; needs `emergency_address`. Not for virtual ones."
)


class NumberChange(NumberFlows):
    """What is to be changed; what is left out stays."""

    name: _Name = ""
    detail: _Detail = ""
    status: Literal["active", "suspended"] = Field(
        "active", description="`suspended` stops calls and messages at once; `active` lets them in again."
    )
    t38_enabled: bool = Field(False, description="Fax over T.38.")
    emergency_enabled: bool = Field(False, description=_EMERGENCY)
    emergency_address: EmergencyAddress | None = None


class NumberCreate(NumberFlows):
    """A number to have. Only ``number`` is needed."""

    number: str = Field(
        max_length=64,
        description="E.164, of GET /v1.0/available_numbers. With +899 and nine digits it is virtual: free, and "
        "active at once.",
        examples=["+16062067563"],
    )
    type: NumberType | None = Field(None, description="Follows from `number`; if given it must agree.")
    name: _Name = ""
    detail: _Detail = ""
    t38_enabled: bool = Field(False, description="Fax over T.38.")
    emergency_enabled: bool = Field(False, description=_EMERGENCY)
    emergency_address: EmergencyAddress | None = None


class NumberRenewal(RequestModel):
    """Which numbers to pay for another month: those whose ``tm_renew`` is before a time."""

    days: int = Field(0, ge=0, le=27, description="Also those that fall due within so many days.")
    tm_renew: datetime | None = Field(
        None, description="Those that fall due before this time, at most 27 days ahead; in place of `days`."
    )
    all_customers: bool = Field(
        False, description="Of all customers; only for administrators of the installation."
    )
