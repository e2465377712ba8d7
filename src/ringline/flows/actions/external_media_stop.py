"""``external_media_stop``: end what ``external_media_start`` began."""

from __future__ import annotations

from typing import Literal

from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.engine import Next, Result


class NoOptions(Options):
    """Nothing to say."""


class ExternalMediaStop(Action):
    """End every stream of this call; where there is none, nothing happens."""

    type: Literal["external_media_stop"]
    option: NoOptions = NoOptions()

    async def run(self, context: Context) -> Result:
        streams = context.services.streams
        if streams is None:
            context.leg.note("external_media_stop")
        else:
            streams.stop(context.leg.call)
        return Next()
