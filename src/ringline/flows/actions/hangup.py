"""``hangup``: end the call."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.calls.states import HangupReason
from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.engine import Finish, Result


class HangupOptions(Options):
    """``reason``: what a caller is told who has not been answered (SIP status by Asterisk's cause)."""

    reason: Literal["normal", "failed", "busy", "noanswer", "amd"] = Field(
        default="normal",
        description="What the other side is told. On an incoming call that was not answered: `busy` 486,"
        " `noanswer` 480, `failed` 503, `normal` and `amd` 603. On an answered call, every outgoing one included,"
        " the other side gets a BYE; the reason shows in its Reason header only. The call's own `hangup_reason` is"
        " `normal` whichever is chosen: the flow ended it. A call's other reasons (`timeout`, `cancel`, `dialout`)"
        " are the platform's findings and cannot be chosen.",
    )


class Hangup(Action):
    """Hang up and end the flow."""

    type: Literal["hangup"]
    option: HangupOptions = HangupOptions()
    needs_call = False
    goes_on = False

    async def run(self, context: Context) -> Result:
        context.leg.hang_up(HangupReason(self.option.reason))
        return Finish()
