"""``beep``: a short tone."""

from __future__ import annotations

from typing import Literal

from ringline.flows.actions.base import Action, Context, Media, Options
from ringline.flows.engine import Next, Result


class BeepOptions(Options):
    """``beep`` has no options."""


class Beep(Action):
    """Play a beep and wait for its end."""

    type: Literal["beep"]
    option: BeepOptions = BeepOptions()

    async def run(self, context: Context) -> Result:
        prompt = await context.media.beep()
        await context.leg.play([prompt], playing=context.progress.playing())
        return Next(waited=True)

    async def prepare(self, media: Media) -> None:
        await media.beep()

    def waits(self) -> bool:
        return True
