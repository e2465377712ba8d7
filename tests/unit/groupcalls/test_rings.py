"""Groupcalls under every order of answers and ends: one has the call, nobody else hears of it, nothing is left."""

from __future__ import annotations

import asyncio
import itertools
import random
from uuid import UUID

import pytest

from ringline.calls.call import ZERO, Call
from ringline.calls.states import HangupReason
from ringline.groupcalls.groupcall import TRANSITIONS, Groupcall, Status
from ringline.groupcalls.ring import NOT_REGISTERED, Ring
from ringline.http import utc_now
from ringline.sip.address import Address

from .table import SOURCE, Table, tel

BUSY, NO_ANSWER, DECLINED, ELSEWHERE = 17, 19, 21, 26


@pytest.fixture
async def table() -> Table:
    return Table()


def over(table: Table, ring: Ring) -> None:
    """The groupcall has its final record and nothing is kept of it."""
    assert ring.groupcall.status is Status.HANGUP
    assert ring.groupcall.tm_hangup is not None
    assert table.behind.touched[-1][1] == "hangup"
    assert len(table.rings) == 0
    assert table.legs() == []


class TestRingAll:
    async def test_all_ring_at_once_and_the_first_to_answer_wins(self, table: Table) -> None:
        ring = table.ring(tel(1), tel(2), tel(3))
        first, won, last = table.legs()
        assert ring.groupcall.call_ids == [first.id, won.id, last.id]
        assert {call.groupcall_id for call in (first, won, last)} == {ring.groupcall.id}
        table.dial_event(first, "RINGING")
        table.answer(won)
        assert table.flows.ready == [won]
        assert ring.groupcall.answer_call_id == won.id
        assert table.dropped(first) == table.dropped(last) == [ELSEWHERE]
        assert table.dropped(won) == []
        for loser in (first, last):
            table.destroyed(loser, ELSEWHERE)
            assert (loser.hangup_reason, loser.tm_progressing) == (HangupReason.NORMAL, None)
        assert ring.groupcall.status is Status.PROGRESSING
        table.destroyed(won, 16)
        over(table, ring)

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    async def test_two_answers_in_the_same_moment_have_one_winner(
        self, table: Table, order: tuple[int, ...]
    ) -> None:
        ring = table.ring(tel(1), tel(2), tel(3))
        legs = table.legs()
        for index in order:
            table.dial_event(legs[index], "ANSWER")
        for index in order:
            table.stasis_start(legs[index])
        won = legs[order[0]]
        assert table.flows.ready == [won]
        for loser in legs:
            assert table.dropped(loser) == ([] if loser is won else [ELSEWHERE])
        for call in legs:
            table.destroyed(call, 16)
        assert ring.groupcall.answer_call_id == won.id
        over(table, ring)

    async def test_an_answer_that_crosses_its_withdrawal_is_not_heard(self, table: Table) -> None:
        table.ring(tel(1), tel(2))
        late, won = table.legs()
        table.answer(won)
        table.answer(late)
        assert table.flows.ready == [won]
        assert table.dropped(late)[0] == ELSEWHERE

    async def test_nobody_answers(self, table: Table) -> None:
        ring = table.ring(tel(1), tel(2))
        busy, declined = table.legs()
        table.destroyed(busy, BUSY)
        assert ring.groupcall.status is Status.PROGRESSING
        table.destroyed(declined, DECLINED)
        over(table, ring)
        assert not ring.groupcall.answered
        assert table.flows.ready == []
        assert table.flows.ended == [busy, declined], "their flows are told"

    async def test_a_hang_up_ends_those_who_ring_and_the_one_who_talks(self, table: Table) -> None:
        ring = table.ring(tel(1), tel(2))
        won, other = table.legs()
        table.answer(won)
        assert ring.hang_up()
        assert not ring.hang_up(), "asked twice"
        assert ring.groupcall.status is Status.HANGINGUP
        assert table.dropped(won) == [16]
        assert table.dropped(other) == [ELSEWHERE], "it keeps the reason that it has"
        table.destroyed(other, ELSEWHERE)
        table.destroyed(won, 16)
        over(table, ring)

    async def test_a_hang_up_while_it_rings_cancels_everybody(self, table: Table) -> None:
        ring = table.ring(tel(1), tel(2))
        legs = table.legs()
        ring.hang_up()
        table.answer(legs[0])
        assert table.flows.ready == []
        for call in legs:
            assert table.dropped(call)[0] == 16
            table.destroyed(call, 16)
            assert call.hangup_reason is HangupReason.CANCEL
        over(table, ring)

    async def test_the_winner_hangs_up_before_the_others_are_gone(self, table: Table) -> None:
        ring = table.ring(tel(1), tel(2))
        won, other = table.legs()
        table.answer(won)
        table.destroyed(won, 16)
        assert ring.groupcall.status is Status.PROGRESSING
        table.destroyed(other, ELSEWHERE)
        over(table, ring)

    async def test_the_phone_that_is_not_registered_says_so(self, table: Table) -> None:
        ring = table.ring(Address(type="endpoint", target="test11@test"))
        (call,) = table.legs()
        assert (call.destination.type, call.destination.target) == ("endpoint", "test11@test")
        table.destroyed(call, NO_ANSWER, tech_cause=480)
        assert (call.hangup_reason, call.hangup_sip_code) == (HangupReason.NOANSWER, 480)
        assert call.hangup_detail == NOT_REGISTERED
        over(table, ring)


