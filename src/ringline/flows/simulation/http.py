"""The routes that try flows without a telephone."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from pydantic import Field

from ringline.calls.call import ZERO
from ringline.errors import NotFound
from ringline.flows import check
from ringline.flows.check import FlowActions, Rules
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.simulation.run import Tried, simulate
from ringline.flows.simulation.scenario import Scenario
from ringline.flows.snapshot import RawAction
from ringline.http import Request, ResponseModel, Route

MAX_AT_ONCE: Final = 4
"""Simulations at a time; more wait for their turn."""


class InlineScenario(Scenario):
    """Actions to try, and what happens on the tried call."""

    actions: FlowActions = Field(description="What happens, in order.")


class TraceEntry(ResponseModel):
    """One thing that happened."""

    at: float = Field(description="Seconds from the start of the call, in virtual time.")
    event: str = Field(
        description="`action`: one begins; `goes_on`: where the flow jumps; `variable`: one was set; `failed`;"
        " `skipped`: it needs a call and there is none; or what happened on the call: `play`, `waits`, `received`,"
        " `connect`, `hangup`, ..."
    )
    action: str = Field(description="The action by its place, such as `actions[3]`; empty for a fetched one.")
    type: str
    detail: str
    text: str = Field(description="The same for people.")


class SimulationView(ResponseModel):
    """What came of a flow that was tried."""

    reason: str = Field(description="Why it ended, as on an activeflow: `complete`, `hangup`, or a code.")
    message: str
    hangup_by: str
    hangup_reason: str
    seconds: float = Field(description="How long the call lasted, in virtual time.")
    variables: dict[str, str] = Field(description="As they were at the end.")
    failures: list[dict[str, str]] = Field(description="Actions that failed, as on a call.")
    trace: list[TraceEntry]
    cut: bool = Field(description="Whether more happened than the trace can hold.")


def view(tried: Tried) -> SimulationView:
    """The answer for a simulation."""
    return SimulationView.model_validate(tried)


def simulation_routes(flows: FlowDefinitions, rules: Rules) -> list[Route]:
    """Trying stored flows, and flows that are not stored yet. Nothing is called, fetched or charged."""
    places = asyncio.Semaphore(MAX_AT_ONCE)

    async def run(
        customer_id: UUID, flow_id: UUID, actions: list[RawAction], scenario: Scenario
    ) -> SimulationView:
        async with places:
            tried = await simulate(
                actions, scenario, customer_id=customer_id, flow_id=flow_id, stored=flows, rules=rules
            )
        return view(tried)

    async def stored(request: Request[Scenario, None]) -> SimulationView:
        customer_id, flow_id = request.customer_id, request.path["flow_id"]
        return await run(customer_id, flow_id, await flows.actions(customer_id, flow_id), request.body)

    async def inline(request: Request[InlineScenario, None]) -> SimulationView:
        body, customer_id = request.body, request.customer_id

        async def exists(flow_id: UUID) -> bool:
            return flow_id in body.flows or await flows.exists(customer_id, flow_id)

        check.refuse(await check.missing_flows(body.actions, exists))
        return await run(customer_id, ZERO, check.canonical(body.actions), body)

    tags = ("flows",)
    told = (
        "The flow runs at once, in virtual time, on a simulated call; the body says what the other side does. Nothing"
        " is called, requested or charged. The answer is what happened, step by step, for tests of your flows."
    )
    return [
        Route(
            method="POST",
            path="/v1.0/flows/simulations",
            handler=inline,
            summary="Try actions without a telephone",
            description=told,
            tags=tags,
            body=InlineScenario,
            context=rules,
            response=SimulationView,
            audited=False,
            body_examples={"menu": _EXAMPLE},
        ),
        Route(
            method="POST",
            path="/v1.0/flows/{flow_id}/simulations",
            handler=stored,
            summary="Try a flow without a telephone",
            description=told,
            tags=tags,
            body=Scenario,
            body_optional=True,
            context=rules,
            response=SimulationView,
            audited=False,
            errors=(NotFound,),
        ),
    ]


_EXAMPLE = {
    "digits": ["1"],
    "actions": [
        {"type": "talk", "option": {"text": "Press a key."}},
        {"type": "digits_receive", "option": {"duration": 5000, "length": 1}},
        {"type": "talk", "option": {"text": "You pressed ${voipbin.call.digits}."}},
    ],
}
