"""``condition_call_digits``: look at the keys received last (older flows use it; ``branch`` says more)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.flows.actions.base import Context
from ringline.flows.actions.condition import Condition, ConditionOptions
from ringline.flows.actions.digits_receive import DIGITS
from ringline.flows.engine import Result


class ConditionCallDigitsOptions(ConditionOptions):
    """True with at least ``length`` keys, or with ``key`` among them."""

    length: int = Field(default=0, ge=0, le=100, description="At least so many keys; 0: not looked at.")
    key: str = Field(default="", max_length=1, description="This key is among them; empty: not looked at.")


class ConditionCallDigits(Condition):
    """Go on when enough keys, or the key, were received; else jump."""

    type: Literal["condition_call_digits"]
    option: ConditionCallDigitsOptions

    async def run(self, context: Context) -> Result:
        digits, option = context.lookup(DIGITS), self.option
        enough = option.length > 0 and len(digits) >= option.length
        return self.decided(holds=enough or bool(option.key and option.key in digits))
