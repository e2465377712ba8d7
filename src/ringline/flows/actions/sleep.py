"""``sleep``: let time pass on the call."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ringline.flows.actions.base import MIN_WAIT_MS, Action, Context, Options
from ringline.flows.engine import Next, Result


class SleepOptions(Options):
    """``duration`` in milliseconds."""

    duration: Annotated[int, Field(ge=1, le=3_600_000, description="How long to wait, in milliseconds.")]


class Sleep(Action):
    """Wait, in silence."""

    type: Literal["sleep"]
    option: SleepOptions

    async def run(self, context: Context) -> Result:
        await context.leg.wait(context.progress.left(self.option.duration / 1000))
        return Next(waited=True)

    def waits(self) -> bool:
        return self.option.duration >= MIN_WAIT_MS
