"""``fetch_flow``: run a stored flow within this one."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field, field_validator

from ringline.calls.call import ZERO
from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.engine import Next, Push, Result


class FetchFlowOptions(Options):
    """The flow is copied when the action runs."""

    flow_id: UUID = Field(description="A stored flow of yours.")

    @field_validator("flow_id")
    @classmethod
    def _named(cls, value: UUID) -> UUID:
        if value == ZERO:
            raise ValueError("names no flow: give the id of a stored one")
        return value


class FetchFlow(Action):
    """Run a stored flow's actions, then go on here; where there is no such flow any more, this one is stopped."""

    needs_call = False
    fatal = True
    changes_variables = True
    pushes = True

    type: Literal["fetch_flow"]
    option: FetchFlowOptions

    async def run(self, context: Context) -> Result:
        flows = context.services.flows
        if flows is None:
            context.leg.note("fetch_flow", str(self.option.flow_id))
            return Next()
        actions = await flows.actions(context.leg.call.customer_id, self.option.flow_id)
        return Push(actions) if actions else Next()

    def flow_ids(self) -> dict[str, UUID]:
        return {"option.flow_id": self.option.flow_id}
