"""One try of a flow: bounded in virtual and in real time, without any effect on the world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import Final, Protocol, cast
from uuid import UUID, uuid4

from ringline.calls.call import ZERO
from ringline.calls.leg import Leg
from ringline.calls.simulated import simulated_call
from ringline.calls.states import Direction
from ringline.clock import SystemClock, VirtualClock
from ringline.errors import NotFound
from ringline.flows import variables
from ringline.flows.actions import ActionFailed, Services
from ringline.flows.actions.services import Webhook
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.check import Rules, canonical
from ringline.flows.fetching import Fetcher
from ringline.flows.runner import Runner
from ringline.flows.simulation.scenario import Scenario
from ringline.flows.simulation.trace import Entry, Tracer
from ringline.flows.simulation.world import Ask, TriedAbsence, TriedCalls, TriedLeg, TriedMedia, TriedServers
from ringline.flows.snapshot import RawAction, Snapshot
from ringline.flows.webhooks import request as webhook_request
from ringline.flows.webhooks import text as webhook_text
from ringline.messages import facts
from ringline.sip.address import Address
from ringline.webhooks.exchange import ExchangeFailed

REAL_SECONDS: Final = 10.0


class StoredFlows(Protocol):
    """The customer's flows (``flows.definitions.FlowDefinitions``)."""

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[RawAction]: ...


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it. ``seconds`` are virtual; ``cut``: more happened than the trace can hold."""

    reason: str
    message: str
    hangup_by: str
    hangup_reason: str
    seconds: float
    variables: dict[str, str]
    failures: list[dict[str, str]]
    trace: list[Entry]
    cut: bool


async def simulate(
    actions: list[RawAction],
    scenario: Scenario,
    *,
    customer_id: UUID = ZERO,
    flow_id: UUID = ZERO,
    stored: StoredFlows | None = None,
    rules: Rules | None = None,
    emit: Callable[[Entry], None] | None = None,
    ask: Ask | None = None,
) -> Tried:
    """Run checked actions. ``emit`` is told of each entry as it happens, ``ask`` asks somebody for keys.

    Raises ``InvalidArgument`` for variables that may not be set.
    """
    start = scenario.now or SystemClock().now()
    clock = VirtualClock(start if start.tzinfo else start.replace(tzinfo=UTC))
    call = simulated_call(clock, direction=Direction(scenario.direction), customer_id=customer_id)
    call.source = Address(type="tel", target=scenario.source)
    call.destination = Address(type="tel", target=scenario.destination)
    activeflow = Activeflow(
        id=uuid4(),
        customer_id=customer_id,
        flow_id=flow_id,
        actions=actions,
        snapshot=Snapshot(variables=dict(variables.check(scenario.variables))),
        reference_id=call.id,
        tm_create=clock.now(),
    )
    call.activeflow_id, call.flow_id = activeflow.id, flow_id
    tracer = Tracer(activeflow, clock.monotonic, emit)
    leg: TriedLeg | TriedAbsence = TriedLeg(call, clock, scenario, tracer.heard, ask)
    if scenario.text is not None:
        leg = TriedAbsence(customer_id, clock, tracer.heard)
        activeflow.reference_type, activeflow.reference_id = "message", uuid4()
        activeflow.snapshot.variables |= facts.variables(
            activeflow.reference_id,
            kind="sms",
            direction="inbound",
            text=scenario.text,
            media=(),
            source=call.source.as_json(),
            destination=call.destination.as_json(),
        )
        call = leg.call
    servers = TriedServers(scenario.web, leg.note)
    rules = rules or Rules()
    services = Services(
        calls=TriedCalls(leg.note),
        fetches=Fetcher(servers, rules.language or str, rules.url),
        flows=_Flows(scenario, stored),
        webhooks=_Webhooks(servers),
    )
    # what an absent leg lacks is skipped, or fails with NO_CALL
    runner = Runner(activeflow, cast("Leg", leg), TriedMedia(scenario), clock, tracer, services)
    try:
        # somebody who is asked for keys may take their time
        async with asyncio.timeout(None if ask else REAL_SECONDS):
            await runner.run()
    except TimeoutError:
        activeflow.reason = "SIMULATION_TIMEOUT"
        activeflow.message = f"a simulation takes at most {REAL_SECONDS:g} s of real time"
    activeflow.status = ActiveflowStatus.ENDED
    return Tried(
        activeflow.reason,
        activeflow.message,
        call.hangup_by.value,
        call.hangup_reason.value,
        round(clock.monotonic(), 3),
        dict(activeflow.snapshot.variables),
        [failure.as_json() for failure in call.failures],
        tracer.entries,
        tracer.cut,
    )


class _Flows:
    """The scenario's flows, then the stored ones."""

    def __init__(self, scenario: Scenario, stored: StoredFlows | None) -> None:
        self._given = {flow_id: canonical(actions) for flow_id, actions in scenario.flows.items()}
        self._stored = stored

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[RawAction]:
        if flow_id in self._given:
            return self._given[flow_id]
        if self._stored is None:
            raise NotFound(f"flow_id: the scenario has no flow {flow_id}", reason="FLOW_NOT_FOUND")
        return await self._stored.actions(customer_id, flow_id)


class _Webhooks:
    """Webhooks that the scenario answers (``flows.actions.services.Webhooks``)."""

    def __init__(self, servers: TriedServers) -> None:
        self._servers = servers

    def post(self, webhook: Webhook) -> None:
        self._servers.noted(webhook_request(webhook))

    async def send(self, webhook: Webhook) -> tuple[int, str]:
        try:
            answer = await self._servers.run(webhook_request(webhook), max_bytes=16 * 1024, cut=True)
        except ExchangeFailed as error:
            raise ActionFailed(f"WEBHOOK_{error.reason}", error.message) from error
        return answer.status, webhook_text(answer)
