"""``hangup``: end the call."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ringline.calls.call import ZERO
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
    reference_id: UUID = Field(
        default=ZERO,
        description="A call of yours that has ended: this one ends with its reason and cause, whatever `reason` says."
        " Of a call that lasts, or that does not exist, the reason is `normal`.",
    )


class Hangup(Action):
    """Hang up and end the flow."""

    type: Literal["hangup"]
    option: HangupOptions = HangupOptions()
    needs_call = False
    goes_on = False

    async def run(self, context: Context) -> Result:
        if self.option.reference_id != ZERO:
            return await relay(context, self.option.reference_id)
        context.leg.hang_up(HangupReason(self.option.reason))
        return Finish()


async def relay(context: Context, call_id: UUID) -> Result:
    """Hang up as another call ended."""
    endings = context.services.endings
    ended = None if endings is None else await endings.ending(context.leg.call.customer_id, call_id)
    reason, cause = ended or (HangupReason.NORMAL, 0)
    context.leg.hang_up(reason, cause)
    return Finish()
