"""``condition_call_status``: look at the state of the call."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.calls.states import Status
from ringline.flows.actions.base import Context
from ringline.flows.actions.condition import Condition, ConditionOptions
from ringline.flows.engine import Result


class ConditionCallStatusOptions(ConditionOptions):
    """``status`` is a state of calls, for example ``progressing``."""

    status: Status = Field(description="The state that the call should be in.")


class ConditionCallStatus(Condition):
    """Go on when the call is in the state, else jump."""

    type: Literal["condition_call_status"]
    option: ConditionCallStatusOptions

    async def run(self, context: Context) -> Result:
        return self.decided(holds=context.leg.call.status is self.option.status)
