"""Shared bridges under every race: made once, gone with the last, nobody left in them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ringline import ari
from ringline.calls import membership
from ringline.calls.bridges import Bridges, bridge_name
from ringline.calls.call import Call
from ringline.calls.leg import Left, LegError, LegGone
from ringline.calls.membership import Gatherings
from ringline.calls.simulated import Script, SimulatedLeg, simulated_call
from ringline.calls.states import Direction
from ringline.clock import VirtualClock

from .desk import Desk


class Room(Desk):
    """A desk whose calls meet in a bridge."""

    def __init__(self) -> None:
        super().__init__()
        self.bridges = Bridges()
        self.gatherings = Gatherings(self.client, self.bridges)  # type: ignore[arg-type]
        self.board.gatherings = self.gatherings
        self.board.watchers.append(self.gatherings.call_ended)
        self.name = bridge_name("conference")
        self.entered: list[Call] = []

    def join(self, call: Call) -> asyncio.Task[Left]:
        leg = self.leg(call)
        return asyncio.create_task(leg.join_bridge(self.name, joined=lambda: self.entered.append(call)))

    def asked(self, method: str, part: str) -> list[tuple[str, Any]]:
        return [(uri, query) for sent, uri, query, _ in self.client.sent if sent == method and part in uri]

    def made(self) -> int:
        return sum("Channel" not in uri for uri, _ in self.asked("POST", f"bridges/{self.name}"))

    def destroyed_bridges(self) -> int:
        return len(self.asked("DELETE", f"bridges/{self.name}"))

    def added(self) -> list[str]:
        return [query["channel"] for _, query in self.asked("POST", "/addChannel")]

    def removed(self) -> list[str]:
        return [query["channel"] for _, query in self.asked("POST", "/removeChannel")]

    def nothing_left(self) -> None:
        assert self.gatherings.members(self.name) == []
        assert not self.bridges.known_bridge(self.name)
        assert self.bridges.joined_bridges() == set()
        if self.made():
            assert self.client.sent[-1][:2] == ("DELETE", f"bridges/{self.name}") or self.destroyed_bridges()


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    made.board.close()


async def settled() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def result(task: asyncio.Task[Left]) -> Left:
    async with asyncio.timeout(30):
        return await task


async def test_two_meet_and_part(room: Room) -> None:
    first, second = room.answered(), room.answered()
    tasks = [room.join(first), room.join(second)]
    await settled()
    assert room.made() == 1
    assert room.asked("POST", f"bridges/{room.name}")[0][1] == {"type": "mixing", "name": "conference"}
    assert room.added() == [first.channel_id, second.channel_id]
    assert room.entered == [first, second]
    assert room.gatherings.members(room.name) == [first.id, second.id]
    assert room.bridges.joined_bridges() == {room.name}
    room.leg(first).digit_received("5")
    assert room.gatherings.release(first.id)
    assert not room.gatherings.release(first.id), "once"
    assert await result(tasks[0]) is Left.KICKED
    assert not room.leg(first).digits, "what was pressed in there was meant for the others"
    assert room.destroyed_bridges() == 0
    assert room.gatherings.where(second.id) == room.name
    room.gatherings.dissolve(room.name)
    assert await result(tasks[1]) is Left.DISSOLVED
    assert room.removed() == [first.channel_id, second.channel_id]
    assert (room.made(), room.destroyed_bridges()) == (1, 1)
    assert room.gatherings.where(second.id) == ""
    room.nothing_left()


async def test_who_joins_while_the_bridge_is_being_made_waits_for_it(room: Room) -> None:
    making: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    send = room.client.send

    def slow(method: str, uri: str, **rest: Any) -> asyncio.Future[Any]:
        answered = send(method, uri, **rest)
        return making if uri == f"bridges/{room.name}" and method == "POST" else answered

    room.client.send = slow  # type: ignore[method-assign]
    calls = [room.answered() for _ in range(3)]
    tasks = [room.join(call) for call in calls]
    await settled()
    assert (room.made(), room.added()) == (1, [])
    tasks[0].cancel()
    await settled()
    assert not making.done(), "one who gives up does not take the bridge from the others"
    making.set_result(None)
    await settled()
    assert room.added() == [call.channel_id for call in calls[1:]]
    room.gatherings.dissolve(room.name)
    assert [await result(task) for task in tasks[1:]] == [Left.DISSOLVED] * 2
    room.nothing_left()


async def test_a_bridge_that_is_there_already_is_taken_as_it_is(room: Room) -> None:
    room.client.answers[f"POST bridges/{room.name}"] = ari.Conflict("exists", status=409)
    call = room.answered()
    room.gatherings.expect(room.name)
    assert room.bridges.known_bridge(room.name)
    task = room.join(call)
    await settled()
    assert room.entered == [call]
    room.gatherings.release(call.id)
    await result(task)
    assert room.destroyed_bridges() == 0, "others are expected to come back"
    room.gatherings.settle(room.name)
    assert room.destroyed_bridges() == 1
    room.gatherings.settle(room.name)
    room.nothing_left()


async def test_after_the_last_the_next_makes_a_new_bridge(room: Room) -> None:
    first, second = room.answered(), room.answered()
    task = room.join(first)
    await settled()
    other = room.join(second)
    await asyncio.sleep(0)
    room.gatherings.release(first.id)
    await result(task)
    await settled()
    assert (room.made(), room.destroyed_bridges()) == (1, 0), "the second came before the first was out"
    room.gatherings.release(second.id)
    task = room.join(first)
    await result(other)
    await settled()
    assert (room.made(), room.destroyed_bridges()) == (2, 1)
    room.gatherings.release(first.id)
    await result(task)
    room.nothing_left()


async def test_an_incoming_call_is_answered_first(room: Room) -> None:
    call = room.call(Direction.INCOMING)
    room.arrivals.answer = call
    room.client.emit("StasisStart", channel={"id": "in-1"}, args=["inbound"])
    task = room.join(call)
    await settled()
    assert [uri for sent, uri, _, _ in room.client.sent if sent == "POST"] == [
        "channels/in-1/answer",
        f"bridges/{room.name}",
        f"bridges/{room.name}/addChannel",
    ]
    room.gatherings.release(call.id)
    await result(task)
    room.nothing_left()


@pytest.mark.parametrize("step", ["making", "joining", "joined"])
async def test_the_call_hangs_up(room: Room, step: str) -> None:
    call = room.answered()
    if step == "making":
        room.client.answers[f"POST bridges/{room.name}"] = "pending"
    if step == "joining":
        room.client.answers[f"POST bridges/{room.name}/addChannel"] = "pending"
    task = room.join(call)
    await settled()
    assert (room.entered == [call]) is (step == "joined")
    room.destroyed(call, 16)
    with pytest.raises(LegGone):
        await result(task)
    assert room.removed() == [], "a channel that is gone is in no bridge"
    room.nothing_left()


@pytest.mark.parametrize("step", ["making", "joining", "joined"])
async def test_the_flow_is_stopped(room: Room, step: str) -> None:
    call = room.answered()
    if step == "making":
        room.client.answers[f"POST bridges/{room.name}"] = "pending"
    if step == "joining":
        room.client.answers[f"POST bridges/{room.name}/addChannel"] = "pending"
    task = room.join(call)
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await result(task)
    assert room.removed() == [call.channel_id]
    room.nothing_left()


async def test_a_hang_up_that_is_seen_by_the_refusal_first(room: Room) -> None:
    call = room.answered()
    room.client.answers[f"POST bridges/{room.name}/addChannel"] = ari.BadRequest("gone", status=422)
    task = room.join(call)
    await settled()
    room.destroyed(call, 16)
    with pytest.raises(LegGone):
        await result(task)
    room.nothing_left()


async def test_a_bridge_that_cannot_be_made_or_joined(room: Room) -> None:
    call = room.answered()
    for uri in (f"POST bridges/{room.name}", f"POST bridges/{room.name}/addChannel"):
        room.client.answers = {uri: ari.ServerError("no", status=500)}
        with pytest.raises(LegError) as refused:
            await result(room.join(call))
        assert refused.value.reason == "BRIDGE_FAILED"
        room.nothing_left()
    room.client.answers.clear()
    task = room.join(call)
    await settled()
    assert room.entered == [call], "the next one tries anew"
    room.gatherings.release(call.id)
    await result(task)


async def test_the_bridge_is_lost(room: Room) -> None:
    calls = [room.answered(), room.answered()]
    tasks = [room.join(call) for call in calls]
    await settled()
    room.bridges.bridge_lost(room.name)
    for task in tasks:
        with pytest.raises(LegError) as lost:
            await result(task)
        assert lost.value.reason == "BRIDGE_LOST"
    room.nothing_left()


async def test_a_call_is_in_one_bridge_at_a_time(room: Room) -> None:
    call = room.answered()
    task = room.join(call)
    await settled()
    with pytest.raises(LegError) as refused:
        await room.leg(call).join_bridge("conference-other")
    assert refused.value.reason == "ALREADY_IN_BRIDGE"
    assert room.gatherings.members(room.name) == [call.id]
    room.gatherings.release(call.id)
    await result(task)
    room.client.connected = False
    with pytest.raises(LegError) as away:
        await room.leg(call).join_bridge(room.name)
    assert away.value.reason == "MEDIA_SERVER_AWAY"
    room.nothing_left()


async def test_who_is_shown_the_door_does_not_go_on_listening(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "REMOVAL_SECONDS", 0.01)
    kicked, stays = room.answered(), room.answered()
    tasks = [room.join(kicked), room.join(stays)]
    await settled()
    room.client.answers[f"POST bridges/{room.name}/removeChannel"] = ari.RequestTimeout("late")
    room.gatherings.release(kicked.id)
    await asyncio.sleep(0.02)
    del room.client.answers[f"POST bridges/{room.name}/removeChannel"]
    assert await result(tasks[0]) is Left.KICKED
    room.client.answers[f"POST bridges/{room.name}/removeChannel"] = ari.RequestTimeout("late")
    room.gatherings.release(stays.id)
    with pytest.raises(LegError) as stuck:
        await result(tasks[1])
    assert stuck.value.reason == "BRIDGE_STUCK"
    assert stays.ending
    room.nothing_left()


@pytest.mark.parametrize("seed", range(20))
async def test_any_order_of_coming_and_going(room: Room, seed: int) -> None:
    chance = random.Random(seed)
    calls = [room.answered() for _ in range(6)]
    tasks: dict[Call, asyncio.Task[Left]] = {}
    for _ in range(60):
        call = chance.choice(calls)
        match chance.randrange(5):
            case 0 | 1 if (call not in tasks or tasks[call].done()) and not call.ended:
                tasks[call] = room.join(call)
            case 2:
                room.gatherings.release(call.id)
            case 3 if call in tasks:
                tasks[call].cancel()
            case 4 if chance.random() < 0.2:
                room.destroyed(call, 16)
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
    await settled()
    room.gatherings.dissolve(room.name)
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert room.made() == room.destroyed_bridges()
    room.nothing_left()
    live = {call.channel_id for call in calls if not call.ended}
    assert {name for name in room.added() if name in live} <= set(room.removed())


async def test_on_a_simulated_leg() -> None:
    clock = VirtualClock()
    leg = SimulatedLeg(simulated_call(clock, direction=Direction.INCOMING), clock, Script(stays_for=4))
    entered: list[bool] = []
    assert await leg.join_bridge("conference-1", joined=lambda: entered.append(True)) is Left.KICKED
    assert [(heard.at, heard.what, heard.detail) for heard in leg.trace] == [
        (0, "answer", ""),
        (0, "join", "conference-1"),
        (4, "leave", "conference-1"),
    ]
    assert entered == [True]
    leg = SimulatedLeg(simulated_call(clock), clock, Script(hangs_up_at=2))
    with pytest.raises(LegGone):
        await leg.join_bridge("conference-1")
    assert leg.call.ended
