"""What recording a leg and listening for an answering machine mean to whoever asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from ringline.calls.call import ZERO

Format = Literal["wav", "mp3", "ogg"]
EndKey = Literal["none", "any", "*", "#"]


@dataclass(frozen=True, slots=True)
class RecordingWanted:
    """How something is to be recorded. Times are in seconds; 0 means that it does not end so.

    ``id`` is the recording's, chosen before it is used; with ``resumed`` a recording of that id that exists is taken
    and none is begun. ``activeflow_id`` is the flow that wants it.
    """

    id: UUID
    format: Format = "wav"
    end_of_silence: int = 0
    end_of_key: EndKey = "none"
    duration: int = 0
    on_end_flow_id: UUID = ZERO
    activeflow_id: UUID = ZERO
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording as a flow sees it."""

    id: UUID
    reference_type: str
    reference_id: UUID
    format: str

    @property
    def variables(self) -> dict[str, str]:
        """The system variables that tell of it."""
        return {
            "voipbin.recording.id": str(self.id),
            "voipbin.recording.reference_type": self.reference_type,
            "voipbin.recording.reference_id": str(self.reference_id),
            "voipbin.recording.format": self.format,
            "voipbin.recording.recording_name": str(self.id),
            "voipbin.recording.filenames": f"{self.id}.{self.format}",
        }


Answerer = Literal["HUMAN", "MACHINE", "NOTSURE"]


@dataclass(frozen=True, slots=True)
class Detected:
    """Who answered, as Asterisk's ``AMD()`` heard it; ``cause`` is its ``AMDCAUSE`` (``LONGGREETING-1500-1500``)."""

    status: Answerer
    cause: str = ""
