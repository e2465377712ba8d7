"""Controllers and APIs that keep a customer's limits together, over a real Redis."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline.calls.call import ZERO
from ringline.calls.elsewhere import Elsewhere
from ringline.calls.limits import TOO_MANY_CALLS, Caps, LimitReached, Limits
from ringline.calls.pacing import Pacing
from ringline.calls.tally import Tally
from ringline.clock import SystemClock
from ringline.cluster.census import Census
from ringline.customers.doors import (
    TRICKLE_AT_ONCE,
    TRICKLE_PER_SECOND,
    WRONG_AT_ONCE,
    WRONG_PER_SECOND,
    AuthDoors,
)
from ringline.errors import ResourceExhausted, Unavailable
from ringline.events.sockets import Sockets
from ringline.guarding import CallCounts, Guarding
from ringline.settings import Settings
from ringline.storage import Database, Live
from ringline.storage.scripts import Scripts

CUSTOMER = uuid4()


class Controller:
    """What of a controller counts calls."""

    def __init__(
        self, live: Live, kind: str, name: str, *, keep: float = 30.0, max_calls: int = 3, rate: int = 0
    ) -> None:
        self.tally = Tally()
        self.limits = Limits(self.tally, lambda _: None, Caps(max_calls, rate))
        pacing = Pacing(None, self.limits, None, SystemClock(), bound=lambda _: 10)  # type: ignore[arg-type]
        self.pacing = pacing
        elsewhere = Elsewhere(self.limits, pacing)
        self.census = Census(live, kind, name, elsewhere.mine, elsewhere.heard, keep=keep)

    def call(self, customer_id: UUID = CUSTOMER) -> Any:
        call: Any = SimpleNamespace(customer_id=customer_id, account_id=ZERO)
        self.tally.add(call)
        return call


@pytest.fixture
def kind() -> str:
    """Counts that no other test knows."""
    return secrets.token_hex(8)


@pytest.fixture
async def other(redis_url: str) -> AsyncIterator[Live]:
    """Another process's connections."""
    client = Live(redis_url, timeout=20.0)
    yield client
    await client.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine's Redis is there, though it answers late."""
    monkeypatch.setattr("ringline.cluster.census.PATIENCE_SECONDS", 20.0)
    monkeypatch.setattr("ringline.storage.scripts.PATIENCE_SECONDS", 20.0)


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_two_controllers_keep_one_limit_and_both_know_how_much_is_used(
    live: Live, other: Live, kind: str
) -> None:
    one, two = Controller(live, kind, "one"), Controller(other, kind, "two")
    for controller in (one, two):
        await controller.census.start()
    calls = [one.call(), one.call()]
    two.call()
    await until(lambda: one.limits.present(CUSTOMER) == two.limits.present(CUSTOMER) == 3)
    for controller in (one, two):
        assert controller.limits.refusal(CUSTOMER) == TOO_MANY_CALLS
        with pytest.raises(LimitReached, match="3 last now"):
            controller.limits.take(CUSTOMER, 1)
        assert controller.limits.refusal(uuid4()) is None
    one.tally.remove(calls[0])
    await until(lambda: two.limits.refusal(CUSTOMER) is None)
    for controller in (one, two):
        await controller.census.close()


