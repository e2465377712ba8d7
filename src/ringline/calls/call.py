"""One call in memory: the record that the controller owns while the call lasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from ringline.calls.states import (
    ENDING,
    Direction,
    HangupBy,
    HangupReason,
    MuteDirection,
    Status,
    hangup_by,
    hangup_reason,
    may_follow,
)
from ringline.sip.address import Address

ZERO = UUID(int=0)
MAX_FAILURES = 20


@dataclass(frozen=True, slots=True)
class ActionFailure:
    """An action that could not do its work; the flow went on (or ended) after it."""

    action_id: UUID
    type: str
    reason: str
    message: str
    tm: datetime

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ActionFailure:
        moment = datetime.fromisoformat(data["tm"])
        return cls(UUID(data["action_id"]), data["type"], data["reason"], data["message"], moment)

    def as_json(self) -> dict[str, str]:
        return {
            "action_id": str(self.action_id),
            "type": self.type,
            "reason": self.reason,
            "message": self.message,
            "tm": self.tm.isoformat(),
        }


@dataclass(slots=True, eq=False)
class Call:
    """A call's record. Times are UTC, ``None`` for what has not happened."""

    id: UUID
    customer_id: UUID
    direction: Direction
    source: Address
    destination: Address
    channel_id: str
    status: Status
    tm_create: datetime
    type: str = "flow"
    flow_id: UUID = ZERO
    activeflow_id: UUID = ZERO
    master_call_id: UUID = ZERO
    groupcall_id: UUID = ZERO
    chained_call_ids: list[UUID] = field(default_factory=list)
    recording_id: UUID = ZERO
    recording_ids: list[UUID] = field(default_factory=list)
    anonymous: bool = False
    mute_direction: MuteDirection = ""
    hold: bool = False
    moh: bool = False
    silence: bool = False
    sip_call_id: str = ""
    hangup_by: HangupBy = HangupBy.NONE
    hangup_reason: HangupReason = HangupReason.NONE
    hangup_cause: int = 0
    hangup_sip_code: int = 0
    hangup_detail: str = ""
    failures: list[ActionFailure] = field(default_factory=list)
    tm_dialing: datetime | None = None
    tm_ringing: datetime | None = None
    tm_progressing: datetime | None = None
    tm_hangup: datetime | None = None
    tm_update: datetime | None = None
    tm_delete: datetime | None = None
    # what the controller has decided and the record does not show
    end_cause: int | None = None
    # the extension or trunk that placed it, for whoever counts
    account_id: UUID = ZERO
    # which steps were announced, and the record as it was announced last (``calls.telling``)
    told: int = 0
    shown: int = 0
    # by what it is charged, as whoever charges noted it (``cdrs.record.Fare``)
    fare: Any = None

    @property
    def ending(self) -> bool:
        """Whether the call is ending or has ended."""
        return self.status in ENDING

    @property
    def ended(self) -> bool:
        return self.status is Status.HANGUP

    def advance(self, status: Status, now: datetime) -> bool:
        """Move forward to ``status``; ``False`` and no change where that is not a step forward.

        Events come late and twice in telephony: a ringing after the answer is dropped here, in one place.
        """
        if not may_follow(self.status, status):
            return False
        self.status = status
        self.tm_update = now
        if status is Status.RINGING:
            self.tm_ringing = now
        elif status is Status.PROGRESSING:
            self.tm_progressing = now
        return True

    def end(self, cause: int, now: datetime, *, sip_code: int = 0, detail: str = "") -> bool:
        """Make the final record; ``False`` where it is final already. ``cause`` is Q.850 or one of ours."""
        if self.status is Status.HANGUP:
            return False
        last = self.status
        cause = cause if self.end_cause is None else self.end_cause
        self.hangup_by = hangup_by(last)
        self.hangup_reason = hangup_reason(self.direction, last, cause)
        self.hangup_cause = cause
        self.hangup_sip_code = sip_code
        self.hangup_detail = self.hangup_detail or detail
        self.status = Status.HANGUP
        self.tm_hangup = self.tm_update = now
        return True

    def end_broken(self, now: datetime, detail: str) -> bool:
        """Make the final record of a call that was lost with the part that carried it: nobody hung it up."""
        if not self.end(-1, now, detail=detail):
            return False
        self.hangup_by = HangupBy.LOCAL
        self.hangup_reason = HangupReason.FAILED
        self.hangup_cause = 0
        return True

    def note_failure(self, failure: ActionFailure) -> None:
        """Remember why an action failed; a loop that fails for ever does not grow the record."""
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(failure)
        self.tm_update = failure.tm

    def row(self) -> dict[str, Any]:
        """The columns of the call, as ``calls.store`` writes them."""
        return {
            "id": self.id,
            "customer_id": self.customer_id,
            "flow_id": self.flow_id,
            "activeflow_id": self.activeflow_id,
            "type": self.type,
            "master_call_id": self.master_call_id,
            "chained_call_ids": self.chained_call_ids,
            "recording_id": self.recording_id,
            "recording_ids": self.recording_ids,
            "groupcall_id": self.groupcall_id,
            "source": self.source.as_json(),
            "destination": self.destination.as_json(),
            "status": self.status.value,
            "direction": self.direction.value,
            "mute_direction": self.mute_direction,
            "hold": self.hold,
            "moh": self.moh,
            "silence": self.silence,
            "anonymous": self.anonymous,
            "channel_id": self.channel_id,
            "sip_call_id": self.sip_call_id,
            "hangup_by": self.hangup_by.value,
            "hangup_reason": self.hangup_reason.value,
            "hangup_cause": self.hangup_cause,
            "hangup_sip_code": self.hangup_sip_code,
            "hangup_detail": self.hangup_detail,
            "failures": [failure.as_json() for failure in self.failures],
            "tm_create": self.tm_create,
            "tm_dialing": self.tm_dialing,
            "tm_ringing": self.tm_ringing,
            "tm_progressing": self.tm_progressing,
            "tm_hangup": self.tm_hangup,
            "tm_update": self.tm_update,
            "tm_delete": self.tm_delete,
        }

    def kept(self) -> dict[str, Any]:
        """The row, and what the record does not show: what another controller goes on with."""
        return {**self.row(), "end_cause": self.end_cause, "account_id": self.account_id}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Call:
        """The call of a row, or of what ``kept`` became as JSON. Raises ``ValueError``, ``KeyError`` or
        ``TypeError`` for what is none.
        """
        known = [field.name for field in fields(cls) if field.name in row]
        made: dict[str, Any] = {name: row[name] for name in known if name not in _READ_APART}
        made |= {name: _uuid(row[name]) for name in _UUIDS}
        made |= {name: _moment(row.get(name)) for name in _MOMENTS}
        if "account_id" in made:
            made["account_id"] = _uuid(made["account_id"])
        return cls(
            **made,
            direction=Direction(row["direction"]),
            status=Status(row["status"]),
            hangup_by=HangupBy(row["hangup_by"]),
            hangup_reason=HangupReason(row["hangup_reason"]),
            source=Address.model_validate(row["source"]),
            destination=Address.model_validate(row["destination"]),
            chained_call_ids=[_uuid(one) for one in row["chained_call_ids"]],
            recording_ids=[_uuid(one) for one in row["recording_ids"]],
            failures=[ActionFailure.from_json(one) for one in row["failures"]],
        )


_UUIDS = (
    "id",
    "customer_id",
    "flow_id",
    "activeflow_id",
    "master_call_id",
    "groupcall_id",
    "recording_id",
)
_MOMENTS = ("tm_create", "tm_dialing", "tm_ringing", "tm_progressing", "tm_hangup", "tm_update", "tm_delete")
_READ_APART = {
    *_UUIDS,
    *_MOMENTS,
    "direction",
    "status",
    "hangup_by",
    "hangup_reason",
    "source",
    "destination",
    "chained_call_ids",
    "recording_ids",
    "failures",
}


def _uuid(value: Any) -> UUID:
    # asyncpg has a UUID class of its own
    return UUID(str(value))


def _moment(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