class TestLinear:
    async def test_one_after_another_until_somebody_answers(self, table: Table) -> None:
        ring = table.ring(tel(1), tel(2), tel(3), method="linear")
        (first,) = table.legs()
        assert first.destination == tel(1)
        table.destroyed(first, BUSY)
        (second,) = table.legs()
        assert second.destination == tel(2)
        table.destroyed(second, NO_ANSWER)
        (third,) = table.legs()
        assert ring.groupcall.call_ids == [first.id, second.id, third.id]
        table.answer(third)
        assert table.flows.ready == [third]
        table.destroyed(third, 16)
        over(table, ring)

    async def test_an_answer_ends_the_search(self, table: Table) -> None:
        ring = table.ring(tel(1), tel(2), method="linear")
        (first,) = table.legs()
        table.answer(first)
        table.destroyed(first, 16)
        over(table, ring)
        assert ring.groupcall.call_ids == [first.id]

    async def test_a_hang_up_ends_the_search(self, table: Table) -> None:
        ring = table.ring(tel(1), tel(2), method="linear")
        (first,) = table.legs()
        ring.hang_up()
        table.destroyed(first, 16)
        over(table, ring)

    async def test_a_phone_that_does_not_answer_in_time(self) -> None:
        table = Table(dial_timeout=0.05)
        table.ring(tel(1), tel(2), method="linear")
        (first,) = table.legs()
        for _ in range(100):
            if table.dropped(first):
                break
            await asyncio.sleep(0.01)
        table.destroyed(first, NO_ANSWER)
        assert first.hangup_reason is HangupReason.DIALOUT
        (second,) = table.legs()
        assert second.destination == tel(2)
        table.board.close()

    async def test_nobody_answers(self, table: Table) -> None:
        ring = table.ring(tel(1), tel(2), method="linear")
        for _ in range(2):
            (call,) = table.legs()
            table.destroyed(call, BUSY)
        over(table, ring)
        assert not ring.groupcall.answered


