"""Callers in queues under every order of events: an agent is free again, no leg rings on, no bridge is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline import ari
from ringline.calls.call import Call
from ringline.calls.leg import LegGone
from ringline.calls.ringback import Ringback
from ringline.clock import SystemClock
from ringline.customers import Agent, Presence
from ringline.media import Prompt
from ringline.queues import attendance as module
from ringline.queues.attendance import Attendance, Floor, Left
from ringline.queues.directory import Queue
from ringline.queues.dispatcher import Dispatcher
from ringline.queues.queuecall import ZERO, Queuecall
from ringline.queues.states import EndReason, Status
from ringline.sip.address import Address
from tests.unit.calls.desk import channel
from tests.unit.calls.test_connection import Room, settled

ONE, TWO = "+15550000001", "+15550000002"


class Kept:
    """An action's notes (``flows.progress.Progress``)."""

    def __init__(self) -> None:
        self.resumed = False
        self.kept: dict[str, Any] = {}

    def get(self, name: str, default: Any = None) -> Any:
        return self.kept.get(name, default)

    def keep(self, **notes: Any) -> None:
        self.kept.update(notes)


class Notes:
    def __init__(self) -> None:
        self.states: list[str] = []
        self.progress = Kept()

    def placed(self, place: int) -> None:
        pass

    def changed(self, record: Queuecall) -> None:
        self.states.append(record.status.value)


class Hall(Room):
    """A room with a queue in it, agents, and one caller who waits."""

    def __init__(self) -> None:
        super().__init__()
        self.presence = Presence()
        self.queue = Queue(uuid4(), self.caller.customer_id, "", "", "round_robin", (), ZERO, [], 0, 0)
        self.agents: list[Agent] = []
        self.dispatcher = Dispatcher(self, self, self.presence)
        self.presence.watchers.append(self.dispatcher.wake)
        self.notes = Notes()
        self.floor = Floor(
            connections=self.connections,
            ordering=self.ordering,
            switchboard=self.board,
            presence=self.presence,
            clock=SystemClock(),
            ringback=lambda leg: Ringback(self.client, leg),  # type: ignore[arg-type]
            agent=lambda agent_id: next((one for one in self.agents if one.id == agent_id), None),
            changed=lambda record: None,
            enter=self.dispatcher.enter,
            leave=self.dispatcher.leave,
            wake=self.dispatcher.wake,
        )
        self.attendance: Attendance

    def by_id(self, row_id: UUID) -> Queue | None:
        return self.queue if row_id == self.queue.id else None

    def all(self) -> list[Agent]:
        return self.agents

    def agent(self, *numbers: str, ring_method: str = "ringall") -> Agent:
        agent = Agent(
            UUID(int=len(self.agents) + 1),
            self.caller.customer_id,
            "",
            16,
            ring_method=ring_method,
            status="available",
            addresses=tuple(Address(type="tel", target=number) for number in numbers),
        )
        self.agents.append(agent)
        self.dispatcher.wake()
        return agent

    async def join(self, listen: Any = None, *, wait: int = 0, service: int = 0) -> None:
        leg = self.leg(self.caller)
        record = Queuecall(
            id=uuid4(),
            customer_id=self.caller.customer_id,
            queue_id=self.queue.id,
            reference_id=self.caller.id,
            reference_activeflow_id=ZERO,
            source=self.caller.source,
            routing_method="round_robin",
            tag_ids=(),
            timeout_wait=wait,
            timeout_service=service,
            tm_create=SystemClock().now(),
        )

        async def music() -> Any:
            while True:
                await leg.play([Prompt("/music", 60_000)])

        self.attendance = Attendance(record, leg, self.floor, self.notes)
        self.flow.task = asyncio.create_task(self.attendance.run(listen or music))  # type: ignore[arg-type]
        await settled()

    async def left(self) -> Left:
        assert self.flow.task is not None
        async with asyncio.timeout(30):
            result: Any = await self.flow.task
        assert isinstance(result, Left)
        return result

    @property
    def record(self) -> Queuecall:
        return self.attendance.record

    def free(self, agent: Agent) -> bool:
        """Whether nothing engages the agent; it may rest."""
        return self.presence.shown(agent.id, "available") == "available"

    def over(self) -> None:
        """Nothing is left of a caller who was in the queue."""
        self.nothing_left()
        assert self.record.ended
        assert all(self.free(agent) for agent in self.agents)
        assert not self.dispatcher.callers(self.queue.id)


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    made = Hall()
    yield made
    made.dispatcher.close()
    made.board.close()


def answer(hall: Hall, leg: Call) -> None:
    hall.dial_event(leg, "RINGING")
    hall.dial_event(leg, "ANSWER")
    hall.stasis_start(leg)


