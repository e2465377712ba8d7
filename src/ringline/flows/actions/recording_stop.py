"""``recording_stop``: end the recording of the call."""

from __future__ import annotations

from typing import Literal

from ringline.errors import FailedPrecondition
from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.engine import Next, Result


class RecordingStopOptions(Options):
    """``recording_stop`` has no options."""


class RecordingStop(Action):
    """End what `recording_start` began, or a recording that was begun by the API."""

    type: Literal["recording_stop"]
    option: RecordingStopOptions = RecordingStopOptions()

    async def run(self, context: Context) -> Result:
        try:
            await context.leg.stop_recording()
        except FailedPrecondition as error:
            # it may have ended by itself, at a key or after its time: what was wanted is so
            if error.reason != "RECORDING_NOT_ACTIVE":
                raise
        return Next()
