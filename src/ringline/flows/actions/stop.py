"""``stop``: end the flow here."""

from __future__ import annotations

from typing import Literal

from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.engine import Finish, Result


class StopOptions(Options):
    """``stop`` has no options."""


class Stop(Action):
    """End the flow; the call is hung up as at the end of any flow."""

    type: Literal["stop"]
    option: StopOptions = StopOptions()
    needs_call = False
    goes_on = False

    async def run(self, context: Context) -> Result:
        return Finish()