async def test_the_wait_flow_ends_in_the_event_of_the_answer(hall: Hall) -> None:
    agent = hall.agent(ONE)
    await hall.join()
    assert hall.record.status is Status.CONNECTING
    assert hall.presence.shown(agent.id, "available") == "ringing"
    (leg,) = hall.others()
    assert hall.caller.chained_call_ids == [leg.id]
    (music,) = [uri for uri, _ in hall.asked("POST", "/play/")]
    hall.client.sent.clear()
    answer(hall, leg)
    # no task has run since: silence first, then the bridge, in one go
    sent = [(method, uri) for method, uri, _, _ in hall.client.sent]
    bridge = hall.asked("POST", "bridges/connect-")[0][0]
    assert sent.index(("DELETE", f"playbacks/{music.rsplit('/', 1)[1]}")) < sent.index(("POST", bridge))
    assert hall.joined() == [f"{hall.caller.channel_id},{leg.channel_id}"]
    assert (hall.record.status, hall.record.service_agent_id) == (Status.SERVICE, agent.id)
    assert hall.presence.shown(agent.id, "available") == "busy"
    await settled()
    assert len(hall.asked("POST", "/play/")) == 0, "the wait flow does not go on behind the conversation"
    hall.destroyed(leg, 16)
    assert (await hall.left()).reason is EndReason.AGENT_HANGUP
    assert hall.notes.states == ["waiting", "connecting", "service", "done"]
    hall.over()


async def test_who_does_not_answer_is_followed_by_the_next(hall: Hall) -> None:
    first, second = hall.agent(ONE), hall.agent(TWO)
    await hall.join()
    (leg,) = hall.others()
    hall.destroyed(leg, 17)
    await settled()
    (other,) = hall.others()
    assert other.destination.target == TWO
    assert hall.record.service_agent_id == second.id
    assert (hall.free(first), hall.presence.resting(first.id) > 10) == (True, True)
    answer(hall, other)
    hall.hang_up_caller()
    await asyncio.gather(hall.flow.task, return_exceptions=True)  # type: ignore[arg-type]
    await settled()
    assert hall.record.end_reason is EndReason.CALLER_HANGUP
    hall.over()


