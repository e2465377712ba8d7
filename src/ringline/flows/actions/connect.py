"""``connect``: talk with somebody else."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.calls.leg import Wanted
from ringline.calls.states import HangupReason
from ringline.errors import RinglineError
from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.actions.parties import Anonymous, Destinations, Source
from ringline.flows.engine import Finish, Next, Result
from ringline.sip.address import Address
from ringline.sip.cause import Cause

_CAUSES = {
    400: Cause.UNALLOCATED,
    402: Cause.SWITCH_CONGESTION,
    403: Cause.CALL_REJECTED,
    404: Cause.UNALLOCATED,
    429: Cause.NORMAL_CIRCUIT_CONGESTION,
}
"""What a caller is told where nobody could even be rung, by the status of the error."""


class ConnectOptions(Options):
    """All ``destinations`` ring at once; the first to answer is connected, the others stop ringing."""

    source: Source = Address(type="tel")
    destinations: Destinations
    early_media: bool = Field(
        default=False, description="Let the caller hear what the called side sends before it answers."
    )
    relay_reason: bool = Field(
        default=False,
        description="When nobody answers, hang up with the reason of the first destination instead of going on.",
    )
    anonymous: Anonymous = "auto"


class Connect(Action):
    """Ring others and bridge the call with the first who answers; go on when that conversation is over."""

    type: Literal["connect"]
    option: ConnectOptions
    fatal = True

    async def run(self, context: Context) -> Result:
        option = self.option
        wanted = Wanted(option.source, option.destinations, option.anonymous or "auto", option.early_media)
        try:
            ended = await context.leg.connect(wanted, context.progress)
        except RinglineError as error:
            if option.relay_reason:
                context.leg.hang_up(HangupReason.FAILED, _CAUSES.get(error.http_status, 0))
            raise
        if option.relay_reason and not ended.answered:
            context.leg.hang_up(ended.reason, ended.cause if 0 < ended.cause < 128 else 0)
            return Finish()
        return Next(waited=True)

    def waits(self) -> bool:
        return True
