"""A conference and a call in one, as the controller holds them while somebody is there."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from ringline.calls.bridges import bridge_name
from ringline.calls.call import ZERO
from ringline.conferences import states
from ringline.conferences.states import ConferencecallStatus, ConferenceStatus

RawAction = dict[str, Any]


@dataclass(slots=True, eq=False)
class Conference:
    """The columns of a conference. ``timeout`` in seconds from its creation, 0 for none; ``tm_timeout`` is when."""

    id: UUID
    customer_id: UUID
    type: str
    status: ConferenceStatus
    tm_create: datetime
    name: str = ""
    detail: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    timeout: int = 0
    pre_flow_id: UUID = ZERO
    post_flow_id: UUID = ZERO
    pre_actions: list[RawAction] = field(default_factory=list)
    post_actions: list[RawAction] = field(default_factory=list)
    beep: str = ""
    alone_music: bool = False
    recording_id: UUID = ZERO
    recording_ids: list[UUID] = field(default_factory=list)
    tm_timeout: datetime | None = None
    tm_end: datetime | None = None
    tm_update: datetime | None = None
    tm_delete: datetime | None = None

    @classmethod
    def of_row(cls, row: Any) -> Conference:
        """From the columns of its row."""
        known = {one.name: getattr(row, one.name) for one in fields(cls)}
        return cls(**{**known, "status": ConferenceStatus(row.status)})

    @property
    def bridge(self) -> str:
        """Its bridge in Asterisk."""
        return bridge_name("conference", self.id)

    @property
    def ending(self) -> bool:
        """Whether nobody may join any more."""
        return self.status in states.ENDING

    def advance(self, status: ConferenceStatus, now: datetime) -> bool:
        """Move forward; ``False`` and no change where that is no step forward."""
        if status not in states.CONFERENCE[self.status]:
            return False
        self.status = status
        self.tm_update = now
        if status is ConferenceStatus.TERMINATED:
            self.tm_end = now
        return True

    def take(self, other: Conference) -> None:
        """What an owner may change, as it stands in ``other``; never a step back in its states."""
        for name in CHANGEABLE:
            setattr(self, name, getattr(other, name))
        self.tm_timeout, self.tm_update, self.tm_delete = other.tm_timeout, other.tm_update, other.tm_delete

    def row(self) -> dict[str, Any]:
        """The columns that change by what happens in it, as ``store.PROGRESS`` writes them."""
        return {
            "id": self.id,
            "status": self.status.value,
            "tm_end": self.tm_end,
            "tm_update": self.tm_update,
        }

    def recorded(self, recording_id: UUID, *, active: bool) -> None:
        """A recording of it began or ended."""
        if active:
            self.recording_id = recording_id
            if recording_id not in self.recording_ids:
                self.recording_ids.append(recording_id)
        elif self.recording_id == recording_id:
            self.recording_id = ZERO

    def recordings_row(self) -> dict[str, Any]:
        """The columns that say what was recorded of it, as ``store.RECORDINGS`` writes them."""
        return {"id": self.id, "recording_id": self.recording_id, "recording_ids": self.recording_ids}


CHANGEABLE = (
    "name",
    "detail",
    "data",
    "timeout",
    "pre_flow_id",
    "post_flow_id",
    "pre_actions",
    "post_actions",
    "beep",
    "alone_music",
)
"""What ``PUT /v1.0/conferences/{id}`` may change."""


@dataclass(slots=True, eq=False)
class Conferencecall:
    """A call's stay in a conference, from its wish to join to its leaving."""

    id: UUID
    customer_id: UUID
    conference_id: UUID
    reference_id: UUID
    tm_create: datetime
    activeflow_id: UUID = ZERO
    reference_type: str = "call"
    status: ConferencecallStatus = ConferencecallStatus.JOINING
    tm_progressing: datetime | None = None
    tm_terminated: datetime | None = None
    tm_update: datetime | None = None
    tm_delete: datetime | None = None

    @classmethod
    def of_row(cls, row: Any) -> Conferencecall:
        """From the columns of its row."""
        known = {one.name: getattr(row, one.name) for one in fields(cls)}
        return cls(**{**known, "status": ConferencecallStatus(row.status)})

    @property
    def over(self) -> bool:
        return self.status is ConferencecallStatus.TERMINATED

    def advance(self, status: ConferencecallStatus, now: datetime) -> bool:
        """Move forward; ``False`` and no change where that is no step forward."""
        if status not in states.CONFERENCECALL[self.status]:
            return False
        self.status = status
        self.tm_update = now
        if status is ConferencecallStatus.PROGRESSING:
            self.tm_progressing = now
        elif status is ConferencecallStatus.TERMINATED:
            self.tm_terminated = now
        return True

    def row(self) -> dict[str, Any]:
        """The columns, as ``store.CONFERENCECALL`` writes them."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"status": self.status.value}
