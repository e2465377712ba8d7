"""Attempts to log in and knocks, counted by several processes through Redis, and by each alone without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from ringline.customers.attempts import (
    FIRST_PAUSE,
    KNOWN_SECONDS,
    OF_ADDRESS,
    OF_NAME_AND_ADDRESS,
    OF_NAME_FREE,
    PasswordAttempts,
)
from ringline.customers.doors import KNOCKS_AT_ONCE, AuthDoors
from ringline.http import Principal
from ringline.limits.requests import Rate, Requests
from ringline.limits.sharing import Sharing
from ringline.storage import Live
from ringline.storage.scripts import Scripts


@pytest.fixture
async def lives(redis_url: str) -> AsyncIterator[tuple[Live, Live]]:
    """Two processes' connections."""
    # which answers in time even where the machine pauses: without it each counts alone
    both = Live(redis_url, timeout=20.0), Live(redis_url, timeout=20.0)
    await both[0].client.flushdb()
    yield both
    for live in both:
        await live.close()


def _address() -> str:
    return f"192.0.2.{uuid4().int % 250}"


async def test_two_processes_count_wrong_passwords_together(lives: tuple[Live, Live]) -> None:
    one, two = (PasswordAttempts(Scripts(live)) for live in lives)
    where = _address()
    for number in range(OF_NAME_AND_ADDRESS.free):
        counts = (one, two)[number % 2]
        assert (await counts.begin("ada", where)).wait == 0
        began = time.monotonic()
        await counts.wrong("ada", where)
    for counts in (one, two):
        wait = (await counts.begin("ada", where)).wait
        assert FIRST_PAUSE - 1 - (time.monotonic() - began) < wait <= FIRST_PAUSE
    assert (await one.begin("bob", where)).wait == 0
    await one.right("bob", where)
    keys = await lives[0].client.keys("ringline:login:known:*")
    assert len(keys) == 1
    assert KNOWN_SECONDS - 60 < await lives[0].client.ttl(keys[0]) <= KNOWN_SECONDS
    for key in await lives[0].client.keys("ringline:login:*"):
        assert b"ada" not in key
        assert await lives[0].client.ttl(key) > 0, f"{key!r} stays for ever"


async def test_an_address_that_tries_many_names_pauses_everywhere(lives: tuple[Live, Live]) -> None:
    one, two = (PasswordAttempts(Scripts(live)) for live in lives)
    where = _address()
    for number in range(OF_ADDRESS.free):
        assert (await one.begin(f"name-{number}", where)).wait == 0
    assert (await two.begin("another", where)).wait > 0
    assert (await two.begin("another", "198.51.100.7")).wait == 0


async def test_a_name_is_slowed_but_not_where_it_is_known(lives: tuple[Live, Live]) -> None:
    one, two = (PasswordAttempts(Scripts(live)) for live in lives)
    await one.begin("ada", "203.0.113.1")
    await one.right("ada", "203.0.113.1")
    for number in range(OF_NAME_FREE + 10):
        await one.begin("ada", f"198.51.100.{number}")
    assert (await two.begin("ada", "203.0.113.1")).slow == 0
    assert (await two.begin("ada", "203.0.113.2")).slow > 0


async def test_what_could_not_be_looked_at_does_not_count(lives: tuple[Live, Live]) -> None:
    counts = PasswordAttempts(Scripts(lives[0]))
    for _ in range(2 * OF_ADDRESS.free):
        assert (await counts.begin("ada", "192.0.2.1")).wait == 0
        await counts.undone("ada", "192.0.2.1")


async def test_two_processes_count_knocks_together(lives: tuple[Live, Live]) -> None:
    one, two = (AuthDoors(Scripts(live)) for live in lives)
    where, began = _address(), time.monotonic()
    taken = sum([await doors.knock(where) == 0 for _ in range(KNOCKS_AT_ONCE) for doors in (one, two)])
    most = KNOCKS_AT_ONCE + 10 * (time.monotonic() - began) + 1
    assert KNOCKS_AT_ONCE <= taken <= most


async def test_without_redis_each_process_counts_alone_and_does_not_wait_for_it() -> None:
    away = Live("redis://127.0.0.1:1/0", timeout=0.2)
    scripts = Scripts(away)
    counts, doors = PasswordAttempts(scripts), AuthDoors(scripts)
    for _ in range(OF_NAME_AND_ADDRESS.free):
        assert (await counts.begin("ada", "192.0.2.1")).wait == 0
        await counts.wrong("ada", "192.0.2.1")
    assert (await counts.begin("ada", "192.0.2.1")).wait > 0
    began = time.monotonic()
    knocks = [await doors.knock("192.0.2.1") for _ in range(200)]
    assert any(knocks)
    assert time.monotonic() - began < 20
    await away.close()


async def test_two_processes_share_one_rate(lives: tuple[Live, Live]) -> None:
    """Each asks for all it can get, ten exchanges a second; what both give together is the rate, and a burst each."""
    customer, key = uuid4(), uuid4()
    asks = Principal(customer, None, key, 0)
    requests = [Requests(lambda _: Rate(100, 100), lambda _: Rate(0, 0)) for _ in lives]
    sharing = [Sharing(live, one) for live, one in zip(lives, requests, strict=True)]
    given, began = 0, time.monotonic()
    while time.monotonic() - began < 3.0:
        for one, share in zip(requests, sharing, strict=True):
            given += sum(one.take(asks)[1] == 0 for _ in range(50))
            await share.share()
    seconds = time.monotonic() - began
    assert given <= 100 * seconds + 2 * 100 + 60
    assert given >= 100 * seconds * 0.8


async def test_a_process_that_was_idle_owes_nothing_for_it(lives: tuple[Live, Live]) -> None:
    customer, key = uuid4(), uuid4()
    asks = Principal(customer, None, key, 0)
    one, two = (Requests(lambda _: Rate(1000, 1000), lambda _: Rate(0, 0)) for _ in lives)
    share_one, share_two = Sharing(lives[0], one), Sharing(lives[1], two)
    for requests, share in ((one, share_one), (two, share_two)):
        requests.take(asks)
        await share.share()
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        one.take(asks)
        await share_one.share()
        # so few that the rate is not used up by them
        await asyncio.sleep(0.005)
    assert two.take(asks)[1] == 0
    await share_two.share()
    assert sum(two.take(asks)[1] == 0 for _ in range(100)) == 100
