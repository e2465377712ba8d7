"""Calls as the API shows them (seed page ``call-tutorial.txt``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import Field

from ringline.calls.call import Call
from ringline.http import ResponseModel, Timestamp
from ringline.sip.address import Address


class CurrentAction(ResponseModel):
    """The action that a live call is at."""

    id: UUID
    type: str


class Failure(ResponseModel):
    """An action that could not do its work; the flow went on after it."""

    action_id: UUID
    type: str
    reason: str = Field(description="A code, for example `SPEECH_FAILED` or `FETCH_FORBIDDEN`.")
    message: str
    tm: Timestamp


class CallView(ResponseModel):
    """A telephone call. The zero UUID stands for "none", `null` for a time that has not come."""

    id: UUID
    customer_id: UUID
    flow_id: UUID
    activeflow_id: UUID
    type: str
    master_call_id: UUID
    chained_call_ids: list[UUID]
    recording_id: UUID
    recording_ids: list[UUID]
    groupcall_id: UUID
    source: Address
    destination: Address
    status: str = Field(
        description="`dialing`, `ringing`, `progressing`, `terminating`, `canceling`, `hangup`."
    )
    action: CurrentAction
    direction: str = Field(description="`incoming` or `outgoing`.")
    mute_direction: str = Field(
        description="What is muted: `in` (what the other side says), `out` (what it hears), `both`, or nothing."
    )
    hold: bool = Field(description="Whether the other side is on hold.")
    moh: bool = Field(description="Whether it hears music on hold that was asked for.")
    silence: bool = Field(description="Whether it hears silence in place of everything else.")
    anonymous: bool
    hangup_by: str = Field(description="`remote` or `local`; empty while the call lasts.")
    hangup_reason: str = Field(
        description="`normal`, `failed`, `busy`, `cancel`, `timeout`, `noanswer`, `dialout` (nobody answered "
        "within our own dial timeout), `amd`; empty while the call lasts."
    )
    hangup_cause: int = Field(description="ITU-T Q.850 cause, 0 where unknown.")
    hangup_sip_code: int = Field(description="Final SIP response of the other side, 0 where there was none.")
    hangup_detail: str = Field(description="A sentence where the reason alone does not say what happened.")
    failures: list[Failure] = Field(description="Actions that failed; the flow went on after each.")
    queue_position: int = Field(
        description="While the call waits for its turn: how many of yours are placed until then, itself included;"
        " else 0."
    )
    tm_dialing: Timestamp = Field(
        description="When an outgoing call was placed; `null` while it waits for its turn, and for incoming calls."
    )
    tm_progressing: Timestamp
    tm_ringing: Timestamp
    tm_hangup: Timestamp
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


_START = CurrentAction(id=UUID(int=1), type="")


def view(
    record: Call | Mapping[str, Any], action: dict[str, Any] | None = None, queue_position: int = 0
) -> CallView:
    """The answer for a call in memory or the columns of its row."""
    row = record.row() if isinstance(record, Call) else record
    shown = _START if action is None else CurrentAction(id=UUID(action["id"]), type=action["type"])
    return CallView.model_validate({**row, "action": shown, "queue_position": queue_position})
