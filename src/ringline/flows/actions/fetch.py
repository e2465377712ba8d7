"""``fetch``: ask a server what to do next."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.flows.actions.base import Action, Context, Options, count, own_call
from ringline.flows.actions.services import FetchRequest
from ringline.flows.actions.web import Url, ready_url
from ringline.flows.engine import FlowError, Next, Push, Result

MAX_FETCHES = 1000
"""Of one flow: an hour of one every 3.6 s. The time that requests take does not bound a loop, for the server is the
loop's own."""


class FetchOptions(Options):
    """The server answers a list of actions, or an object with ``actions``; they run before what follows here."""

    event_url: Url
    event_method: Literal["GET", "POST"] = Field(
        default="POST", description="`POST` sends the call and the flow's variables along."
    )


class Fetch(Action):
    """Run the actions that a server answers; where there is no such answer, the flow is stopped."""

    needs_call = False
    fatal = True
    changes_variables = True
    pushes = True

    type: Literal["fetch"]
    option: FetchOptions

    async def run(self, context: Context) -> Result:
        option = self.option
        fetches = context.services.fetches
        if fetches is None:
            context.leg.note("fetch", f"{option.event_method} {option.event_url}")
            return Next()
        if not count(context.state, "fetch", MAX_FETCHES):
            raise FlowError("FETCH_LIMIT", f"a flow may fetch actions {MAX_FETCHES} times")
        actions = await fetches.fetch(
            FetchRequest(
                id=context.progress.id("fetch"),
                customer_id=context.leg.call.customer_id,
                activeflow_id=context.activeflow_id,
                flow={
                    name: context.lookup(f"voipbin.activeflow.{name}")
                    for name in ("flow_id", "reference_type", "reference_id")
                },
                call=own_call(context),
                action=context.written,
                variables=dict(context.state.variables),
                method=option.event_method,
                url=ready_url(context.written["option"]["event_url"], context.lookup),
                around=[
                    context.flow if frame.actions is None else frame.actions for frame in context.state.frames
                ],
            )
        )
        return Push(actions) if actions else Next()

    def urls(self) -> dict[str, str]:
        return {"option.event_url": self.option.event_url}
