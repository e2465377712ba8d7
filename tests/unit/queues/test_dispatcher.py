"""Who is rung for whom: order, tags, rest, and never twice at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringline.customers import Agent, Engagement, Presence
from ringline.queues.directory import Queue
from ringline.queues.dispatcher import Dispatcher
from ringline.queues.queuecall import ZERO, Queuecall
from ringline.queues.states import EndReason, Status
from ringline.sip.address import Address

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
TEL = Address(type="tel", target="+15559876543")


class Caller:
    """A caller who does what the test says: nothing by itself."""

    def __init__(self, record: Queuecall) -> None:
        self.record = record
        self.agent: Agent | None = None
        self.gone = False
        record.advance(Status.WAITING, record.tm_create)

    def ring(self, agent: Agent) -> None:
        assert self.record.advance(Status.CONNECTING, BEGAN), self.record.status
        self.agent = agent

    def queue_gone(self) -> None:
        self.gone = True


class Floor:
    """Queues, agents and callers, with a clock that stands still until it is moved."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self.customer_id = uuid4()
        self.now = 0.0
        self.queues: dict[UUID, Queue] = {}
        self.agents: dict[UUID, Agent] = {}
        self.presence = Presence(lambda: self.now)
        self.dispatcher = Dispatcher(self, self, self.presence, chance)
        self.presence.watchers.append(self.dispatcher.wake)
        self.joined = 0

    def by_id(self, row_id: UUID) -> Queue | None:
        return self.queues.get(row_id)

    def all(self) -> list[Agent]:
        return list(self.agents.values())

    def queue(self, *tags: UUID, method: str = "random") -> Queue:
        queue = Queue(uuid4(), self.customer_id, "", "", method, tags, ZERO, [], 0, 0)
        self.queues[queue.id] = queue
        return queue

    def agent(self, *tags: UUID, **fields: Any) -> Agent:
        agent = Agent(
            uuid4(),
            self.customer_id,
            "",
            16,
            status=fields.pop("status", "available"),
            addresses=fields.pop("addresses", (TEL,)),
            tag_ids=frozenset(tags),
        )
        agent = replace(agent, **fields)
        self.agents[agent.id] = agent
        self.dispatcher.wake()
        return agent

    def join(self, queue: Queue, at: float | None = None) -> Caller:
        self.joined += 1
        moment = BEGAN + timedelta(seconds=self.joined if at is None else at)
        caller = Caller(
            Queuecall(
                id=uuid4(),
                customer_id=self.customer_id,
                queue_id=queue.id,
                reference_id=uuid4(),
                reference_activeflow_id=uuid4(),
                source=TEL,
                routing_method="random",
                tag_ids=(),
                timeout_wait=0,
                timeout_service=0,
                tm_create=moment,
            )
        )
        self.dispatcher.enter(caller)
        return caller

    def unanswered(self, caller: Caller, rest: float = 15.0) -> None:
        agent = caller.agent
        assert agent is not None
        caller.agent = None
        caller.record.advance(Status.WAITING, BEGAN)
        self.presence.rest(agent.id, rest)
        self.presence.release(agent.id, caller.record.id)

    def leave(self, caller: Caller) -> None:
        caller.record.end(EndReason.CALLER_HANGUP, BEGAN)
        self.dispatcher.leave(caller)
        if caller.agent is not None:
            self.presence.release(caller.agent.id, caller.record.id)


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_one_who_waited_longest_is_first() -> None:
    floor = Floor()
    queue = floor.queue()
    second = floor.join(queue, at=2)
    first = floor.join(queue, at=1)
    await turn()
    assert [floor.dispatcher.position(caller) for caller in (first, second)] == [1, 2]
    agent = floor.agent()
    await turn()
    assert (first.agent, second.agent) == (agent, None)
    floor.leave(first)
    await turn()
    assert second.agent == agent


async def test_the_order_holds_across_queues() -> None:
    floor = Floor()
    one, other = floor.queue(), floor.queue()
    late = floor.join(one, at=9)
    early = floor.join(other, at=3)
    floor.agent()
    await turn()
    assert (early.agent is not None, late.agent) == (True, None)


async def test_an_agent_needs_all_tags_an_address_and_to_be_available() -> None:
    floor = Floor()
    english, sales = uuid4(), uuid4()
    caller = floor.join(floor.queue(english, sales))
    floor.agent(english)
    floor.agent(english, sales, status="away")
    floor.agent(english, sales, addresses=())
    floor.agent(english, sales, customer_id=uuid4())
    await turn()
    assert caller.agent is None
    right = floor.agent(english, sales, uuid4())
    await turn()
    assert caller.agent == right


async def test_a_caller_without_an_agent_does_not_hold_up_other_queues() -> None:
    floor = Floor()
    tag = uuid4()
    stuck = floor.join(floor.queue(tag))
    served = floor.join(floor.queue())
    floor.agent()
    await turn()
    assert (stuck.agent, served.agent is not None) == (None, True)


async def test_an_agent_who_is_engaged_elsewhere_is_not_rung() -> None:
    floor = Floor()
    agent = floor.agent()
    floor.presence.engage(agent.id, "a groupcall", Engagement.RINGING)
    caller = floor.join(floor.queue())
    await turn()
    assert caller.agent is None
    floor.presence.engage(agent.id, "a groupcall", Engagement.BUSY)
    await turn()
    assert caller.agent is None
    floor.presence.release(agent.id, "a groupcall")
    await turn()
    assert caller.agent == agent


