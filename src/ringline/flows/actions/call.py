"""``call``: place calls that live on their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from uuid import UUID

from pydantic import Field, ValidationInfo, model_validator

from ringline.flows.actions.base import Action, Context, Options, final
from ringline.flows.actions.parties import Anonymous, Destinations, Source
from ringline.flows.actions.services import NewCalls
from ringline.flows.engine import Next, Result
from ringline.sip.address import Address

if TYPE_CHECKING:
    from ringline.flows.actions import AnyAction

ZERO = UUID(int=0)
MAX_ACTIONS = 1000


class CallOptions(Options):
    """``flow_id`` wins over ``actions``. Variables in ``actions`` are put in when those run, on their own call."""

    source: Source = Address(type="tel")
    destinations: Destinations
    flow_id: UUID = Field(
        default=ZERO, description="A stored flow for the new calls; it wins over `actions`."
    )
    actions: list[AnyAction] = Field(
        default=[], max_length=MAX_ACTIONS, description="What happens on each new call once it is answered."
    )
    chained: bool = Field(default=False, description="End the new calls when this one ends.")
    early_execution: bool = Field(
        default=False, description="Start the flow of a new call when it rings, not when it is answered."
    )
    anonymous: Anonymous = "auto"

    @model_validator(mode="after")
    def _something_to_do(self, info: ValidationInfo) -> CallOptions:
        if not final(info) and not self.actions and self.flow_id == ZERO:
            raise ValueError("needs `actions` or a `flow_id`")
        return self


class Call(Action):
    """Call every destination, each with a flow of its own and this flow's variables, and go on at once."""

    type: Literal["call"]
    option: CallOptions
    needs_call = False
    fatal = True
    nested = ("actions",)

    async def run(self, context: Context) -> Result:
        option = self.option
        if context.progress.get("placed"):
            return Next()
        await context.services.calls.place(
            context.leg.call,
            NewCalls(
                source=option.source,
                destinations=option.destinations,
                anonymous=option.anonymous or "auto",
                flow_id=option.flow_id,
                actions=context.written["option"]["actions"],
                variables=dict(context.state.variables),
                chained=option.chained,
                early=option.early_execution,
            ),
        )
        context.progress.keep(placed=True)
        return Next()

    def flow_ids(self) -> dict[str, UUID]:
        return {"option.flow_id": self.option.flow_id}
