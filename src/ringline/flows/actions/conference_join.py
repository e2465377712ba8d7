"""``conference_join``: talk with everybody in a conference."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import Field

from ringline.calls.bridges import bridge_name
from ringline.calls.call import ZERO
from ringline.flows.actions.base import Action, Context, Options, unless_variable
from ringline.flows.engine import Next, Push, Result
from ringline.flows.snapshot import RawAction


def check_id(text: str) -> str:
    """The canonical text of a UUID that is not zero."""
    try:
        known = UUID(text)
    except ValueError:
        raise ValueError("must be a UUID, such as `0e7112d7-6ddc-47ea-bba5-223a3a55ff79`") from None
    if known == ZERO:
        raise ValueError("must not be the zero UUID: it names nothing")
    return str(known)


Id = Annotated[str, Field(max_length=512), unless_variable(check_id)]


class ConferenceJoinOptions(Options):
    """The conference's pre-flow runs first, its post-flow after the call has left."""

    conference_id: Id = Field(description="One of your conferences.")
    conferencecall_id: UUID = Field(
        default=ZERO,
        description="Written by the system: the stay that began before the pre-flow. Leave it out.",
    )


class ConferenceJoin(Action):
    """Be in a conference until the call is kicked, the conference ends, or the call hangs up."""

    fatal = True
    changes_variables = True

    type: Literal["conference_join"]
    option: ConferenceJoinOptions

    async def run(self, context: Context) -> Result:
        conference_id, began = UUID(self.option.conference_id), self.option.conferencecall_id
        conferences = context.services.conferences
        if conferences is None:
            await context.leg.join_bridge(bridge_name("conference", conference_id))
            return Next(waited=True)
        stay_id = began if began != ZERO else context.progress.id("conferencecall_id")
        seat = await conferences.enter(
            context.leg.call,
            conference_id,
            stay_id,
            activeflow_id=context.activeflow_id,
            fresh=began == ZERO,
            resumed=context.progress.resumed,
        )
        context.state.variables.update(seat.variables)
        if seat.over:
            return Next()
        if seat.before and began == ZERO:
            return Push([*seat.before, self._after_pre_flow(stay_id)])
        after = await conferences.stay(context.leg, conference_id, stay_id)
        return Push(after) if after else Next(waited=True)

    def waits(self) -> bool:
        return True

    def _after_pre_flow(self, stay_id: UUID) -> RawAction:
        """This action again, to be run when the pre-flow is through."""
        return {
            "id": str(uuid4()),
            "next_id": str(ZERO),
            "type": self.type,
            "option": {
                "conference_id": self.option.conference_id,
                "conferencecall_id": str(stay_id),
            },
        }
