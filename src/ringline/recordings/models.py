"""A recording: its record in memory, and how the API shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from pydantic import Field

from ringline.calls.call import ZERO
from ringline.calls.recording import Recorded
from ringline.events.telling import Telling
from ringline.http import ResponseModel, Timestamp

CONTENT_TYPES: Final = {"wav": "audio/wav", "mp3": "audio/mpeg", "ogg": "audio/ogg"}
"""What a file of each format is served as."""


class Status(StrEnum):
    """Where a recording stands; it only ever moves forward. ``stopping``: its file is being finished."""

    INITIATING = "initiating"
    RECORDING = "recording"
    STOPPING = "stopping"
    ENDED = "ended"


class Reason(StrEnum):
    """Why a recording ended; empty while it lasts."""

    NONE = ""
    STOP = "stop"
    HANGUP = "hangup"
    DURATION = "duration"
    SILENCE = "silence"
    KEY = "key"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Recording:
    """A recording's record. Times are UTC, ``None`` for what has not happened.

    ``target`` is what Asterisk records, as ARI names it (``channel:<id>``, ``bridge:<id>``). ``max_seconds``,
    ``end_of_silence`` (seconds, 0: no such end) and ``end_of_key`` (``none``, ``any``, ``*``, ``#``) end it.
    ``format`` is that of the file, ``size`` its bytes.
    """

    id: UUID
    customer_id: UUID
    reference_type: str
    reference_id: UUID
    target: str
    tm_create: datetime
    max_seconds: int
    activeflow_id: UUID = ZERO
    status: Status = Status.INITIATING
    format: str = "wav"
    end_of_silence: int = 0
    end_of_key: str = "none"
    on_end_flow_id: UUID = ZERO
    reason: Reason = Reason.NONE
    detail: str = ""
    duration_ms: int = 0
    size: int = 0
    tm_start: datetime | None = None
    tm_end: datetime | None = None
    tm_update: datetime | None = None
    tm_delete: datetime | None = None

    @property
    def active(self) -> bool:
        """Whether sound is being recorded, or about to be."""
        return self.status in {Status.INITIATING, Status.RECORDING}

    @property
    def name(self) -> str:
        """Its name in Asterisk, and of its file without the extension."""
        return str(self.id)

    def row(self) -> dict[str, Any]:
        """The columns of the recording, as ``recordings.store`` writes them."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Any) -> Recording:
        """``row`` is one of the table's."""
        columns = {name: value for name, value in row._mapping.items() if name != "asterisk"}
        return cls(**{**columns, "status": Status(columns["status"]), "reason": Reason(columns["reason"])})

    def recorded(self) -> Recorded:
        """What a flow is told of it."""
        return Recorded(self.id, self.reference_type, self.reference_id, self.format)


class RecordingView(ResponseModel):
    """A recording of a call or a conference: both directions, mixed."""

    id: UUID
    customer_id: UUID
    owner_type: str
    owner_id: UUID
    activeflow_id: UUID
    reference_type: str = Field(description="`call` or `confbridge`.")
    reference_id: UUID
    status: str = Field(
        description="`initiating`, `recording`, `stopping` (the file is being finished), `ended`."
    )
    format: str = Field(description="`wav` (8 kHz, 16 bit, mono), `mp3` or `ogg` (both 8 kHz, mono).")
    on_end_flow_id: UUID
    reason: str = Field(
        description="Why it ended: `stop`, `hangup`, `duration`, `silence`, `key`, `failed`; empty while it lasts."
    )
    detail: str = Field(description="A sentence where the reason alone does not say what happened.")
    recording_name: str
    filenames: list[str] = Field(description="Empty until there is a file to download.")
    duration_ms: int = Field(description="Length of the sound in the file.")
    size: int = Field(description="Bytes of the file.")
    tm_start: Timestamp
    tm_end: Timestamp
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


def view(record: Recording | Mapping[str, Any]) -> RecordingView:
    """The answer for a recording in memory or the columns of its row."""
    row = record.row() if isinstance(record, Recording) else record
    name = str(row["id"])
    there = row["status"] == Status.ENDED and row["size"] > 0 and row["tm_delete"] is None
    return RecordingView.model_validate(
        {
            **row,
            "owner_type": "",
            "owner_id": ZERO,
            "recording_name": name,
            "filenames": [f"{name}.{row['format']}"] if there else [],
        }
    )


def telling() -> Telling[Recording]:
    """What is announced of recordings."""
    types = {Status.RECORDING.value: "started", Status.ENDED.value: "finished"}
    return Telling("recording", view, _steps, types=types, final=("deleted",))


def _steps(record: Recording) -> Iterator[tuple[str, datetime | None]]:
    yield Status.RECORDING.value, record.tm_start
    if record.status is Status.ENDED:
        yield Status.ENDED.value, record.tm_end or record.tm_update
        yield "deleted", record.tm_delete
