"""Flows without a call: what they skip, what they start on completion, and that chains of them end."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from pydantic import TypeAdapter

from ringline.calls.absent import AbsentLeg
from ringline.calls.call import ZERO, Call
from ringline.calls.journal import FlowRecord, Journal
from ringline.calls.leg import LegError
from ringline.calls.simulated import Script, SimulatedLeg, simulated_call
from ringline.clock import VirtualClock
from ringline.errors import NotFound, ResourceExhausted
from ringline.flows import detached
from ringline.flows.actions import Action, AnyAction, NewCalls, Services
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.check import canonical
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.service import FlowService
from ringline.flows.snapshot import RawAction, Snapshot

from .test_runner import Media, talk

LIST: TypeAdapter[list[Action]] = TypeAdapter(list[AnyAction])
CUSTOMER = uuid4()
A, B = str(uuid4()), str(uuid4())


def raws(*actions: dict[str, Any]) -> list[RawAction]:
    return canonical(LIST.validate_python(list(actions), strict=False))


def put(key: str, value: str) -> dict[str, Any]:
    return {"type": "variable_set", "option": {"key": key, "value": value}}


class Flows:
    """Stored flows, each with the one on its completion."""

    def __init__(self) -> None:
        self.stored: dict[UUID, tuple[list[RawAction], UUID]] = {}

    def add(self, *actions: dict[str, Any], then: UUID = ZERO, flow_id: UUID | None = None) -> UUID:
        flow_id = flow_id or uuid4()
        self.stored[flow_id] = raws(*actions), then
        return flow_id

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[RawAction]:
        if customer_id != CUSTOMER or flow_id not in self.stored:
            raise NotFound(f"flow_id: there is no flow {flow_id}", reason="FLOW_NOT_FOUND")
        return self.stored[flow_id][0]

    def on_complete(self, customer_id: UUID, flow_id: UUID) -> UUID:
        return self.stored[flow_id][1] if flow_id in self.stored else ZERO


class Written:
    """The journal: every activeflow that was to be stored, in order of its first appearance."""

    def __init__(self) -> None:
        self.flows: dict[UUID, Activeflow] = {}

    def touch(self, call: Call) -> None:
        assert call.channel_id, "the record of an absent call is never stored"

    def touch_flow(self, flow: FlowRecord) -> None:
        assert isinstance(flow, Activeflow)
        self.flows[flow.id] = flow


class Placing:
    def __init__(self) -> None:
        self.placed: list[tuple[Call, NewCalls]] = []

    async def place(self, parent: Call, wanted: NewCalls) -> None:
        self.placed.append((parent, wanted))


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.flows, self.written, self.placing = Flows(), Written(), Placing()
        self.service = FlowService(
            cast("FlowDefinitions", self.flows), cast("Journal", self.written), Media(), self.clock
        )
        self.service.services = Services(calls=self.placing)

    @property
    def made(self) -> list[Activeflow]:
        return list(self.written.flows.values())

    async def idle(self) -> None:
        async with asyncio.timeout(30):
            while list(self.service.live()) or self.service._detached._starting:
                await asyncio.sleep(0)

    async def start(self, flow_id: UUID = ZERO, **rest: Any) -> Activeflow:
        rest = {"reference_type": "recording", "reference_id": uuid4(), **rest}
        activeflow = await self.service.start_detached(CUSTOMER, flow_id, **rest)
        await self.idle()
        return activeflow

    async def call(self, flow_id: UUID, script: Script | None = None) -> Activeflow:
        call = simulated_call(self.clock, customer_id=CUSTOMER)
        call.flow_id = flow_id
        activeflow = self.service.prepare(CUSTOMER, flow_id, await self.flows.actions(CUSTOMER, flow_id), {})
        self.service.attach(activeflow, call)
        self.service.start(call, SimulatedLeg(call, self.clock, script))
        await self.idle()
        return activeflow


@pytest.fixture
def world() -> World:
    return World()


def results(activeflow: Activeflow) -> list[tuple[str, str]]:
    return [(entry[1], entry[4]) for entry in activeflow.snapshot.history]


async def test_what_needs_a_call_is_skipped_and_the_rest_runs(world: World) -> None:
    flow = await world.start(
        actions=raws(
            {"type": "answer"}, talk("hello"), put("x", "${voipbin.recording.id}"), {"type": "beep"}
        ),
        variables={"voipbin.recording.id": "r1"},
    )
    assert results(flow) == [
        ("answer", "skipped"),
        ("talk", "skipped"),
        ("variable_set", "ok"),
        ("beep", "skipped"),
    ]
    assert flow.snapshot.variables["x"] == "r1"
    assert (flow.status, flow.reason, flow.reference_type) == (
        ActiveflowStatus.ENDED,
        "complete",
        "recording",
    )


async def test_hangup_ends_it_all_the_same(world: World) -> None:
    flow = await world.start(actions=raws({"type": "hangup"}, put("x", "never")))
    assert "x" not in flow.snapshot.variables


async def test_it_places_calls_that_are_chained_to_nothing(world: World) -> None:
    somebody = {"type": "tel", "target": "+15559876543"}
    await world.start(
        actions=raws({"type": "call", "option": {"destinations": [somebody], "actions": [talk("hi")]}})
    )
    ((parent, wanted),) = world.placing.placed
    assert (parent.customer_id, parent.ended, wanted.destinations[0].target) == (
        CUSTOMER,
        True,
        "+15559876543",
    )


async def test_a_loop_of_skipped_actions_ends(world: World) -> None:
    flow = await world.start(
        actions=raws({"id": A, "type": "sleep", "option": {"duration": 1000}, "next_id": A})
    )
    assert flow.reason == "LOOP_LIMIT"
    assert "1000 actions" in flow.message


async def test_an_unknown_flow_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.start(uuid4())


async def test_there_are_only_so_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached, "MAX_RUNNING", 0)
    with pytest.raises(ResourceExhausted):
        await world.start(actions=raws(talk("x")))


async def test_one_customer_has_only_so_many_and_gets_the_places_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached, "MAX_RUNNING_PER_CUSTOMER", 2)

    async def begin(customer_id: UUID) -> None:
        more: dict[str, Any] = {"reference_type": "message", "reference_id": uuid4()}
        await world.service.start_detached(customer_id, actions=raws(talk("x")), **more)

    await begin(CUSTOMER)
    await begin(CUSTOMER)
    with pytest.raises(ResourceExhausted, match="2 of your flows"):
        await begin(CUSTOMER)
    await begin(uuid4())
    await world.idle()
    await begin(CUSTOMER)
    await world.idle()
    assert not world.service._detached._places


async def test_a_flow_on_completion_knows_the_call_and_its_variables(world: World) -> None:
    after = world.flows.add(put("seen", "${voipbin.call.destination.target} ${who} ${voipbin.call.id}"))
    before = world.flows.add(put("who", "Ann"), talk("bye"), then=after)
    first = await world.call(before)
    _, second = world.made
    assert (second.flow_id, second.reference_type) == (after, "activeflow")
    assert second.reference_id == second.reference_activeflow_id == first.id
    assert second.snapshot.variables["seen"] == f"+15559876543 Ann {first.reference_id}"
    assert second.lookup(None)("voipbin.activeflow.reference_activeflow_id") == str(first.id)


async def test_it_runs_when_the_caller_hangs_up_too(world: World) -> None:
    before = world.flows.add(talk("0123456789"), then=world.flows.add(put("x", "1")))
    first = await world.call(before, Script(hangs_up_at=0.5))
    assert first.reason == "hangup"
    assert [flow.reason for flow in world.made] == ["hangup", "complete"]


async def test_a_flow_that_completes_into_itself_ends(world: World) -> None:
    again = uuid4()
    world.flows.add(put("n", "${n}x"), then=again, flow_id=again)
    await world.start(again)
    assert len(world.made) == 1 + detached.MAX_COMPLETIONS
    counts = [flow.snapshot.variables.get(detached.COMPLETE_COUNT) for flow in world.made]
    assert counts == [None, "1", "2", "3", "4", "5"]
    assert "end after 5" in world.made[-1].message


async def test_a_missing_flow_on_completion_is_said(world: World) -> None:
    gone = uuid4()
    flow = await world.start(world.flows.add(put("x", "1"), then=gone))
    assert flow.reason == "complete"
    assert str(gone) in flow.message


async def test_closing_ends_what_runs_and_starts_nothing(world: World) -> None:
    class Slow(Placing):
        async def place(self, parent: Call, wanted: NewCalls) -> None:
            await asyncio.Event().wait()

    world.service.services = Services(calls=Slow())
    somebody = {"type": "tel", "target": "+15559876543"}
    option = {"destinations": [somebody], "actions": [talk("hi")]}
    flow = world.flows.add({"type": "call", "option": option}, then=world.flows.add(put("x", "1")))
    before = len(asyncio.all_tasks())
    started = await world.service.start_detached(
        CUSTOMER, flow, reference_type="recording", reference_id=uuid4()
    )
    await asyncio.sleep(0)
    assert world.service.active(_absent_call(world)) is started
    await world.service.close()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before
    assert world.made == [started]


def _absent_call(world: World) -> UUID:
    ((_, leg, _),) = world.service._detached._running.values()
    return leg.call.id


async def test_whatever_else_is_asked_of_an_absent_leg_fails() -> None:
    leg: Any = AbsentLeg(CUSTOMER, VirtualClock().now())
    with pytest.raises(LegError, match="no call that could play"):
        await leg.play([])


def test_the_history_is_bounded_and_survives_a_restart() -> None:
    snapshot = Snapshot(began=1.5)
    for index in range(150):
        snapshot.done({"id": str(index), "type": "beep"}, 0.25, "failed", "WHY", "m" * 500)
    again = Snapshot.from_json(snapshot.as_json())
    assert [entry[0] for entry in again.history] == [str(index) for index in range(50, 150)]
    assert again.history[0] == ["50", "beep", 1.5, 0.25, "failed", "WHY", "m" * 200]
    again.done({"id": "x", "type": "beep"}, 0, "ok")
    assert len(again.history) == 100
