"""One groupcall in memory, and its states as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from ringline.calls.call import ZERO
from ringline.calls.destinations import RingMethod
from ringline.sip.address import Address


class Status(StrEnum):
    """Where a groupcall stands; it only ever moves forward.

    ``progressing`` while a phone rings or the one that answered is talking, ``hangup`` when all its calls have ended.
    """

    PROGRESSING = "progressing"
    HANGINGUP = "hangingup"
    HANGUP = "hangup"


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.PROGRESSING: frozenset({Status.HANGINGUP, Status.HANGUP}),
    Status.HANGINGUP: frozenset({Status.HANGUP}),
    Status.HANGUP: frozenset(),
}


class AnswerMethod(StrEnum):
    """What becomes of the others once one has answered: they are hung up, also where nothing is said.

    Its documents do not say what VoIPBIN does for ``""``. Several people who each hear the flow of one groupcall are
    what ``POST /v1.0/calls`` with several destinations is for.
    """

    DEFAULT = ""
    HANGUP_OTHERS = "hangup_others"


@dataclass(slots=True, eq=False)
class Groupcall:
    """A groupcall's record. ``dial_index``: how many of its destinations were begun with (``linear``)."""

    id: UUID
    customer_id: UUID
    source: Address
    destinations: list[Address]
    tm_create: datetime
    flow_id: UUID = ZERO
    status: Status = Status.PROGRESSING
    master_call_id: UUID = ZERO
    master_groupcall_id: UUID = ZERO
    ring_method: RingMethod = RingMethod.DEFAULT
    answer_method: AnswerMethod = AnswerMethod.DEFAULT
    answer_call_id: UUID = ZERO
    call_ids: list[UUID] = field(default_factory=list)
    answer_groupcall_id: UUID = ZERO
    groupcall_ids: list[UUID] = field(default_factory=list)
    anonymous: str = "auto"
    dial_index: int = 0
    tm_hangup: datetime | None = None
    tm_update: datetime | None = None
    tm_delete: datetime | None = None

    @property
    def answered(self) -> bool:
        """Whether somebody has answered, here or in a groupcall within this one."""
        return self.answer_call_id != ZERO or self.answer_groupcall_id != ZERO

    @property
    def ended(self) -> bool:
        return self.status is Status.HANGUP

    def advance(self, status: Status, now: datetime) -> bool:
        """Move forward to ``status``; ``False`` and no change where that is not a step forward."""
        if status not in TRANSITIONS[self.status]:
            return False
        self.status = status
        self.tm_update = now
        if status is Status.HANGUP:
            self.tm_hangup = now
        return True

    def row(self) -> dict[str, Any]:
        """The columns of the groupcall, as ``groupcalls.store`` writes them."""
        return {
            "id": self.id,
            "customer_id": self.customer_id,
            "flow_id": self.flow_id,
            "status": self.status.value,
            "source": self.source.as_json(),
            "destinations": [address.as_json() for address in self.destinations],
            "master_call_id": self.master_call_id,
            "master_groupcall_id": self.master_groupcall_id,
            "ring_method": self.ring_method.value,
            "answer_method": self.answer_method.value,
            "answer_call_id": self.answer_call_id,
            "call_ids": self.call_ids,
            "answer_groupcall_id": self.answer_groupcall_id,
            "groupcall_ids": self.groupcall_ids,
            "anonymous": self.anonymous,
            "dial_index": self.dial_index,
            "tm_create": self.tm_create,
            "tm_hangup": self.tm_hangup,
            "tm_update": self.tm_update,
            "tm_delete": self.tm_delete,
        }


def of_row(row: Any) -> Groupcall:
    """The groupcall of a row of ``groupcalls.store``."""
    return Groupcall(
        id=UUID(int=row.id.int),
        customer_id=UUID(int=row.customer_id.int),
        source=Address.model_validate(row.source),
        destinations=[Address.model_validate(address) for address in row.destinations],
        tm_create=row.tm_create,
        flow_id=UUID(int=row.flow_id.int),
        status=Status(row.status),
        master_call_id=UUID(int=row.master_call_id.int),
        master_groupcall_id=UUID(int=row.master_groupcall_id.int),
        ring_method=RingMethod(row.ring_method),
        answer_method=AnswerMethod(row.answer_method),
        answer_call_id=UUID(int=row.answer_call_id.int),
        call_ids=[UUID(int=one.int) for one in row.call_ids],
        answer_groupcall_id=UUID(int=row.answer_groupcall_id.int),
        groupcall_ids=[UUID(int=one.int) for one in row.groupcall_ids],
        anonymous=row.anonymous,
        dial_index=row.dial_index,
        tm_hangup=row.tm_hangup,
        tm_update=row.tm_update,
        tm_delete=row.tm_delete,
    )
