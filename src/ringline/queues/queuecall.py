"""One call in a queue, in memory: the record that the controller owns while it lasts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from ringline.queues.states import ENDED, EndReason, Status, may_follow
from ringline.sip.address import Address

ZERO = UUID(int=0)


@dataclass(slots=True, eq=False)
class Queuecall:
    """A queuecall's record. Timeouts and durations are in milliseconds; times are UTC, ``None`` where not happened.

    ``service_agent_id`` is the agent who is rung or talks, ``service_call_id`` the agent's call that was answered.
    """

    id: UUID
    customer_id: UUID
    queue_id: UUID
    reference_id: UUID
    reference_activeflow_id: UUID
    source: Address
    routing_method: str
    tag_ids: tuple[UUID, ...]
    timeout_wait: int
    timeout_service: int
    tm_create: datetime
    status: Status = Status.INITIATING
    reference_type: str = "call"
    end_reason: EndReason = EndReason.NONE
    service_agent_id: UUID = ZERO
    service_call_id: UUID = ZERO
    duration_waiting: int = 0
    duration_service: int = 0
    tm_service: datetime | None = None
    tm_end: datetime | None = None
    tm_update: datetime | None = None
    tm_delete: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def advance(self, status: Status, now: datetime) -> bool:
        """Go to ``status``; ``False`` and no change where that is no step of the table."""
        if not may_follow(self.status, status):
            return False
        self.status = status
        self.tm_update = now
        if status is Status.SERVICE:
            self.tm_service = now
            self.duration_waiting = _milliseconds(self.tm_create, now)
        return True

    def end(self, reason: EndReason, now: datetime) -> bool:
        """Make the final record: ``done`` where an agent was reached, else ``abandoned``. Only once."""
        if self.ended:
            return False
        if self.tm_service is None:
            self.duration_waiting = _milliseconds(self.tm_create, now)
            self.status = Status.ABANDONED
            self.service_agent_id = ZERO
        else:
            self.duration_service = _milliseconds(self.tm_service, now)
            self.status = Status.DONE
        self.end_reason = reason
        self.tm_end = self.tm_update = now
        return True

    def row(self) -> dict[str, Any]:
        """The columns of the queuecall, as ``queues.store`` writes them."""
        row = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "tm_delete"}
        return row | {
            "status": self.status.value,
            "end_reason": self.end_reason.value,
            "source": self.source.as_json(),
            "tag_ids": [str(tag_id) for tag_id in self.tag_ids],
        }

    @classmethod
    def from_row(cls, row: Any) -> Queuecall:
        """The record of a row of the table."""
        values = {field.name: getattr(row, field.name) for field in fields(cls)}
        return cls(
            **values
            | {
                "status": Status(row.status),
                "end_reason": EndReason(row.end_reason),
                "source": Address.model_validate(row.source),
                "tag_ids": tuple(UUID(tag_id) for tag_id in row.tag_ids),
            }
        )


def _milliseconds(start: datetime, end: datetime) -> int:
    return max(0, round((end - start).total_seconds() * 1000))