async def test_an_agent_is_rung_for_a_limited_time(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RING_SECONDS", 0.4)
    agent = hall.agent(ONE, TWO, ring_method="linear")
    await hall.join()
    for number in (ONE, TWO):
        (leg,) = hall.others()
        assert leg.destination.target == number
        hall.dial_event(leg, "RINGING")
        await asyncio.sleep(0.6)
        hall.finish(leg)
        await settled()
    assert hall.record.status is Status.WAITING
    assert hall.presence.resting(agent.id) > 0
    hall.attendance.finish(EndReason.KICKED)
    assert (await hall.left()).reason is EndReason.KICKED
    hall.over()


async def test_ringall_the_first_wins(hall: Hall) -> None:
    hall.agent(ONE, TWO)
    await hall.join()
    one, two = hall.others()
    answer(hall, two)
    answer(hall, one)
    assert hall.dropped(one) == [26]
    hall.attendance.finish(EndReason.SERVICE_TIMEOUT)
    await hall.left()
    hall.finish(one, two)
    hall.over()


@pytest.mark.parametrize("state", ["waiting", "connecting", "service"])
@pytest.mark.parametrize("how", ["hangup", "kick", "cancel"])
async def test_every_way_out_of_every_state(hall: Hall, state: str, how: str) -> None:
    if state != "waiting":
        hall.agent(ONE)
    await hall.join()
    if state == "service":
        answer(hall, hall.others()[0])
        await settled()
    assert hall.record.status.value == state
    if how == "hangup":
        hall.hang_up_caller()
    elif how == "kick":
        hall.attendance.finish(EndReason.KICKED)
    else:
        assert hall.flow.task is not None
        hall.flow.task.cancel()
    await asyncio.gather(hall.flow.task, return_exceptions=True)  # type: ignore[arg-type]
    await settled()
    expected = {"hangup": EndReason.CALLER_HANGUP, "kick": EndReason.KICKED, "cancel": EndReason.LEFT}
    assert hall.record.end_reason is expected[how]
    assert hall.record.status is (Status.DONE if state == "service" else Status.ABANDONED)
    hall.over()


async def test_timeouts(hall: Hall) -> None:
    await hall.join(wait=50)
    assert (await hall.left()).reason is EndReason.WAIT_TIMEOUT
    hall.over()
    hall.agent(ONE)
    await hall.join(wait=500, service=1500)
    (leg,) = hall.others()
    answer(hall, leg)
    await asyncio.sleep(0.7)
    assert not hall.record.ended, "who talks does not wait any more"
    assert (await hall.left()).reason is EndReason.SERVICE_TIMEOUT
    assert hall.dropped(leg)


async def test_without_a_wait_flow_it_rings(hall: Hall) -> None:
    async def nothing() -> None:
        return None

    await hall.join(nothing)
    begun = len([uri for _, uri, _, _ in hall.client.sent if uri.endswith("/ring")])
    played = [body for _, uri, _, body in hall.client.sent if "/play/" in uri]
    assert begun or played == [{"media": ["tone:ring"]}]
    hall.agent(ONE)
    await settled()
    (leg,) = hall.others()
    hall.client.sent.clear()
    answer(hall, leg)
    methods = [method for method, _, _, _ in hall.client.sent]
    assert methods[0] == "DELETE", "the ringing ends before the bridge"
    hall.destroyed(leg, 16)
    await hall.left()


async def test_a_wait_flow_that_lets_the_caller_out(hall: Hall) -> None:
    async def out() -> str:
        await asyncio.sleep(0.02)
        return "result"

    await hall.join(out)
    left = await hall.left()
    assert (left.reason, left.result) == (EndReason.LEFT, "result")
    hall.over()


async def test_a_wait_flow_on_a_leg_that_ends(hall: Hall) -> None:
    async def gone() -> None:
        raise LegGone

    await hall.join(gone)
    with pytest.raises(LegGone):
        await hall.left()
    hall.over()


async def test_a_wait_flow_that_breaks_leaves_the_caller_in_line(hall: Hall) -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    await hall.join(broken)
    assert hall.record.status is Status.WAITING
    hall.agent(ONE)
    await settled()
    answer(hall, hall.others()[0])
    assert hall.record.status is Status.SERVICE
    hall.attendance.finish(EndReason.KICKED)
    await hall.left()


async def test_a_bridge_that_cannot_be_made(hall: Hall) -> None:
    agent = hall.agent(ONE)
    await hall.join()
    hall.client.answers["POST"] = ari.ServerError("no", status=500, method="POST", uri="bridges")
    answer(hall, hall.others()[0])
    assert (await hall.left()).reason is EndReason.FAILED
    assert (hall.record.status, hall.free(agent)) == (Status.DONE, True)


async def test_an_agent_whose_number_cannot_be_called(hall: Hall) -> None:
    agent = hall.agent("555")
    await hall.join()
    await settled()
    assert (hall.record.status, hall.others()) == (Status.WAITING, [])
    assert hall.presence.resting(agent.id) > 0
    hall.attendance.finish(EndReason.KICKED)
    await hall.left()


async def test_a_customer_who_may_not_call(hall: Hall) -> None:
    hall.customers.by_id = lambda customer_id: SimpleNamespace(id=customer_id, status="frozen")  # type: ignore[method-assign]
    agent = hall.agent(ONE)
    await hall.join()
    await settled()
    assert (hall.record.status, hall.others()) == (Status.WAITING, [])
    assert hall.free(agent)
    hall.attendance.finish(EndReason.KICKED)
    await hall.left()


async def test_a_caller_who_is_gone_before_the_ringing_began(hall: Hall) -> None:
    await hall.join()
    agent = hall.agent(ONE)
    while not hall.dispatcher._round:
        await asyncio.sleep(0)
    hall.dispatcher._dispatch()
    assert not hall.free(agent)
    assert hall.flow.task is not None
    hall.flow.task.cancel()
    await asyncio.gather(hall.flow.task, return_exceptions=True)
    await settled()
    hall.over()


@pytest.mark.parametrize("seed", range(40))
async def test_every_order_of_events(seed: int) -> None:
    chance = random.Random(seed)
    hall = Hall()
    for _ in range(chance.randint(1, 3)):
        numbers = [f"+1555000{chance.randint(1000, 9999)}" for _ in range(chance.randint(1, 2))]
        hall.agent(*numbers, ring_method=chance.choice(["ringall", "linear"]))
    await hall.join()
    for _ in range(30):
        if hall.flow.task is not None and hall.flow.task.done():
            break
        legs = hall.others()
        step = chance.randint(0, 9)
        if step <= 3 and legs:
            leg = chance.choice(legs)
            hall.dial_event(leg, chance.choice(["RINGING", "ANSWER"]))
        elif step <= 5 and legs:
            hall.destroyed(chance.choice(legs), chance.choice([16, 17, 19]))
        elif step == 6 and legs:
            hall.stasis_start(chance.choice(legs))
        elif step == 7 and chance.random() < 0.3:
            hall.hang_up_caller()
        elif step == 8 and chance.random() < 0.3:
            hall.attendance.finish(EndReason.KICKED)
        elif step == 9:
            for agent in hall.agents:
                hall.presence.rouse(agent.id)
        for _ in range(chance.randint(0, 6)):
            await asyncio.sleep(0)
    hall.attendance.finish(EndReason.KICKED)
    await asyncio.gather(hall.flow.task, return_exceptions=True)  # type: ignore[arg-type]
    await settled()
    assert hall.record.ended
    assert all(hall.free(agent) for agent in hall.agents)
    for call in hall.others():
        assert hall.dropped(call), f"{call} is left"
    made = {uri for uri, _ in hall.asked("POST", "bridges/") if "Channel" not in uri}
    assert made == {uri for uri, _ in hall.asked("DELETE", "bridges/")}
    hall.dispatcher.close()
    hall.board.close()


async def test_a_hangup_of_the_caller_is_told_to_the_agents_telephone(hall: Hall) -> None:
    hall.agent(ONE)
    await hall.join()
    (leg,) = hall.others()
    hall.dial_event(leg, "RINGING")
    hall.client.emit("ChannelHangupRequest", channel=channel(hall.caller), cause=16)
    hall.destroyed(hall.caller, 16)
    assert len(hall.dropped(leg)) == 1, "in the event itself, not a moment later"
