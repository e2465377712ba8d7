"""What the conditions share: go on when true, jump when false."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import Field

from ringline.flows.actions.base import Action, Options
from ringline.flows.engine import Jump, Next, Result

Comparison = Literal["==", "!=", ">", ">=", "<", "<="]

COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class ConditionOptions(Options):
    """Where to go on when the condition does not hold."""

    false_target_id: UUID = Field(description="The action to go on with when the condition does not hold.")


class Condition(Action):
    """Base of the conditions."""

    option: ConditionOptions
    needs_call = False
    fatal = True

    def decided(self, *, holds: bool) -> Result:
        """The next action when it holds, the target otherwise."""
        return Next() if holds else Jump(str(self.option.false_target_id))

    def targets(self) -> dict[str, UUID]:
        return {"option.false_target_id": self.option.false_target_id}
