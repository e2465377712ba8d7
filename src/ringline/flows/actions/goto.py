"""``goto``: jump, a limited number of times."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.engine import Jump, Next, Result


class GotoOptions(Options):
    """``loop_count`` jumps are made; then the flow goes on behind."""

    target_id: UUID = Field(description="The action to go on with.")
    loop_count: int = Field(
        ge=0, le=100_000, description="How often to jump; after that the next action runs."
    )


class Goto(Action):
    """Jump to another action until the count is used up."""

    type: Literal["goto"]
    option: GotoOptions
    needs_call = False
    fatal = True

    async def run(self, context: Context) -> Result:
        made = context.state.loops.get(str(self.id), 0)
        if made >= self.option.loop_count:
            return Next()
        context.state.loops[str(self.id)] = made + 1
        return Jump(str(self.option.target_id))

    def targets(self) -> dict[str, UUID]:
        return {"option.target_id": self.option.target_id}

    def way(self, place: str) -> str:
        return f"at most {self.option.loop_count} times" if place.startswith("option.") else "then"

    def bounded_targets(self) -> frozenset[str]:
        return frozenset({"option.target_id"})
