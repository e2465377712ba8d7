"""Calls that wait for their turn: in order, at their customer's pace, fair, bounded, and taken back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from ringline.calls.call import ZERO, Call
from ringline.calls.limits import Caps, LimitReached, Limits
from ringline.calls.pacing import AT_ONCE, MAX_WAITING_BYTES, SHARE, Pacing
from ringline.calls.states import HangupBy, HangupReason, Status
from ringline.calls.tally import Tally
from ringline.calls.waiting import UNSEEN, Batch, Recipe, Waiting
from ringline.clock import SystemClock
from ringline.errors import PermissionDenied
from ringline.sip.address import Address
from ringline.storage import DatabaseUnavailable

from .desk import Desk

ME, OTHER = uuid4(), uuid4()


class Watch(SystemClock):
    """A clock that a test can put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class House:
    """Queues with a clock of the test's, and a note of who was placed when."""

    def __init__(self, *, rate: int = 0, max_calls: int = 0, bound: int = 10_000) -> None:
        self.now = 100.0
        self.tally = Tally()
        self.placed: list[Call] = []
        self.touched: list[Call] = []
        self.fault: Exception | None = None
        self.desk = Desk()
        self.claims: list[tuple[list[UUID], bool]] = []
        self.claim_fault: Exception | None = None
        self.anothers: set[UUID] = set()
        self.meanwhile: Callable[[], None] = lambda: None
        self.clock = Watch()
        self.taken_note: list[Call] = []
        self.limits = Limits(self.tally, lambda _: None, Caps(max_calls, rate), now=lambda: self.now)
        self.pacing = Pacing(
            SimpleNamespace(connect=self.connect),  # type: ignore[arg-type]
            self.limits,
            SimpleNamespace(touch=self.touched.append, touch_live=self.taken_note.append),  # type: ignore[arg-type]
            self.clock,
            bound=lambda _: bound,
        )
        self.pacing.place = self.place

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(scalars=self.scalars)

    async def scalars(self, statement: Any, given: dict[str, Any]) -> list[UUID]:
        """``waiting_store.claim``: what is placed was claimed before."""
        if self.claim_fault is not None:
            raise self.claim_fault
        ids = [UUID(one["id"]) for one in orjson.loads(given["given"])]
        assert not set(ids) & {call.id for call in self.placed}
        self.claims.append((ids, given["kept"]))
        self.meanwhile()
        return [one for one in ids if one not in self.anothers]

    def place(self, waiting: Waiting) -> None:
        assert waiting.call.id in self.claims[-1][0], "placed before it was claimed"
        if self.fault is not None:
            raise self.fault
        self.placed.append(waiting.call)
        self.tally.add(waiting.call)

    def ask(self, count: int, customer: UUID = ME, size: int = 10) -> list[Call]:
        """A request for so many calls; those that wait."""
        batch = Batch(
            uuid4(), customer, Address(type="tel"), "auto", Recipe(ZERO, [{"type": "answer"}], {}, size=size)
        )
        calls = [self.desk.call() for _ in range(count)]
        for call in calls:
            call.customer_id = customer
        with self.pacing.admit(customer, count, size) as now:
            pass
        for call in calls[:now]:
            self.placed.append(call)
            self.tally.add(call)
        if calls[now:]:
            self.pacing.add(batch, calls[now:])
        return calls[now:]

    async def turns(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while True:
            pause = await self.pacing._turn()
            if pause == 0:
                continue
            if self.now + pause > until:
                self.now = until
                await self.pacing._turn()
                return
            self.now += pause


async def test_what_the_pace_allows_is_placed_at_once() -> None:
    house = House(rate=50)
    assert house.ask(50) == []
    assert len(house.placed) == 50
    assert len(house.pacing) == 0


async def test_a_thousand_calls_are_placed_in_order_at_fifty_a_second() -> None:
    house = House(rate=50)
    waiting = house.ask(1000)
    assert len(house.placed) == 50
    assert house.pacing.position(waiting[0].id) == 1
    assert house.pacing.position(waiting[-1].id) == 950
    await house.turns(1.0)
    assert 98 <= len(house.placed) <= 101
    await house.turns(17.0)
    assert 940 <= len(house.placed) <= 955
    await house.turns(1.2)
    assert house.placed[50:] == waiting
    assert not house.pacing.behind(ME)
    assert house.pacing.position(waiting[0].id) == 0


async def test_who_comes_later_queues_up_behind() -> None:
    house = House(rate=10)
    first = house.ask(20)
    house.now += 0.5
    second = house.ask(1)
    assert second, "it overtook those that wait"
    await house.turns(3.0)
    assert house.placed[10:] == [*first, *second]


async def test_calls_at_once_are_waited_for_too() -> None:
    house = House(max_calls=3)
    waiting = house.ask(5)
    assert len(house.placed) == 3
    await house.turns(1.0)
    assert len(house.placed) == 3
    house.tally.remove(house.placed[0])
    house.pacing.call_ended(house.placed[0])
    assert house.pacing._wake.is_set()
    await house.turns(0.1)
    assert house.placed[3:] == waiting[:1]


async def test_one_customer_s_thousands_do_not_delay_another_s() -> None:
    house = House(rate=1000)
    house.ask(1000)
    house.ask(1000)
    house.now += 1.0
    others = house.ask(AT_ONCE + 5, OTHER)
    assert len(others) == 5
    before = len(house.placed)
    await house.pacing._turn()
    mine = [call for call in house.placed[before:] if call.customer_id == ME]
    theirs = [call for call in house.placed[before:] if call.customer_id == OTHER]
    assert len(mine) == SHARE
    assert theirs == others


async def test_beyond_the_bound_a_request_is_refused_as_a_whole() -> None:
    house = House(rate=10, bound=100)
    house.ask(60)
    with pytest.raises(LimitReached) as refused:
        house.ask(51)
    detail = refused.value.details[0]
    assert (detail["limit"], detail["value"]) == ("waiting_calls", 100)
    assert detail["retry_after"] >= 1
    assert refused.value.http_status == 429
    assert house.pacing.waiting(ME) == 50
    house.ask(50)
    assert house.ask(10, OTHER) == []


async def test_a_refused_request_takes_nothing_from_the_pace() -> None:
    house = House(rate=10, bound=5)
    with pytest.raises(LimitReached):
        house.ask(16)
    assert house.ask(10) == []


async def test_requests_that_are_being_stored_count_for_the_bound_and_the_order() -> None:
    house = House(rate=1, bound=10)
    with house.pacing.admit(ME, 8, 1) as now:
        assert now == 1
        assert house.pacing.waiting(ME) == 7
        house.now += 1.0
        assert house.ask(1), "it overtook a request that is being stored"
        with pytest.raises(LimitReached):
            house.ask(3)
    assert house.pacing.waiting(ME) == 1


async def test_a_request_that_fails_uses_up_no_pace() -> None:
    house = House(rate=10)
    for _ in range(3):
        with pytest.raises(OSError, match="no database"), house.pacing.admit(ME, 12, 1) as now:
            assert now == 10
            raise OSError("no database")
    assert house.pacing.waiting(ME) == 0
    assert house.ask(10) == []


async def test_the_actions_of_what_waits_are_bounded() -> None:
    house = House(rate=1)
    house.ask(2, size=MAX_WAITING_BYTES)
    with pytest.raises(LimitReached, match="Store them as a flow"):
        house.ask(1, size=1)
    await house.turns(1.1)
    house.ask(1, size=1)


async def test_a_call_that_waits_can_be_hung_up() -> None:
    house = House(rate=10)
    waiting = house.ask(13)
    second = waiting[1]
    assert house.pacing.call(second.id) is second
    assert house.pacing.withdraw(second)
    assert not house.pacing.withdraw(second)
    assert (second.status, second.hangup_by, second.hangup_reason) == (
        Status.HANGUP,
        HangupBy.LOCAL,
        HangupReason.CANCEL,
    )
    assert house.touched == [second]
    assert house.pacing.call(second.id) is None
    await house.turns(1.0)
    assert house.placed[10:] == [waiting[0], waiting[2]]


async def test_what_cannot_be_placed_any_more_ends_with_a_sentence_and_the_next_one_goes_on() -> None:
    house = House(rate=10)
    waiting = house.ask(12)
    house.fault = PermissionDenied("The customer is not active; no calls can be placed.")
    await house.turns(0.1)
    assert (waiting[0].status, waiting[0].hangup_reason) == (Status.HANGUP, HangupReason.FAILED)
    assert waiting[0].hangup_detail == "The customer is not active; no calls can be placed."
    house.fault = RuntimeError("a fault of ours")
    await house.turns(0.1)
    assert "RuntimeError" in waiting[1].hangup_detail
    assert house.touched == waiting
    assert len(house.pacing) == 0


async def test_flows_call_on_while_thousands_wait() -> None:
    house = House(rate=10)
    house.ask(1000)
    for _ in range(10):
        house.limits.take(ME, 1)
    with pytest.raises(LimitReached):
        house.limits.take(ME, 1)
    before = len(house.placed)
    await house.turns(0.9)
    assert len(house.placed) == before, "what was taken in advance is not waited for"
    await house.turns(1.0)
    assert 8 <= len(house.placed) - before <= 10


async def test_the_loop_places_what_waits_once_calls_can_be_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(rate=1000)
    ready = False
    house.pacing.ready = lambda: ready
    forgotten: list[UUID] = []

    async def forget() -> None:
        forgotten.extend(house.pacing._done)
        house.pacing._done.clear()

    monkeypatch.setattr(house.pacing, "_forget", forget)
    waiting = house.ask(AT_ONCE + 20)
    await house.pacing.start()
    await asyncio.sleep(0.05)
    assert len(house.placed) == AT_ONCE
    ready = True
    for _ in range(1000):
        await asyncio.sleep(0.02)
        if not house.pacing.behind(ME):
            break
    await house.pacing.close()
    assert house.placed[AT_ONCE:] == waiting
    assert set(forgotten) == {call.id for call in waiting}
    assert [one for ids, _ in house.claims for one in ids] == [call.id for call in waiting]


async def test_nothing_is_placed_that_cannot_be_claimed() -> None:
    house = House(rate=10)
    waiting = house.ask(12)
    house.claim_fault = DatabaseUnavailable("PostgreSQL is away.")
    await house.turns(1.0)
    assert len(house.placed) == 10
    house.claim_fault = None
    await house.turns(0.3)
    assert house.placed[10:] == waiting, "the pace was taken and nothing placed"


async def test_a_call_that_was_hung_up_while_it_was_claimed_is_not_placed() -> None:
    house = House(rate=10)
    first, second = house.ask(12)
    withdrawn: list[bool] = []
    house.meanwhile = lambda: withdrawn.append(house.pacing.withdraw(first))
    house.now += 0.2
    await house.pacing._turn()
    assert house.placed[10:] == [second]
    assert withdrawn == [True]
    assert first.tm_dialing is None


async def test_the_pace_of_a_call_that_was_hung_up_while_it_was_claimed_is_given_back() -> None:
    house = House(rate=10)
    first, second, third = house.ask(13)
    house.meanwhile = lambda: house.pacing.withdraw(first) and None
    house.now += 0.2
    await house.pacing._turn()
    assert house.placed[10:] == [second]
    # the one that it would have been placed with goes without another wait
    await house.pacing._turn()
    assert house.placed[10:] == [second, third]


async def test_what_a_successor_has_claimed_is_no_longer_ours() -> None:
    house = House(rate=10)
    first, second = house.ask(12)
    house.anothers = {first.id}
    await house.turns(0.5)
    assert house.placed[10:] == [second]
    assert len(house.pacing) == 0
    assert not first.ended, "its record is another controller's to write"
    assert first.id not in house.pacing._done


async def test_a_process_that_stood_still_claims_once_more() -> None:
    house = House(rate=10)
    waiting = house.ask(11)

    def stand_still() -> None:
        house.clock.ahead += 3.0
        house.meanwhile = lambda: None

    house.meanwhile = stand_still
    house.now += 0.2
    await house.pacing._turn()
    assert house.placed[10:] == []
    await house.pacing._turn()
    assert house.placed[10:] == waiting
    assert len(house.claims) == 2


async def test_a_claim_says_whether_a_successor_will_hear_more() -> None:
    house = House(rate=10)
    house.ask(12)
    kept = True
    house.pacing.kept = lambda: kept

    def lose() -> None:
        nonlocal kept
        kept = False

    house.meanwhile = lose
    house.now += 0.1
    await house.pacing._turn()
    assert len(house.placed) == 10, "it could have been placed, and nobody would have known"
    await house.pacing._turn()
    assert len(house.placed) == 11
    assert [said for _, said in house.claims] == [True, False]


async def test_few_calls_wait_for_asterisk_to_have_them() -> None:
    house = House(rate=1000)
    house.ask(AT_ONCE + 50)
    taken: set[UUID] = set()
    house.pacing.taken = lambda call: call.id in taken
    await house.turns(0.5)
    sent = house.placed[AT_ONCE:]
    assert len(sent) == SHARE
    others = house.ask(AT_ONCE + 5, OTHER)
    await house.turns(0.1)
    assert house.placed[-5:] == others, "another customer's wait with them"
    taken.update(call.id for call in sent[:3])
    await house.turns(0.1)
    assert len([call for call in house.placed[AT_ONCE:] if call.customer_id == ME]) == SHARE + 3
    assert house.taken_note == sent[:3], "a successor hears that Asterisk has them"


class TestWhatADeadControllerHadClaimed:
    """... and kept nothing else of."""

    def house(self, *, kept: bool = True) -> tuple[House, list[Call]]:
        house = House(rate=10)
        waiting = house.ask(13)
        for call in waiting[:2]:
            call.tm_dialing = datetime.now(UTC)
            house.pacing._waiting[call.id].claimed = call.tm_dialing
            house.pacing._unseen[call.id] = kept
        return house, waiting

    async def test_it_has_a_channel_and_goes_on(self) -> None:
        house, waiting = self.house()
        resumed: list[Call] = []
        house.pacing.resume = lambda found: resumed.append(found.call)
        assert house.pacing.settle({waiting[0].channel_id}, sure=True) == [waiting[0]]
        assert resumed == [waiting[0]]
        await house.turns(1.0)
        assert house.placed[10:] == waiting[1:], "who was not called is, and in order"

    async def test_nobody_was_called_and_it_is_placed(self) -> None:
        house, waiting = self.house()
        assert house.pacing.settle((), sure=True) == []
        assert [call.tm_dialing for call in waiting] == [None] * 3
        await house.turns(1.0)
        assert house.placed[10:] == waiting

    @pytest.mark.parametrize(("kept", "sure"), [(False, True), (True, False)])
    async def test_nobody_knows_and_nobody_is_called_again(self, kept: bool, sure: bool) -> None:
        house, waiting = self.house(kept=kept)
        assert house.pacing.settle((), sure=sure) == []
        assert [call.hangup_detail for call in waiting] == [UNSEEN, UNSEEN, ""]
        assert [call.hangup_reason for call in waiting[:2]] == [HangupReason.FAILED] * 2
        assert house.touched == waiting[:2]
        await house.turns(1.0)
        assert house.placed[10:] == waiting[2:]

    async def test_asterisk_could_not_be_asked(self) -> None:
        house, waiting = self.house()
        await house.turns(1.0)
        assert house.placed[10:] == waiting[2:]
        assert waiting[0].hangup_detail == UNSEEN

    async def test_it_was_hung_up_meanwhile(self) -> None:
        house, waiting = self.house()
        assert house.pacing.withdraw(waiting[0])
        house.pacing.settle((), sure=True)
        await house.turns(1.0)
        assert house.placed[10:] == waiting[1:]
