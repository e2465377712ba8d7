"""``confbridge_join``: be in the bridge of a conference, without what the conference does before and after."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ringline.calls.bridges import bridge_name
from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.actions.conference_join import Id
from ringline.flows.engine import Next, Result


class ConfbridgeJoinOptions(Options):
    """Every conference has one bridge, of the same id; one of type `connect` ends when one call is left."""

    confbridge_id: Id = Field(description="The id of one of your conferences.")


class ConfbridgeJoin(Action):
    """Be in a conference's bridge until the call is kicked, the conference ends, or the call hangs up."""

    changes_variables = True

    type: Literal["confbridge_join"]
    option: ConfbridgeJoinOptions

    async def run(self, context: Context) -> Result:
        confbridge_id = UUID(self.option.confbridge_id)
        conferences = context.services.conferences
        if conferences is None:
            await context.leg.join_bridge(bridge_name("conference", confbridge_id))
            return Next(waited=True)
        stay_id = context.progress.id("conferencecall_id")
        seat = await conferences.enter(
            context.leg.call,
            confbridge_id,
            stay_id,
            activeflow_id=context.activeflow_id,
            fresh=True,
            resumed=context.progress.resumed,
        )
        context.state.variables.update(seat.variables)
        if not seat.over:
            await conferences.stay(context.leg, confbridge_id, stay_id)
        return Next(waited=True)

    def waits(self) -> bool:
        return True
