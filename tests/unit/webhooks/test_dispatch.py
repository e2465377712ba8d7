"""Who may send: endpoints take turns, and those that are slow leave room for others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from ringline.clock import SystemClock
from ringline.storage import Database
from ringline.webhooks.deliveries import dispatch as dispatching
from ringline.webhooks.deliveries import store, worker
from ringline.webhooks.deliveries.circuit import MANY
from ringline.webhooks.deliveries.dispatch import MAX_RUNNING, MAX_RUNNING_PER_CUSTOMER, Dispatch
from ringline.webhooks.deliveries.posting import Attempt, Poster
from ringline.webhooks.deliveries.queue import PIECE, Budget, Delivery, Endpoint, Queue
from ringline.webhooks.deliveries.worker import MAX_READ, Worker
from ringline.webhooks.signing import Secrets

TM = datetime(2026, 1, 1, tzinfo=UTC)


class SlowPoster:
    """Nobody answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def post(self, method: str, uri: str, *_: object) -> Attempt:
        self.asked.append(uri)
        await asyncio.Event().wait()
        raise AssertionError


def queue(customer_id: UUID, uri: str, count: int) -> Queue:
    """One that has answered well, with so many deliveries of as many resources."""
    one = Queue(Endpoint(uuid4(), customer_id, uri, "POST", b"secret"), Budget())
    one.circuit.succeeded()
    for number in range(count):
        one.add(Delivery(uuid4(), number, UUID(int=number + 1), str(number), b"{}", 0, TM, TM), 0)
    return one


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing under way is waited for at the end."""
    monkeypatch.setattr(dispatching, "_CLOSE_SECONDS", 0.0)


def dispatch(poster: SlowPoster) -> Dispatch:
    async def disable(*_: object) -> None:
        raise AssertionError

    return Dispatch(
        cast("Database", None),
        SystemClock(),
        cast("Poster", poster),
        disable,
        allowed=lambda: True,
        hungry=lambda _: None,
        failing=timedelta(days=3),
    )


async def test_slow_endpoints_leave_room_for_others_of_their_customer() -> None:
    poster, customer_id = SlowPoster(), uuid4()
    sending = dispatch(poster)
    slow = [queue(customer_id, "slow", MANY) for _ in range(MAX_RUNNING_PER_CUSTOMER // MANY)]
    for one in slow:
        sending.offer(one)
    sending.offer(queue(customer_id, "good", 1))
    await asyncio.sleep(0)
    assert "good" in poster.asked
    assert max(one.running for one in slow) > 4, "they have more than a few while there is room"
    await sending.close()


async def test_slow_endpoints_of_some_customers_leave_room_for_others() -> None:
    poster = SlowPoster()
    sending = dispatch(poster)
    for _ in range(2 * MAX_RUNNING // MAX_RUNNING_PER_CUSTOMER):
        customer_id = uuid4()
        for _ in range(MAX_RUNNING_PER_CUSTOMER // MANY):
            sending.offer(queue(customer_id, "slow", MANY))
    sending.offer(queue(uuid4(), "good", 1))
    await asyncio.sleep(0)
    assert "good" in poster.asked
    await sending.close()


async def test_one_read_is_bounded_however_many_endpoints_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[UUID, tuple[int, int]]] = []

    async def behind(_: object, wanted: dict[UUID, tuple[int, int]]) -> Sequence[Any]:
        asked.append(dict(wanted))
        return []

    monkeypatch.setattr(store, "behind", behind)
    sending = Worker(
        cast("Database", None),
        SystemClock(),
        cast("Poster", SlowPoster()),
        Secrets("a key"),
        cast("worker.Disable", None),
    )
    hungry = {one.endpoint.id: one for one in (queue(uuid4(), "some", 0) for _ in range(100))}
    while any(one.more for one in hungry.values()):
        await sending._read_behind(None, hungry)
    assert all(sum(room for _, room in one.values()) <= MAX_READ for one in asked)
    assert len(asked) == 100 * PIECE // MAX_READ
    assert {one for some in asked for one in some} == hungry.keys()
