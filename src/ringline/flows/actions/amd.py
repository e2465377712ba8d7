"""``amd``: find out whether a person or an answering machine has answered."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.calls.recording import Detected
from ringline.calls.states import HangupReason
from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.engine import Finish, Next, Result

STATUS = "voipbin.call.amd_status"
CAUSE = "voipbin.call.amd_cause"


class AmdOptions(Options):
    """What becomes of a call that a machine has answered."""

    machine_handle: Literal["hangup", "continue"] = Field(
        default="hangup", description="With a machine: `hangup` ends the call, `continue` goes on."
    )
    in_background: bool = Field(
        default=False, alias="async", description="Go on at once and listen meanwhile."
    )


class Amd(Action):
    """Listen for up to five seconds to who has answered: `HUMAN`, `MACHINE` or `NOTSURE`."""

    type: Literal["amd"]
    option: AmdOptions = AmdOptions()
    changes_variables = True

    async def run(self, context: Context) -> Result:
        if self.option.in_background:

            def found(detected: Detected) -> None:
                self._conclude(context, detected)

            context.leg.detect_machine_behind(context.progress.id(), found)
            return Next()
        detected = await context.leg.detect_machine(context.progress.id(), resumed=context.progress.resumed)
        return Finish() if self._conclude(context, detected) else Next(waited=True)

    def _conclude(self, context: Context, detected: Detected) -> bool:
        """Note what was found; whether the call was hung up because of it."""
        context.state.variables.update({STATUS: detected.status, CAUSE: detected.cause})
        if detected.status != "MACHINE" or self.option.machine_handle != "hangup":
            return False
        context.leg.hang_up(HangupReason.AMD)
        return True

    def waits(self) -> bool:
        return not self.option.in_background
