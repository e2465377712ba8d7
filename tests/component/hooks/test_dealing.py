"""Stored events are dealt with until that has worked: in order, after failures, by the next process."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.component.hooks.conftest import House, order

from ringline.hooks import Dealer, dealing
from ringline.hooks.store import hook_events
from ringline.metrics import registry


async def _set(house: House, **values: Any) -> None:
    async with house.database.connect() as connection:
        await connection.execute(update(hook_events).values(**values))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealing, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(dealing, "LAST_PAUSE", 0.2)


async def test_events_of_one_number_keep_their_order(house: House) -> None:
    await house.dealer.start()
    for index in range(5):
        await house.post([order(f"a{index}"), order(f"b{index}", "+15550000002")])
    await house.until(lambda: len(house.dealt) == 10)
    for letter in "ab":
        found = [event.event_id for _, event in house.dealt if event.event_id[0] == letter]
        assert found == [f"{letter}{index}" for index in range(5)]


async def test_it_is_dealt_with_at_once(house: House) -> None:
    await house.dealer.start()
    await house.post([order("warm")])
    await house.until(lambda: len(house.dealt) == 1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await house.post([order("a", "+15550000003")])
    await house.until(lambda: len(house.dealt) == 2)
    assert loop.time() - began < 1.0  # a loaded machine; alone it is some 15 ms


async def test_a_failure_is_tried_again_and_holds_its_lane_up(house: House, quick: None) -> None:
    tries: list[str] = []

    async def fail(event: Any) -> None:
        tries.append(event.event_id)
        if event.event_id == "a" and tries.count("a") < 4:
            raise ConnectionError("the vendor is away")

    house.fail = fail
    await house.post([order("a"), order("b"), order("c", "+15550000009")])
    await house.dealer.start()
    await house.until(lambda: len(house.dealt) == 3)
    assert [event.event_id for _, event in house.dealt] == ["c", "a", "b"]
    assert (tries.count("a"), tries.count("b")) == (4, 1)
    await house.dealer.close()
    assert {(row.state, row.payload, row.reason) for row in await house.rows()} == {("done", None, "")}


async def test_a_later_event_does_not_wait_for_ever(house: House) -> None:
    async def fail(event: Any) -> None:
        if event.event_id == "a":
            raise ValueError("never")

    house.fail = fail
    before = registry_failed()
    await house.post([order("a")])
    now = house.clock.now()
    await _set(house, tm_create=now - timedelta(minutes=2), tm_due=now - timedelta(seconds=5), attempts=5)
    await house.dealer.start()
    await house.until(lambda: registry_failed() > before)
    await house.post([order("b")])
    await house.until(lambda: [event.event_id for _, event in house.dealt] == ["b"])


def registry_failed() -> float:
    labels = {"vendor": "telnyx", "kind": "order", "outcome": "failed"}
    return registry.get_sample_value("ringline_vendor_events_total", labels) or 0.0


async def test_an_old_failure_lets_those_behind_it_go_on(house: House) -> None:
    async def fail(event: Any) -> None:
        if event.event_id == "a":
            raise ValueError("never")

    house.fail = fail
    await house.post([order("a"), order("b")])
    await _set(house, tm_create=house.clock.now() - timedelta(minutes=2))
    await house.dealer.start()
    await house.until(lambda: [event.event_id for _, event in house.dealt] == ["b"])


async def test_after_a_day_it_is_given_up(house: House) -> None:
    async def fail(event: Any) -> None:
        if event.event_id == "a":
            raise ValueError("never")

    house.fail = fail
    await house.post([order("a")])
    await _set(house, tm_create=house.clock.now() - timedelta(days=1, minutes=1))
    await house.post([order("b")])
    await house.dealer.start()
    await house.until(lambda: len(house.dealt) == 1)
    await house.dealer.close()
    rows = {row.event_id: row for row in await house.rows()}
    assert (rows["a"].state, rows["b"].state) == ("given-up", "done")
    assert "never" in rows["a"].reason
    assert rows["a"].payload["number"] == "+15550000001"


async def test_what_a_process_had_taken_goes_on_in_the_next_at_once(house: House) -> None:
    began, gate = asyncio.Event(), asyncio.Event()

    async def hang(_: Any) -> None:
        began.set()
        await gate.wait()

    house.fail = hang
    await house.post([order("a"), order("b")])
    await house.dealer.start()
    await began.wait()
    await house.dealer.close()
    assert {row.state for row in await house.rows()} == {"waiting"}
    house.fail = None
    house.restarted()
    await house.dealer.start()
    await house.until(lambda: len(house.dealt) == 2)
    assert [event.event_id for _, event in house.dealt] == ["a", "b"]


async def test_what_a_killed_process_had_taken_goes_on_in_another_when_its_lease_is_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealing, "LEASE", timedelta(seconds=1))
    began = asyncio.Event()

    async def hang(_: Any) -> None:
        began.set()
        await asyncio.Event().wait()

    house.fail = hang
    await house.post([order("a"), order("b")])
    await house.dealer.start()
    await began.wait()
    await house.dealer._stop()  # as when it is killed: no word of what it had under way is written
    house.fail = None
    house.restarted()
    await house.dealer.start()
    await house.until(lambda: len(house.dealt) == 2)
    assert [event.event_id for _, event in house.dealt] == ["a", "b"]


async def test_what_another_process_deals_with_is_left_to_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that starts takes nothing of those that live, however long they take for it."""
    monkeypatch.setattr(dealing, "LEASE", timedelta(seconds=3))
    monkeypatch.setattr(dealing, "RENEW_SECONDS", 0.2)
    tries: list[str] = []
    began, gate = asyncio.Event(), asyncio.Event()

    async def slowly(event: Any) -> None:
        tries.append(event.event_id)
        began.set()
        if event.event_id == "slow":
            await gate.wait()

    house.fail = slowly
    await house.post([order("slow"), order("behind")])
    await house.dealer.start()
    await began.wait()
    other = Dealer(house.database, house.clock, house.consumers)
    await other.start()
    await house.post([order("other", "+15550000009")])
    await house.until(lambda: len(house.dealt) == 1)
    await asyncio.sleep(4)
    gate.set()
    await house.until(lambda: len(house.dealt) == 3)
    await other.close()
    assert sorted(tries) == ["behind", "other", "slow"]