class TestNested:
    async def test_an_agent_is_a_groupcall_within(self, table: Table) -> None:
        agent = table.agent(tel(1), tel(2))
        ring = table.ring(agent, tel(3))
        one, two, three = table.legs()
        (inner_id,) = ring.groupcall.groupcall_ids
        inner = table.rings.live(inner_id)
        assert inner is not None
        assert inner.groupcall.master_groupcall_id == ring.groupcall.id
        assert inner.groupcall.destinations == [tel(1), tel(2)]
        legs = {call.destination: call for call in (one, two, three)}
        assert ring.groupcall.call_ids == [legs[tel(3)].id]
        assert inner.groupcall.call_ids == [legs[tel(1)].id, legs[tel(2)].id]
        table.answer(legs[tel(2)])
        assert inner.groupcall.answer_call_id == legs[tel(2)].id
        assert ring.groupcall.answer_groupcall_id == inner_id
        assert ring.groupcall.answer_call_id == ZERO
        assert table.dropped(legs[tel(1)]) == table.dropped(legs[tel(3)]) == [ELSEWHERE]
        for call in legs.values():
            table.destroyed(call, 16)
        over(table, ring)
        assert inner.groupcall.status is Status.HANGUP

    async def test_somebody_outside_answers_and_the_agent_stops_ringing(self, table: Table) -> None:
        ring = table.ring(table.agent(tel(1), tel(2), ring_method="linear"), tel(3))
        legs = {call.destination: call for call in table.legs()}
        assert set(legs) == {tel(1), tel(3)}
        table.answer(legs[tel(3)])
        assert table.dropped(legs[tel(1)]) == [ELSEWHERE]
        table.destroyed(legs[tel(1)], ELSEWHERE)
        assert table.legs() == [legs[tel(3)]], "the agent's second phone never rings"
        table.answer(legs[tel(1)])
        assert table.flows.ready == [legs[tel(3)]]
        table.destroyed(legs[tel(3)], 16)
        over(table, ring)

    async def test_a_linear_agent_within_rings_on(self, table: Table) -> None:
        ring = table.ring(table.agent(tel(1), tel(2), ring_method="linear"))
        (first,) = table.legs()
        table.destroyed(first, BUSY)
        (second,) = table.legs()
        table.answer(second)
        assert table.flows.ready == [second]
        table.destroyed(second, 16)
        over(table, ring)

    async def test_linear_over_agents(self, table: Table) -> None:
        ring = table.ring(table.agent(tel(1), tel(2)), table.agent(tel(3)), method="linear")
        legs = table.legs()
        assert {call.destination for call in legs} == {tel(1), tel(2)}
        for call in legs:
            table.destroyed(call, BUSY)
        (third,) = table.legs()
        assert third.destination == tel(3)
        assert len(ring.groupcall.groupcall_ids) == 2
        ring.hang_up()
        table.destroyed(third, 16)
        over(table, ring)


class TestMaster:
    async def test_what_a_call_made_ends_with_it(self, table: Table) -> None:
        master = table.answered()
        ring = table.ring(tel(1), tel(2), method="linear", master=master)
        (first,) = [call for call in table.legs() if call is not master]
        assert (first.master_call_id, master.chained_call_ids) == (master.id, [first.id])
        table.destroyed(master, 16)
        table.destroyed(first, 16)
        over(table, ring)


class Chance:
    """Everything that can happen to a groupcall, in any order."""

    def __init__(self, table: Table, seed: int) -> None:
        self.table = table
        self.chance = random.Random(seed)
        self.destroyed: set[UUID] = set()

    def destinations(self) -> list[Address]:
        def one(number: int) -> Address:
            if self.chance.random() < 0.4:
                method = self.chance.choice(["linear", "ringall"])
                count = self.chance.randint(1, 3)
                return self.table.agent(*(tel(number * 10 + i) for i in range(count)), ring_method=method)
            return tel(number * 10)

        return [one(number) for number in range(1, self.chance.randint(2, 5))]

    def happen(self, ring: Ring, call: Call) -> None:
        what = self.chance.choice(["ring", "answer", "answered", "arrive", "busy", "end", "end", "hang up"])
        if what == "ring":
            self.table.dial_event(call, "RINGING")
        elif what == "answer":
            self.table.answer(call)
        elif what == "answered":
            self.table.dial_event(call, "ANSWER")
        elif what == "arrive":
            self.table.stasis_start(call)
        elif what in ("busy", "end"):
            self.table.destroyed(call, BUSY if what == "busy" else 16)
        elif self.chance.random() < 0.2:
            ring.hang_up()


@pytest.mark.parametrize("seed", range(300))
async def test_whatever_happens_one_wins_and_nothing_is_left(table: Table, seed: int) -> None:
    chance = Chance(table, seed)
    ring = table.ring(*chance.destinations(), method=chance.chance.choice(["", "ring_all", "linear"]))
    for _ in range(200):
        legs = table.legs()
        if not legs:
            break
        chance.happen(ring, chance.chance.choice(legs))
        assert len(table.flows.ready) <= 1, "two hear the flow"
    for call in table.legs():
        ring.hang_up()
        table.destroyed(call, 16)
    over(table, ring)
    assert ring.groupcall.answered == bool(table.flows.ready)


async def test_a_groupcall_only_moves_forward() -> None:
    now = utc_now()
    for first, second in itertools.product(Status, Status):
        groupcall = Groupcall(ZERO, ZERO, SOURCE, [], now, status=first)
        assert groupcall.advance(second, now) is (second in TRANSITIONS[first])
