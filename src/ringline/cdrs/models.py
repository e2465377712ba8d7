"""Call detail records as the API shows them."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ringline.billing.rates import Kind
from ringline.http import Moment, PageQuery, QueryModel, ResponseModel, Timestamp

Direction = Literal["incoming", "outgoing"]
HangupReason = Literal["normal", "failed", "busy", "cancel", "timeout", "noanswer", "dialout", "amd"]


class CdrAnswer(ResponseModel):
    """One call from its beginning to its end. Each leg of a connection or groupcall has a record of its own."""

    id: UUID = Field(description="The call's.")
    customer_id: UUID
    direction: Direction
    type: str = Field(description="As the call's.")
    source_type: str
    source: str = Field(description="Who called: a number in E.164, an extension, a SIP address.")
    source_name: str
    destination_type: str
    destination: str
    destination_name: str
    anonymous: bool
    activeflow_id: UUID
    flow_id: UUID
    groupcall_id: UUID
    master_call_id: UUID
    hangup_by: str
    hangup_reason: str = Field(
        description="As the call's. `timeout` also where the money was used up; `hangup_detail` says so."
    )
    hangup_detail: str
    hangup_cause: int = Field(description="ITU-T Q.850 cause, 0 where unknown.")
    hangup_sip_code: int
    duration: int = Field(description="Seconds from its beginning to its end, a begun one counted.")
    billsec: int = Field(
        description="Seconds from its answer to its end, a begun one counted; 0: unanswered."
    )
    billing_account_id: UUID = Field(description="The account that paid; the zero UUID: none.")
    cost_type: Kind
    billable_units: int = Field(description="Units of the rate that were charged.")
    rate_seconds: int = Field(description="How long a unit of the rate is; 0: it is the whole call.")
    rate_token: int = Field(description="Tokens for a unit; they are taken first.")
    rate_credit: int = Field(description="Micro-US-dollars for a unit, where tokens did not pay for it.")
    amount_token: int = Field(description="What it cost, in tokens.")
    amount_credit: int = Field(description="What it cost, in micro-US-dollars.")
    tm_create: Timestamp
    tm_ringing: Timestamp
    tm_progressing: Timestamp = Field(description="When it was answered.")
    tm_hangup: Timestamp
    tm_settle: Timestamp = Field(description="When it was charged; `null` for the moment until that is done.")


class CdrFilter(QueryModel):
    """Which records."""

    tm_from: Moment = Field(None, description="Only calls that began at this time or later.")
    tm_to: Moment = Field(None, description="Only calls that began before this time.")
    number: str | None = Field(
        None, max_length=255, description="Only calls from or to this number, extension or SIP address."
    )
    direction: Direction | None = Field(None, description="Only those.")
    hangup_reason: HangupReason | None = Field(None, description="Only those that ended so.")
    answered: bool | None = Field(
        None, description="Only those that were answered, or only those that were not."
    )
    cost_type: Kind | None = Field(None, description="Only those of this kind.")
    min_duration: int | None = Field(
        None, ge=0, le=2_147_483_647, description="Only calls that were up for at least so many seconds."
    )
    activeflow_id: UUID | None = Field(None, description="Only calls of this activeflow.")
    groupcall_id: UUID | None = Field(None, description="Only calls of this groupcall.")


class CdrQuery(CdrFilter, PageQuery):
    """Which records, a page at a time."""


class CdrExport(CdrFilter):
    """Which records, all of them."""

    format: Literal["csv", "jsonl"] = Field(
        "csv", description="`csv`: RFC 4180 with a header line; `jsonl`: a JSON object in each line."
    )
