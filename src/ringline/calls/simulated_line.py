"""What else there is on the line of a simulated leg: a recorder, and an ear for answering machines."""

from __future__ import annotations

from collections.abc import Callable

from ringline.calls.call import ZERO, Call
from ringline.calls.recording import Recorded, RecordingWanted
from ringline.errors import FailedPrecondition

Note = Callable[[str, str], None]


class SimulatedRecorder:
    """Recordings of a call that make no sound: begun, ended by time or by hand, on the trace."""

    def __init__(self, call: Call, note: Note) -> None:
        self._call = call
        self._note = note

    def start(self, wanted: RecordingWanted) -> Recorded:
        call = self._call
        if call.recording_id != ZERO:
            raise FailedPrecondition(
                "It is being recorded already; stop that recording first.", reason="RECORDING_ALREADY_ACTIVE"
            )
        call.recording_id = wanted.id
        call.recording_ids.append(wanted.id)
        self._note("recording_start", wanted.format)
        return Recorded(wanted.id, "call", call.id, wanted.format)

    def stop(self) -> None:
        if self._call.recording_id == ZERO:
            raise FailedPrecondition("It is not being recorded.", reason="RECORDING_NOT_ACTIVE")
        self._over("stop")

    def expire(self, wanted: RecordingWanted) -> None:
        """The time that was given to this recording is over."""
        if self._call.recording_id == wanted.id:
            self._over("duration")

    def _over(self, reason: str) -> None:
        self._call.recording_id = ZERO
        self._note("recording_end", reason)
