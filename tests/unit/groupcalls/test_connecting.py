"""A call connected with agents and extensions: their phones ring as groupcalls, the first of all is bridged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ringline.calls.bridges import Bridges
from ringline.calls.call import Call
from ringline.calls.connection import Connections
from ringline.calls.leg import Connected, Wanted
from ringline.calls.states import HangupReason
from ringline.sip.address import Address

from .table import SOURCE, Table, tel

BUSY, ELSEWHERE = 17, 26


class Room(Table):
    """A caller who is connected with others."""

    def __init__(self) -> None:
        super().__init__()
        self.bridges = Bridges()
        self.connections = Connections(
            self.client,  # type: ignore[arg-type]
            self.board,
            self.journal,  # type: ignore[arg-type]
            self.ordering,
            self.bridges,
        )
        self.connections.groups = self.rings
        self.board.connector = self.connections
        self.board.hooks = self.hooks
        self.caller = self.answered()
        self.task: asyncio.Task[Connected] | None = None

    async def connect(self, *to: Address, early_media: bool = False) -> list[Call]:
        wanted = Wanted(SOURCE, list(to), "auto", early_media)
        self.task = asyncio.create_task(self.leg(self.caller).connect(wanted))
        await asyncio.sleep(0)
        return self.others()

    def others(self) -> list[Call]:
        return [call for call in self.board.calls() if call is not self.caller]

    async def result(self) -> Connected:
        assert self.task is not None
        async with asyncio.timeout(30):
            return await self.task

    def together(self) -> list[Any]:
        return [
            query["channel"].split(",")[1]
            for method, uri, query, _ in self.client.sent
            if method == "POST" and uri.endswith("/addChannel")
        ]


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    yield room
    if room.task is not None:
        room.task.cancel()
        await asyncio.gather(room.task, return_exceptions=True)


async def test_the_agents_phone_that_answers_is_bridged(room: Room) -> None:
    desk, mobile, other = await room.connect(room.agent(tel(1), tel(2)), tel(3))
    legs = {call.destination: call for call in (desk, mobile, other)}
    assert room.caller.chained_call_ids == [call.id for call in (desk, mobile, other)]
    assert {call.master_call_id for call in legs.values()} == {room.caller.id}
    won = legs[tel(2)]
    room.answer(won)
    assert room.together() == [won.channel_id]
    assert room.dropped(legs[tel(1)]) == room.dropped(legs[tel(3)]) == [ELSEWHERE]
    for loser in (legs[tel(1)], legs[tel(3)]):
        room.destroyed(loser, ELSEWHERE)
    room.destroyed(won, 16)
    result = await room.result()
    assert result.answered
    assert len(room.rings) == 0
    assert room.flows.ready == [], "no flow of their own"


async def test_another_is_answered_and_the_agent_stops_ringing(room: Room) -> None:
    agent = room.agent(tel(1), tel(2), ring_method="linear")
    legs = {call.destination: call for call in await room.connect(agent, tel(3))}
    assert set(legs) == {tel(1), tel(3)}
    room.answer(legs[tel(3)])
    assert room.dropped(legs[tel(1)]) == [ELSEWHERE]
    room.answer(legs[tel(1)])
    assert room.together() == [legs[tel(3)].channel_id]
    room.destroyed(legs[tel(1)], ELSEWHERE)
    assert room.others() == [legs[tel(3)]], "the second phone never rings"
    room.destroyed(legs[tel(3)], 16)
    assert (await room.result()).answered


async def test_one_phone_after_another_and_then_nobody(room: Room) -> None:
    (first,) = await room.connect(room.agent(tel(1), tel(2), ring_method="linear"))
    room.destroyed(first, BUSY)
    (second,) = room.others()
    assert room.task is not None
    assert not room.task.done()
    assert room.caller.chained_call_ids == [first.id, second.id]
    room.destroyed(second, 19)
    result = await room.result()
    assert (result.answered, result.reason) == (False, HangupReason.BUSY)
    assert len(room.rings) == 0


async def test_the_second_phone_in_turn_is_bridged(room: Room) -> None:
    (first,) = await room.connect(room.agent(tel(1), tel(2), ring_method="linear"))
    room.destroyed(first, BUSY)
    (second,) = room.others()
    room.answer(second)
    assert room.together() == [second.channel_id]
    room.destroyed(second, 16)
    assert (await room.result()).answered


async def test_a_caller_who_hangs_up_cancels_every_phone(room: Room) -> None:
    legs = await room.connect(room.agent(tel(1), tel(2)), room.agent(tel(3), tel(4), ring_method="linear"))
    assert len(legs) == 3
    room.destroyed(room.caller, 16)
    assert room.task is not None
    room.task.cancel()
    await asyncio.gather(room.task, return_exceptions=True)
    for call in legs:
        assert 16 in room.dropped(call)
        room.destroyed(call, 16)
    assert room.others() == [], "nobody further is rung"
    assert len(room.rings) == 0


async def test_an_extension_without_a_phone(room: Room) -> None:
    (call,) = await room.connect(Address(type="extension", target="test11"))
    room.destroyed(call, 19, tech_cause=480)
    result = await room.result()
    assert (result.answered, result.reason) == (False, HangupReason.NOANSWER)


async def test_early_media_of_an_agents_phone_is_heard(room: Room) -> None:
    (call,) = await room.connect(room.agent(tel(1)), early_media=True)
    room.dial_event(call, "PROGRESS")
    assert room.together() == [call.channel_id]
    room.answer(call)
    room.destroyed(call, 16)
    assert (await room.result()).answered


async def test_a_phone_that_was_lent_to_a_transfer_outlives_its_group(room: Room) -> None:
    won, other = await room.connect(room.agent(tel(1), tel(2)))
    room.answer(won)
    room.destroyed(other, ELSEWHERE)
    joint = room.connections.conversation(won)
    assert joint is not None
    assert joint.partner(won) is room.caller

    class Transfer:
        def connection_closed(self) -> None:
            pass

    line = room.board.line(won.id)
    assert line is not None
    joint.lend(Transfer())  # type: ignore[arg-type]
    room.caller.chained_call_ids.remove(won.id)
    line.hooks = room.hooks
    room.destroyed(room.caller, 16)
    assert room.dropped(won) == [], "it talks on with somebody else"
    room.destroyed(won, 16)
    assert len(room.rings) == 0
