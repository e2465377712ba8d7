"""How many calls somebody may have, and how fast."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline.calls.call import Call
from ringline.calls.limits import Caps, LimitReached, Limits
from ringline.calls.line import Line
from ringline.calls.states import Direction

from .desk import Desk, channel

CUSTOMER, ACCOUNT = uuid4(), uuid4()


class House(Desk):
    """A desk whose calls are all one customer's."""

    def __init__(
        self,
        *,
        max_calls: int = 0,
        rate: int = 0,
        own: Any = None,
        account: Callable[[UUID], int] = lambda _: 0,
    ) -> None:
        super().__init__()
        self.now = 100.0
        self.limits = Limits(
            self.board.tally, lambda _: own, Caps(max_calls, rate), account=account, now=lambda: self.now
        )

    def call(self, direction: Direction = Direction.OUTGOING) -> Call:
        call = super().call(direction)
        call.customer_id = CUSTOMER
        return call

    def ring_in(self, account_id: UUID) -> Call:
        call = self.call(Direction.INCOMING)
        call.account_id = account_id
        self.arrivals.answer = call
        self.client.emit("StasisStart", channel={"id": f"in-{call.id}"}, args=["inbound"])
        return call


async def test_calls_at_once_are_those_that_last() -> None:
    house = House(max_calls=2)
    first = house.dial()
    house.limits.take(CUSTOMER, 1)
    house.answered()
    with pytest.raises(LimitReached) as refused:
        house.limits.take(CUSTOMER, 1)
    error = refused.value
    assert (error.http_status, error.status) == (429, "RESOURCE_EXHAUSTED")
    assert "2 calls at once (max_calls)" in error.message
    assert error.details[0]["limit"] == "max_calls"
    assert error.details[0]["value"] == 2
    assert error.details[0]["retry_after"] >= 1
    assert house.limits.refusal(CUSTOMER) == "too_many_calls"
    house.destroyed(first, 16)
    house.limits.take(CUSTOMER, 1)
    assert house.limits.refusal(CUSTOMER) is None
    house.limits.take(uuid4(), 2)


async def test_a_request_for_more_than_is_left_places_none() -> None:
    house = House(max_calls=3)
    house.dial()
    with pytest.raises(LimitReached):
        house.limits.take(CUSTOMER, 3)
    house.limits.take(CUSTOMER, 2)


async def test_what_waits_for_the_database_counts() -> None:
    house = House(max_calls=3)
    with house.limits.reserve(CUSTOMER, 2):
        with pytest.raises(LimitReached):
            house.limits.take(CUSTOMER, 2)
        assert house.limits.refusal(CUSTOMER) is None
    with pytest.raises(RuntimeError), house.limits.reserve(CUSTOMER, 3):
        raise RuntimeError("the database is away")
    house.limits.take(CUSTOMER, 3)


async def test_calls_within_a_second() -> None:
    house = House(rate=5)
    house.limits.take(CUSTOMER, 5)
    with pytest.raises(LimitReached) as refused:
        house.limits.take(CUSTOMER, 1)
    assert refused.value.details[0]["limit"] == "calls_per_second"
    house.now += 0.2
    house.limits.take(CUSTOMER, 1)
    house.now += 10
    with pytest.raises(LimitReached, match="fewer at once"):
        house.limits.take(CUSTOMER, 6)
    house.limits.take(CUSTOMER, 5)


async def test_what_is_set_for_a_customer_rules_and_zero_is_the_installations() -> None:
    house = House(max_calls=1, rate=7, own=SimpleNamespace(max_calls=4, calls_per_second=0))
    assert house.limits.caps(CUSTOMER) == Caps(4, 7)
    house.limits.take(CUSTOMER, 4)


async def test_an_extension_has_a_limit_of_its_own() -> None:
    house = House(account=lambda account_id: 1 if account_id == ACCOUNT else 0)
    call = house.ring_in(ACCOUNT)
    assert house.limits.refusal(CUSTOMER, ACCOUNT) == "too_many_calls_of_account"
    assert house.limits.refusal(CUSTOMER, uuid4()) is None
    house.client.emit("StasisEnd", channel={"id": call.channel_id})
    assert house.limits.refusal(CUSTOMER, ACCOUNT) is None


async def test_restored_calls_count() -> None:
    before = House()
    call = before.ring_in(ACCOUNT)
    placed = before.answered()
    kept = [line.kept() for line in before.board.lines()]
    after = House(max_calls=2, account=lambda _: 1)
    lines: list[Line] = [after.board.restore(one) for one in kept]
    assert {line.call.id for line in lines} == {call.id, placed.id}
    assert after.limits.refusal(CUSTOMER, ACCOUNT) == "too_many_calls_of_account"
    with pytest.raises(LimitReached):
        after.limits.take(CUSTOMER, 1)
    for line in lines:
        after.client.emit("StasisEnd", channel=channel(line.call))
        after.destroyed(line.call, 16)
    assert after.board.tally.of_customer(CUSTOMER) == 0
    assert after.board.tally.of_account(ACCOUNT) == 0
