"""Failures that show after their action is done, when the flow is elsewhere or over."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from ringline.calls.call import ActionFailure, Call
from ringline.clock import Clock

MAX_MESSAGE = 500


class FailureNotes:
    """Notes a failure on the call's record and has it stored, also when the call has ended."""

    def __init__(self, clock: Clock, touch: Callable[[Call], None]) -> None:
        """``touch``: see ``Journal.touch``."""
        self._clock = clock
        self._touch = touch

    def failed(self, call: Call, action_id: UUID, kind: str, reason: str, message: str) -> None:
        call.note_failure(ActionFailure(action_id, kind, reason, message[:MAX_MESSAGE], self._clock.now()))
        self._touch(call)
