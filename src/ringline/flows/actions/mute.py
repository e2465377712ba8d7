"""``mute``: let one side of the call not be heard."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.calls.states import MuteDirection
from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.engine import Next, Result


class MuteOptions(Options):
    """``direction`` as seen from Ringline."""

    direction: Literal["both", "in", "out", "none"] = Field(
        default="both",
        description="`in`: what the other side says is not heard, by those it is connected with or by recordings;"
        " `out`: it hears nothing; `both`; `none`: everything is heard again. What was muted before is muted no more"
        " unless it is named.",
    )


class Mute(Action):
    """Mute the call, or unmute it, and go on at once."""

    type: Literal["mute"]
    option: MuteOptions = MuteOptions()

    async def run(self, context: Context) -> Result:
        direction: MuteDirection = "" if self.option.direction == "none" else self.option.direction
        await context.leg.mute(direction)
        return Next()
