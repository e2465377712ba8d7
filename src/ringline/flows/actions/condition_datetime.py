"""``condition_datetime``: compare the present time (UTC)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ringline.flows.actions.base import Context
from ringline.flows.actions.condition import COMPARE, Comparison, Condition, ConditionOptions
from ringline.flows.engine import Result

Weekday = Annotated[int, Field(ge=0, le=6)]


class ConditionDatetimeOptions(ConditionOptions):
    """Parts that are left out are not looked at. ``weekdays``: 0 is Sunday."""

    condition: Comparison = Field(description="The present stands on the left side, in each part alike.")
    minute: int = Field(default=-1, ge=-1, le=59, description="0 to 59; -1: any.")
    hour: int = Field(default=-1, ge=-1, le=23, description="0 to 23 (UTC); -1: any.")
    day: int = Field(default=0, ge=-1, le=31, description="1 to 31; 0 or less: any.")
    month: int = Field(default=0, ge=-1, le=12, description="1 to 12; 0 or less: any.")
    weekdays: list[Weekday] = Field(default=[], max_length=7, description="0 (Sunday) to 6; empty: any.")


class ConditionDatetime(Condition):
    """Go on when it is one of the weekdays and every part given compares true, else jump."""

    type: Literal["condition_datetime"]
    option: ConditionDatetimeOptions

    async def run(self, context: Context) -> Result:
        option, now = self.option, context.clock.now()
        if option.weekdays and now.isoweekday() % 7 not in option.weekdays:
            return self.decided(holds=False)
        compare = COMPARE[option.condition]
        parts = (
            (now.month, option.month, option.month > 0),
            (now.day, option.day, option.day > 0),
            (now.hour, option.hour, option.hour >= 0),
            (now.minute, option.minute, option.minute >= 0),
        )
        return self.decided(holds=all(compare(present, wanted) for present, wanted, given in parts if given))
