"""Flows and their calls: what becomes of a call whose flow cannot be had or breaks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from ringline.calls.call import ZERO, Call
from ringline.calls.journal import FlowRecord, Journal
from ringline.calls.simulated import SimulatedLeg, simulated_call
from ringline.calls.states import Direction, HangupReason, Status
from ringline.clock import VirtualClock
from ringline.errors import NotFound
from ringline.flows.activeflow import ActiveflowStatus
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.service import FlowService
from ringline.flows.snapshot import RawAction
from ringline.media import Prompt

BROKEN: list[RawAction] = [{"type": "talk"}]
"""No flow that was checked: its action has neither id nor option."""


class Media:
    async def speech(self, text: str, language: str = "en-US", voice_id: str = "") -> Prompt:
        return Prompt("/speech", 100)

    async def file(self, url: str) -> Prompt:
        return Prompt("/file", 100)

    async def beep(self) -> Prompt:
        return Prompt("/beep", 400)


@dataclass
class Written:
    calls: list[Call] = field(default_factory=list)
    flows: list[FlowRecord] = field(default_factory=list)

    def touch(self, call: Call) -> None:
        self.calls.append(call)

    def touch_flow(self, flow: FlowRecord) -> None:
        self.flows.append(flow)


class Definitions:
    def __init__(self, answer: list[RawAction] | Exception) -> None:
        self._answer = answer

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[RawAction]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def on_complete(self, customer_id: UUID, flow_id: UUID) -> UUID:
        return ZERO


class World:
    """A flow service whose flows are all the same, and one call."""

    def __init__(self, answer: list[RawAction] | Exception, direction: Direction) -> None:
        clock = VirtualClock()
        self.written = Written()
        self.service = FlowService(
            cast("FlowDefinitions", Definitions(answer)), cast("Journal", self.written), Media(), clock
        )
        self.call = simulated_call(clock, direction=direction)
        self.call.flow_id = uuid4()
        self.leg = SimulatedLeg(self.call, clock)

    async def run(self) -> None:
        self.service.start(self.call, self.leg)
        async with asyncio.timeout(30):
            while self.service._running:
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (NotFound("flow_id: there is no such flow", reason="FLOW_NOT_FOUND"), "there is no such flow"),
        (OSError("no route to the database"), "OSError"),
        (KeyError("x"), "KeyError"),
    ],
)
async def test_an_incoming_call_whose_flow_cannot_be_loaded_is_refused(fault: Exception, detail: str) -> None:
    world = World(fault, Direction.INCOMING)
    await world.run()
    assert [(heard.what, heard.detail) for heard in world.leg.trace] == [("hangup", "failed")]
    assert detail in world.call.hangup_detail
    assert world.call in world.written.calls


async def test_an_incoming_call_without_a_flow_is_refused() -> None:
    world = World([], Direction.INCOMING)
    world.call.flow_id = ZERO
    await world.run()
    assert [heard.what for heard in world.leg.trace] == ["hangup"]
    assert world.call.hangup_detail == "the number has no flow"


@pytest.mark.parametrize("direction", list(Direction))
async def test_a_flow_that_breaks_ends_its_call_and_says_so(direction: Direction) -> None:
    world = World([], direction)
    activeflow = world.service.prepare(world.call.customer_id, uuid4(), BROKEN, {})
    world.service.attach(activeflow, world.call)
    await world.run()
    assert (activeflow.status, activeflow.reason) == (ActiveflowStatus.ENDED, "INTERNAL")
    assert world.call.status is Status.HANGUP
    assert [(heard.what, heard.detail) for heard in world.leg.trace] == [("hangup", HangupReason.FAILED)]
    assert "KeyError" in world.call.hangup_detail
    assert world.written.flows[-1] is activeflow
    assert world.service.current(world.call.id) is None


async def test_a_flow_of_a_number_runs_to_its_end() -> None:
    beep: dict[str, Any] = {"id": str(uuid4()), "type": "beep", "option": {}}
    world = World([beep], Direction.INCOMING)
    await world.run()
    assert [heard.what for heard in world.leg.trace] == ["play", "hangup"]
    assert (world.call.hangup_detail, world.call.failures) == ("", [])
    assert world.call.activeflow_id == world.written.flows[-1].id