async def test_a_failure_waits_for_its_time_also_when_another_process_starts(house: House) -> None:
    tries: list[str] = []

    async def fail(event: Any) -> None:
        tries.append(event.event_id)
        if event.event_id == "a":
            raise ConnectionError("the vendor is away")

    house.fail = fail
    await house.post([order("a")])
    now = house.clock.now()
    await _set(house, tm_due=now + timedelta(minutes=5), attempts=9)
    await house.dealer.start()
    await house.post([order("b", "+15550000009")])
    await house.until(lambda: len(house.dealt) == 1)
    assert tries == ["b"]


async def test_what_nobody_consumes_stays_until_somebody_does(house: House) -> None:
    await house.dealer.start()
    await house.post([{"text": "t", "body": "hello"}, order("a")])
    await house.until(lambda: len(house.dealt) == 1)
    await house.dealer.close()
    assert {row.kind: row.state for row in await house.rows()} == {"text_arrived": "waiting", "order": "done"}
    house.consumers.text_arrived = house.deal
    house.restarted()
    await house.dealer.start()
    await house.until(lambda: len(house.dealt) == 2)
    assert house.dealt[1][1].text == "hello"


async def test_a_slow_consumer_holds_up_only_its_lane(house: House) -> None:
    gate = asyncio.Event()

    async def hang(event: Any) -> None:
        if event.event_id == "slow":
            await gate.wait()

    house.fail = hang
    await house.dealer.start()
    await house.post([order("slow")])
    await house.post([order("other", "+15550000005")])
    await house.until(lambda: [event.event_id for _, event in house.dealt] == ["other"])
    gate.set()
    await house.until(lambda: len(house.dealt) == 2)


async def test_what_ended_days_ago_is_swept(house: House) -> None:
    for event_id in ("old", "kept"):
        await house.post([order(event_id)])
    await house.dealer.start()
    await house.until(lambda: len(house.dealt) == 2)
    await house.dealer.close()
    async with house.database.connect() as connection:
        await connection.execute(
            update(hook_events)
            .where(hook_events.c.event_id == "old")
            .values(tm_create=house.clock.now() - timedelta(days=8))
        )
    await house.dealer.sweep()
    assert [row.event_id for row in await house.rows()] == ["kept"]


def test_pauses_grow_and_end() -> None:
    assert [dealing.pause(attempts) for attempts in (1, 2, 3, 10, 1000)] == [1, 2, 4, 512, 600]
