"""``echo`` and ``stream_echo``: the caller hears itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ringline.flows.actions.base import MIN_WAIT_MS, Action, Context, Options
from ringline.flows.engine import Next, Result


class EchoOptions(Options):
    """``duration`` in milliseconds."""

    duration: Annotated[
        int, Field(ge=1, le=3_600_000, description="How long the caller hears itself, in milliseconds.")
    ] = 180_000


class Echo(Action):
    """Send back what the other side says, to test a line; go on after ``duration``."""

    type: Literal["echo"]
    option: EchoOptions = EchoOptions()

    async def run(self, context: Context) -> Result:
        left = context.progress.left(self.option.duration / 1000)
        if left > 0:
            await context.leg.echo(left)
        return Next(waited=True)

    def waits(self) -> bool:
        return self.option.duration >= MIN_WAIT_MS


class StreamEcho(Echo):
    """Another name of ``echo``."""

    type: Literal["stream_echo"]  # type: ignore[assignment]  # the field that tells actions apart
