"""``branch``: go on where the value of a variable says."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.actions.digits_receive import DIGITS
from ringline.flows.engine import Jump, Result

ZERO = UUID(int=0)


class BranchOptions(Options):
    """``target_ids`` maps values to the ids of actions."""

    variable: str = Field(
        default="", max_length=256, description=f"The variable to look at; empty: `{DIGITS}`."
    )
    default_target_id: UUID = Field(description="Where to go on when no value fits.")
    target_ids: dict[str, UUID] = Field(
        default={}, max_length=200, description="Values of the variable and the actions they lead to."
    )


class Branch(Action):
    """Jump by a variable's value, and clear the variable, so that a loop asks anew."""

    type: Literal["branch"]
    option: BranchOptions
    needs_call = False
    fatal = True
    goes_on = False

    async def run(self, context: Context) -> Result:
        name = self.option.variable or DIGITS
        value = context.lookup(name)
        context.state.variables[name] = ""
        return Jump(str(self.option.target_ids.get(value, self.option.default_target_id)))

    def targets(self) -> dict[str, UUID]:
        places = {f"option.target_ids.{value}": target for value, target in self.option.target_ids.items()}
        return {"option.default_target_id": self.option.default_target_id, **places}

    def decides_on(self) -> str:
        return self.option.variable or DIGITS

    def bounded_targets(self) -> frozenset[str]:
        # the variable is empty from then on
        return frozenset(f"option.target_ids.{value}" for value in self.option.target_ids if value)
