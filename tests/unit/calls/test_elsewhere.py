"""Several controllers keep one customer's limits together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from ringline.calls.call import Call
from ringline.calls.elsewhere import Elsewhere
from ringline.calls.limits import TOO_MANY_CALLS, TOO_MANY_CALLS_OF_ACCOUNT, LimitReached

from .test_pacing import ME, OTHER, House

ACCOUNT = uuid4()


@dataclass
class Told:
    """As ``cluster.census.Report``."""

    life: str
    counts: dict[str, list[int]]


class Pair:
    """Two controllers; each hears of the other when the test says so."""

    def __init__(self, *, rate: int = 0, max_calls: int = 0, bound: int = 10_000) -> None:
        self.houses = [House(rate=rate, max_calls=max_calls, bound=bound) for _ in range(2)]
        self.elsewhere = [Elsewhere(house.limits, house.pacing) for house in self.houses]
        self.lives = ["first", "second"]
        self.share()

    def share(self) -> None:
        told = [Told(life, one.mine()) for life, one in zip(self.lives, self.elsewhere, strict=True)]
        self.elsewhere[0].heard({"second": told[1]})
        self.elsewhere[1].heard({"first": told[0]})

    async def turns(self, seconds: float) -> None:
        """Let so much time pass, in exchanges of 0.2 s."""
        for _ in range(round(seconds / 0.2)):
            await asyncio.gather(*(house.turns(0.2) for house in self.houses))
            self.share()

    @property
    def placed(self) -> int:
        return sum(len(house.placed) for house in self.houses)


def call(house: House, customer: UUID = ME, account: UUID | None = None) -> Call:
    made = house.desk.call()
    made.customer_id = customer
    if account is not None:
        made.account_id = account
    house.tally.add(made)
    return made


async def test_calls_that_last_elsewhere_count() -> None:
    pair = Pair(max_calls=3)
    one, two = pair.houses
    for _ in range(2):
        call(one)
    call(two)
    pair.share()
    for house in pair.houses:
        assert house.limits.present(ME) == 3
        assert house.limits.refusal(ME) == TOO_MANY_CALLS
        assert house.limits.refusal(OTHER) is None
        with pytest.raises(LimitReached, match="3 last now"):
            house.limits.take(ME, 1)
        assert house.limits.grant(ME, 5) == 0
    one.tally.remove(last := call(one))
    two.tally.remove(last)
    pair.share()
    assert one.limits.refusal(ME) is None
    assert two.limits.grant(ME, 5) == 1


async def test_what_is_being_stored_counts_elsewhere_too() -> None:
    pair = Pair(max_calls=3)
    one, two = pair.houses
    with one.limits.reserve(ME, 3):
        pair.share()
        assert two.limits.refusal(ME) == TOO_MANY_CALLS
    pair.share()
    assert two.limits.refusal(ME) is None


async def test_calls_of_a_phone_count_on_every_controller() -> None:
    pair = Pair()
    one, two = pair.houses
    two.limits._account = lambda _: 1
    call(one, account=ACCOUNT)
    assert two.limits.refusal(ME, ACCOUNT) is None
    pair.share()
    assert two.limits.refusal(ME, ACCOUNT) == TOO_MANY_CALLS_OF_ACCOUNT
    assert two.limits.refusal(ME, uuid4()) is None


async def test_a_controller_that_is_gone_counts_no_more_and_its_successor_counts_once() -> None:
    pair = Pair(max_calls=5)
    one, two = pair.houses
    for _ in range(5):
        call(one)
    pair.share()
    assert two.limits.refusal(ME) == TOO_MANY_CALLS
    # its successor has the same name and the same calls
    pair.elsewhere[1].heard({"first": Told("another", pair.elsewhere[0].mine())})
    assert two.limits.present(ME) == 5
    # nobody took them over
    pair.elsewhere[1].heard({})
    assert two.limits.present(ME) == 0


async def test_together_they_keep_the_pace() -> None:
    pair = Pair(rate=50)
    for house in pair.houses:
        house.ask(1000)
    pair.share()
    assert pair.placed == 100, "each has a second's worth after a pause"
    await pair.turns(10.0)
    # what was too much at first is owed
    assert 500 <= pair.placed <= 550 + 2 * 10
    before = pair.placed
    await pair.turns(5.0)
    assert 220 <= pair.placed - before <= 280
    assert min(len(house.placed) for house in pair.houses) > 200, "one of them had nearly all"


async def test_one_of_them_alone_has_the_whole_pace() -> None:
    pair = Pair(rate=50)
    pair.houses[0].ask(1000)
    await pair.turns(10.0)
    assert 530 <= pair.placed <= 555


async def test_the_slowest_pace_is_kept_together() -> None:
    pair = Pair(rate=1)
    for house in pair.houses:
        house.ask(100)
    await pair.turns(20.0)
    assert 17 <= pair.placed <= 25


async def test_flows_wait_for_what_others_placed() -> None:
    pair = Pair(rate=10)
    one, two = pair.houses
    one.limits.take(ME, 10)
    pair.share()
    with pytest.raises(LimitReached, match="calls_per_second"):
        two.limits.take(ME, 1)
    two.now += 0.1
    two.limits.take(ME, 1)


async def test_what_was_given_back_is_given_back_to_others() -> None:
    pair = Pair(rate=10)
    one, two = pair.houses
    assert one.limits.grant(ME, 10) == 10
    pair.share()
    assert two.limits.grant(ME, 1) == 0
    one.limits.give_back(ME, 10)
    pair.share()
    assert two.limits.grant(ME, 20) == 10


async def test_who_was_idle_is_told_no_more_and_begins_anew() -> None:
    pair = Pair(rate=10)
    one, two = pair.houses
    one.limits.take(ME, 10)
    pair.share()
    assert pair.elsewhere[0].mine() == {str(ME): [0, 0, 10]}
    for house in pair.houses:
        house.now += 60
    pair.share()
    assert pair.elsewhere[0].mine() == {}
    one.limits.take(ME, 3)
    pair.share()
    assert two.limits.grant(ME, 20) == 7


async def test_who_comes_later_owes_nothing_for_what_was_placed_before() -> None:
    pair = Pair(rate=10)
    one, two = pair.houses
    for _ in range(20):
        one.limits.take(ME, 10)
        one.now += 1.0
    later = Elsewhere(two.limits, two.pacing)
    later.heard({"first": Told("first", pair.elsewhere[0].mine())})
    assert two.limits.grant(ME, 20) == 10


async def test_what_others_placed_too_much_is_not_waited_for_for_ever() -> None:
    pair = Pair(rate=1)
    two = pair.houses[1]
    two.limits.placed_elsewhere(ME, 100_000)
    two.now += 6.1
    assert two.limits.grant(ME, 1) == 1


async def test_calls_that_wait_elsewhere_count_for_the_bound() -> None:
    pair = Pair(max_calls=1, bound=10)
    one, two = pair.houses
    one.ask(9)
    pair.share()
    assert pair.elsewhere[1].waiting(ME) == 8
    with pytest.raises(LimitReached, match="8 do now"):
        two.ask(3)
    assert len(two.ask(2)) == 2