async def test_who_did_not_answer_rests_and_the_next_is_rung() -> None:
    floor = Floor()
    first, second = floor.agent(), floor.agent()
    caller = floor.join(floor.queue())
    await turn()
    rung = caller.agent
    floor.unanswered(caller)
    await turn()
    assert caller.agent in (first, second)
    assert caller.agent != rung
    floor.unanswered(caller)
    await turn()
    assert caller.agent is None, "both rest"
    floor.now = 15.1
    floor.dispatcher.wake()
    await turn()
    assert caller.agent is not None


async def test_the_end_of_a_rest_wakes_the_round_by_itself() -> None:
    floor = Floor()
    floor.presence = presence = Presence()
    floor.dispatcher = Dispatcher(floor, floor, presence)
    presence.watchers.append(floor.dispatcher.wake)
    agent = floor.agent()
    caller = floor.join(floor.queue())
    await turn()
    floor.unanswered(caller, rest=0.5)
    await turn()
    assert caller.agent is None
    async with asyncio.timeout(30):
        while caller.agent is None:
            await asyncio.sleep(0.01)
    assert caller.agent == agent
    floor.dispatcher.close()


async def test_an_agent_who_says_available_rests_no_longer() -> None:
    floor = Floor()
    agent = floor.agent()
    caller = floor.join(floor.queue())
    await turn()
    floor.unanswered(caller)
    await turn()
    assert caller.agent is None
    floor.presence.rouse(agent.id)
    await turn()
    assert caller.agent == agent


async def test_round_robin_goes_round() -> None:
    floor = Floor()
    agents = sorted((floor.agent() for _ in range(3)), key=lambda agent: agent.id)
    queue = floor.queue(method="round_robin")
    rung = []
    keeper = floor.join(queue, at=100)  # keeps the queue's memory while others come and go
    await turn()
    rung.append(keeper.agent)
    for _ in range(5):
        caller = floor.join(queue)
        await turn()
        rung.append(caller.agent)
        floor.leave(caller)
        await turn()
    assert rung[0] == agents[0]
    others = rung[1:]
    assert others == [agents[1], agents[2], agents[1], agents[2], agents[1]]


async def test_the_longest_idle_is_rung() -> None:
    floor = Floor()
    agents = [floor.agent() for _ in range(3)]
    queue = floor.queue(method="longest_idle")
    for moment, agent in enumerate((agents[1], agents[2], agents[0]), start=1):
        floor.presence.engage(agent.id, "call", Engagement.BUSY)
        floor.now = float(moment)
        floor.presence.release(agent.id, "call")
    callers = [floor.join(queue) for _ in range(3)]
    await turn()
    assert [caller.agent for caller in callers] == [agents[1], agents[2], agents[0]]


async def test_random_reaches_everybody() -> None:
    floor = Floor(random.Random(7))
    agents = [floor.agent() for _ in range(3)]
    queue = floor.queue()
    rung = set()
    for _ in range(40):
        caller = floor.join(queue)
        await turn()
        assert caller.agent is not None
        rung.add(caller.agent.id)
        floor.leave(caller)
    assert rung == {agent.id for agent in agents}


async def test_a_deleted_queue_lets_its_callers_go() -> None:
    floor = Floor()
    queue = floor.queue()
    caller = floor.join(queue)
    del floor.queues[queue.id]
    floor.dispatcher.wake()
    await turn()
    assert caller.gone


@pytest.mark.parametrize("method", ["random", "longest_idle", "round_robin"])
@given(steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=60), seed=st.integers())
@settings(max_examples=60, deadline=None)
def test_nobody_is_rung_twice_and_nobody_is_overtaken(
    method: str, steps: list[tuple[int, int]], seed: int
) -> None:
    asyncio.run(_random_day(method, steps, random.Random(seed)))


async def _random_day(method: str, steps: list[tuple[int, int]], chance: random.Random) -> None:
    floor = Floor(chance)
    tag = uuid4()
    queues = [floor.queue(method=method), floor.queue(tag, method=method)]
    callers: list[Caller] = []

    def pick(number: int, wanted: Callable[[Caller], bool]) -> Caller | None:
        found = [caller for caller in callers if wanted(caller)]
        return found[number % len(found)] if found else None

    for what, number in steps:
        floor.now += 1
        if what == 0:
            callers.append(floor.join(queues[number % 2]))
        elif what == 1:
            floor.agent(*([tag] if number % 2 else []))
        elif what == 2 and (caller := pick(number, lambda one: one.agent is not None)):
            if caller.record.status is Status.CONNECTING:
                floor.unanswered(caller, rest=float(number % 3))
        elif what == 3 and (caller := pick(number, lambda one: one.record.status is Status.CONNECTING)):
            assert caller.agent is not None
            caller.record.advance(Status.SERVICE, BEGAN)
            floor.presence.engage(caller.agent.id, caller.record.id, Engagement.BUSY)
        elif what == 4 and callers:
            caller = callers.pop(number % len(callers))
            floor.leave(caller)
        elif what == 5 and floor.agents:
            agent = list(floor.agents.values())[number % len(floor.agents)]
            status = "away" if agent.status == "available" else "available"
            floor.agents[agent.id] = replace(agent, status=status)
        floor.dispatcher.wake()
        await turn()
        engaged = [caller.agent.id for caller in callers if caller.agent is not None]
        assert len(engaged) == len(set(engaged)), "one agent, two callers"
        for queue in queues:
            free = [
                agent
                for agent in floor.agents.values()
                if agent.status == "available"
                and floor.presence.free(agent.id)
                and frozenset(queue.tag_ids) <= agent.tag_ids
            ]
            waiting = [
                caller
                for caller in callers
                if caller.record.queue_id == queue.id and caller.record.status is Status.WAITING
            ]
            assert not (free and waiting), "a caller waits although an agent is free"
    floor.dispatcher.close()
