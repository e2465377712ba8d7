"""``hangup``: end the call."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.calls.states import HangupReason
from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.engine import Finish, Result


class HangupOptions(Options):
    """``reason`` decides what an unanswered caller is told: ``busy`` 486, ``noanswer`` 480, ``failed`` 503."""

    reason: HangupReason = Field(default=HangupReason.NORMAL, description="Why the call ends.")


class Hangup(Action):
    """Hang up and end the flow."""

    type: Literal["hangup"]
    option: HangupOptions = HangupOptions()

    async def run(self, context: Context) -> Result:
        context.leg.hang_up(self.option.reason)
        return Finish()
