"""What a successor reads of calls and flows is what they were, whatever Redis went through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from ringline.calls.call import ActionFailure, Call
from ringline.calls.line import Line, Start
from ringline.calls.live_state import ACTIONS, CALLS, FLOWS, PARTS, LiveState
from ringline.calls.states import Direction, Status
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.snapshot import Frame, Snapshot
from ringline.sip.address import Address
from ringline.storage import Live

NOW = datetime(2026, 11, 21, 22, 5, 1, 123456, tzinfo=UTC)


class Leg:
    taken = False

    def kept(self) -> dict[str, Any]:
        self.taken = False
        return {"digits": "12#", "answering": True, "behind": None}


class World:
    """Live calls and flows, and the state that is kept of them."""

    def __init__(self, live: Live) -> None:
        self.lines: dict[UUID, Line] = {}
        self.flows: list[Activeflow] = []
        self.ended: dict[UUID, Call] = {}
        self.state = LiveState(live)
        self.state.line_of = self.lines.get
        self.state.unwritten = self.ended.get
        self.state.lasting = lambda: ([*self.lines, *self.ended], self.flows)

    def call(self) -> Line:
        call = Call(
            id=uuid4(),
            customer_id=uuid4(),
            direction=Direction.OUTGOING,
            source=Address(type="tel", target="+15551230001", target_name='Zoë "Z" \\ 🙂'),
            destination=Address(type="tel", target="+15551234567"),
            channel_id="call-1",
            status=Status.RINGING,
            tm_create=NOW,
            tm_ringing=NOW,
            chained_call_ids=[uuid4()],
            failures=[ActionFailure(uuid4(), "play", "FETCH_TIMEOUT", "too slow", NOW)],
            end_cause=26,
        )
        line = Line(call, Leg(), 0.0, None)  # type: ignore[arg-type]
        line.start, line.own, line.until, line.dial_until = Start.WITH_MEDIA, True, 100.5, 60.25
        self.lines[call.id] = line
        return line

    def flow(self, call_id: UUID) -> Activeflow:
        actions = [{"id": str(uuid4()), "type": "talk", "option": {"text": str(n)}} for n in range(3)]
        pushed = [{"id": str(uuid4()), "type": "beep", "option": {}}]
        flow = Activeflow(
            id=uuid4(),
            customer_id=uuid4(),
            flow_id=uuid4(),
            actions=actions,
            snapshot=Snapshot(
                frames=[Frame(2), Frame(0, pushed, 40)],
                variables={"name": "naïve"},
                loops={"a": 2},
                current=pushed[0],
                executed=4,
                began=12.5,
                progress={"play_at": 13.0},
            ),
            status=ActiveflowStatus.RUNNING,
            reference_id=call_id,
            tm_create=NOW,
            generation=2,
            placed=7,
        )
        self.flows.append(flow)
        return flow


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[Live]:
    live = Live(redis_url, timeout=20.0)
    await live.client.delete(CALLS, FLOWS, ACTIONS, PARTS)
    yield live
    await live.close()


@pytest.fixture
async def world(live: Live) -> AsyncIterator[World]:
    world = World(live)
    world.state.start()
    async with asyncio.timeout(60):
        while not world.state._pipe.ready:
            await asyncio.sleep(0.01)
    yield world
    await world.state.close()


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await check():
            await asyncio.sleep(0.01)


async def test_a_successor_reads_a_call_and_its_flow_as_they_stood(world: World, live: Live) -> None:
    line = world.call()
    flow = world.flow(line.call.id)
    world.state.touch(line.call.id)
    world.state.touch_flow(flow)
    await until(lambda: live.client.hexists(FLOWS, str(flow.id)))
    kept = await LiveState(live).load()
    record = kept.calls[line.call.id]
    assert Call.from_row(record["call"]).kept() == line.call.kept()
    assert record["leg"] == {"digits": "12#", "answering": True, "behind": None}
    assert (record["start"], record["own"], record["until"], record["dial_until"]) == (
        "media",
        True,
        100.5,
        60.25,
    )
    found = Activeflow.from_kept(kept.flows[flow.id], kept.flows[flow.id]["lists"])
    assert found.row() == flow.row()
    assert (found.generation, found.placed) == (2, 7)
    assert found.snapshot.current is not None
    assert found.snapshot.frames[-1].actions is not None
    assert found.snapshot.current is found.snapshot.frames[-1].actions[0]


async def test_what_must_be_known_before_a_request_leaves_is_written_at_once(
    world: World, live: Live
) -> None:
    line = world.call()
    before = LiveState(live)
    assert not before.write(), "nothing is connected"
    world.state.touch(line.call.id)
    assert world.state.write()
    # the turn of the loop in which it was marked is not over, and it stands there
    socket = world.state._pipe._link._transport  # type: ignore[union-attr]
    assert socket is not None
    assert socket.get_write_buffer_size() == 0
    await until(lambda: live.client.hexists(CALLS, str(line.call.id)))


async def test_lists_of_actions_are_written_once_and_go_with_their_frame(world: World, live: Live) -> None:
    flow = world.flow(uuid4())
    world.state.touch_flow(flow)
    await until(lambda: live.client.hexists(FLOWS, str(flow.id)))
    names = set(await live.client.hkeys(ACTIONS))
    assert len(names) == 2
    await live.client.hset(ACTIONS, mapping=dict.fromkeys(names, b'["as it was"]'))
    flow.snapshot.frames.pop()
    flow.snapshot.current = flow.actions[2]
    flow.snapshot.executed = 5
    world.state.touch_flow(flow)

    async def one_left() -> bool:
        return len(await live.client.hkeys(ACTIONS)) == 1

    await until(one_left)
    (left,) = await live.client.hkeys(ACTIONS)
    assert await live.client.hget(ACTIONS, left) == b'["as it was"]', "the list was not written again"
    row = orjson.loads(await live.client.hget(FLOWS, str(flow.id)) or b"{}")
    assert (row["snapshot"]["executed"], row["snapshot"]["told"]) == (5, True)


async def test_an_ended_call_stays_until_its_row_is_written(world: World, live: Live) -> None:
    line = world.call()
    world.state.touch(line.call.id)
    line.call.end(16, NOW)
    world.ended[line.call.id] = world.lines.pop(line.call.id).call
    world.state.touch(line.call.id)
    await until(lambda: live.client.hexists(CALLS, str(line.call.id)))
    kept = (await LiveState(live).load()).calls[line.call.id]
    assert "leg" not in kept
    assert kept["call"]["status"] == "hangup"
    del world.ended[line.call.id]
    world.state.stored([line.call.id], [])

    async def gone() -> bool:
        return not await live.client.hexists(CALLS, str(line.call.id))

    await until(gone)


async def test_what_redis_lost_is_written_anew_and_what_is_over_goes(world: World, live: Live) -> None:
    line, over = world.call(), uuid4()
    flow = world.flow(line.call.id)
    world.state.keep("conferences", "a/b", {"name": "x"})
    await live.client.delete(CALLS, FLOWS, ACTIONS, PARTS)
    await live.client.hset(CALLS, str(over), b"{}")
    await live.client.client_kill_filter(skipme=True)

    async def back() -> bool:
        kept = await LiveState(live).load()
        wanted = ({line.call.id}, {flow.id}, {"conferences": {"a/b": {"name": "x"}}})
        return (set(kept.calls), set(kept.flows), kept.parts) == wanted

    await until(back)
    world.state.drop("conferences", "a/b")
    await until(lambda: _empty(live))


async def _empty(live: Live) -> bool:
    return not await live.client.exists(PARTS)


async def test_what_nobody_can_read_is_left_out(live: Live) -> None:
    good, flow_id = uuid4(), uuid4()
    await live.client.hset(CALLS, mapping={str(good): b'{"call": {}}', str(uuid4()): b"{", "no id": b"{}"})
    await live.client.hset(FLOWS, mapping={str(flow_id): b'{"lists": ["x:1"]}', str(uuid4()): b"[]"})
    await live.client.hset(PARTS, mapping={"queues/1": b"nonsense", "queues/2": b'{"n": 1}'})
    kept = await LiveState(live).load()
    assert set(kept.calls) == {good}
    assert kept.flows == {}
    assert kept.parts == {"queues": {"2": {"n": 1}}}
    assert kept.unreadable == 5