async def test_what_one_places_is_taken_from_the_pace_of_the_other(
    live: Live, other: Live, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # longer than a busy machine pauses
    monkeypatch.setattr("ringline.calls.limits._TELL_SECONDS", 60.0)
    one, two = (
        Controller(where, kind, name, max_calls=0, rate=1000)
        for where, name in ((live, "one"), (other, "two"))
    )
    await two.census.exchange()
    await one.census.exchange()
    await two.census.exchange()
    for _ in range(4):
        # beyond what the pace gives: what is too much is owed
        one.limits._keep(CUSTOMER, 1000.0)
        one.limits.take(CUSTOMER, 1000)
    await one.census.exchange()
    began = time.monotonic()
    await two.census.exchange()
    assert two.limits.grant(CUSTOMER, 1) == 0 or time.monotonic() - began > 2.0
    assert two.limits.seconds(CUSTOMER, 1000) > 3.0 - (time.monotonic() - began)


async def test_the_calls_of_a_controller_that_died_count_until_they_are_too_old(
    live: Live, other: Live, kind: str
) -> None:
    one, two = Controller(live, kind, "one", keep=2.0), Controller(other, kind, "two", keep=2.0)
    for _ in range(3):
        one.call()
    await two.census.start()
    told = time.monotonic()
    await one.census.exchange()
    await until(lambda: two.limits.refusal(CUSTOMER) == TOO_MANY_CALLS or time.monotonic() - told > 1.5)
    await until(lambda: two.limits.refusal(CUSTOMER) is None)
    assert time.monotonic() - told >= 2.0
    await two.census.close()
    assert await live.client.hkeys(f"ringline:census:{kind}") == [b"two"]
    assert 0 < await live.client.ttl(f"ringline:census:{kind}") <= 62


async def test_a_successor_tells_in_the_place_of_the_dead(live: Live, other: Live, kind: str) -> None:
    one, two = Controller(live, kind, "one"), Controller(other, kind, "two")
    for _ in range(2):
        one.call()
    await one.census.exchange()
    await two.census.exchange()
    assert two.limits.present(CUSTOMER) == 2
    successor = Controller(live, kind, "one")
    for _ in range(2):
        successor.call()
    await successor.census.exchange()
    await two.census.exchange()
    assert two.limits.present(CUSTOMER) == 2


async def test_an_api_asks_all_controllers_how_much_is_used(live: Live, other: Live) -> None:
    customer = uuid4()
    drives = Settings(role="controller", asterisk_name=f"a-{secrets.token_hex(6)}")
    house = Controller(live, "unused", "unused")
    counts = CallCounts(drives, live, house.limits, house.pacing, epoch=1)
    house.call(customer)
    await counts.start()
    asks = Controller(other, "unused", "asks")
    api = CallCounts(Settings(role="api"), other, asks.limits, asks.pacing, epoch=0)
    await api.start()
    await api.look()
    assert asks.limits.present(customer) == 1
    with house.pacing.admit(customer, 5, 10):
        async with asyncio.timeout(30):
            while asks.limits.others.waiting(customer) != 3:
                await api.look()
                await asyncio.sleep(0.05)
        assert asks.limits.present(customer) == 3
    await counts.close()
    await api.close()
    away = Live("redis://127.0.0.1:1/0", timeout=0.2)
    deaf = CallCounts(Settings(role="api"), away, asks.limits, asks.pacing, epoch=0)
    with pytest.raises(Unavailable, match="Redis"):
        await deaf.look()
    await away.close()


async def test_one_process_asks_nobody() -> None:
    away = Live("redis://127.0.0.1:1/0", timeout=0.2)
    house = Controller(away, "unused", "unused")
    counts = CallCounts(Settings(role="all"), away, house.limits, house.pacing, epoch=0)
    await counts.start()
    await counts.look()
    await counts.close()
    assert counts._census is None
    await away.close()


async def test_websockets_are_counted_over_all_processes_until_theirs_ends(live: Live, other: Live) -> None:
    both = []
    # which nobody asks anything
    database = Database("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    for where in (live, other):
        sockets = Sockets(database, per_customer=2)
        sockets._feed.start = _nothing  # type: ignore[method-assign]
        guarding = Guarding(Settings(role="api"), database, where)
        guarding.share(sockets)
        assert guarding._sockets is not None
        await guarding._sockets.start()
        both.append((guarding, guarding._sockets, sockets))
    (one, census, here), (two, census_two, there) = both
    for sockets in (here, there):
        await sockets.admit(CUSTOMER)
        sockets._open[CUSTOMER] = {object()}  # type: ignore[arg-type]
    await until(lambda: here.count(CUSTOMER) == there.count(CUSTOMER) == 2)
    assert one.doors.processes == two.doors.processes == 2
    for sockets in (here, there):
        with pytest.raises(ResourceExhausted, match="You have 2 WebSockets"):
            await sockets.admit(CUSTOMER)
        await sockets.admit(uuid4())
    # one of them is stopped: its readers come to the other one at once
    await census.leave()
    await until(lambda: there.count(CUSTOMER) == 1, seconds=20.0)
    await there.admit(CUSTOMER)
    assert two.doors.processes == 1
    await census_two.leave()
    await database.close()


async def _nothing() -> None:
    pass


async def test_an_address_that_guesses_at_two_processes_is_distrusted_by_both(
    live: Live, other: Live
) -> None:
    one, two = (AuthDoors(Scripts(where)) for where in (live, other))
    for doors in (one, two):
        doors.processes = 2
    remote = f"203.0.113.{uuid4().int % 250}"
    seen, began = 0, time.monotonic()
    for _ in range(2 * WRONG_AT_ONCE):
        for doors in (one, two):
            token = secrets.token_hex(8)
            if not doors.distrusted(remote, token):
                doors.wrong(remote, token)
                seen += 1
                await asyncio.gather(*doors._telling)
    seconds = time.monotonic() - began
    # a process by itself would have looked at WRONG_AT_ONCE each
    assert seen <= WRONG_AT_ONCE + TRICKLE_AT_ONCE + 2 + (WRONG_PER_SECOND + TRICKLE_PER_SECOND) * seconds
    for doors in (one, two):
        assert set(doors._distrusted) == {remote}
    assert await live.client.ttl(f"ringline:wrong:{remote}") > 0
    for doors in (one, two):
        await doors.close()


async def test_without_redis_each_process_counts_wrong_credentials_alone() -> None:
    away = Live("redis://127.0.0.1:1/0", timeout=0.2)
    doors = AuthDoors(Scripts(away))
    for _ in range(2 * WRONG_AT_ONCE):
        token = secrets.token_hex(8)
        if not doors.distrusted("192.0.2.1", token):
            doors.wrong("192.0.2.1", token)
            await asyncio.gather(*doors._telling)
    assert set(doors._distrusted) == {"192.0.2.1"}
    await doors.close()
    await away.close()
