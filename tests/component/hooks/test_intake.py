"""Webhooks are answered when they are stored, once each, and never without a right signature."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from sqlalchemy import text
from tests.component.hooks.conftest import PUBLIC_URL, House, order

from ringline.metrics import registry
from ringline.storage import Database


def _count(vendor: str, outcome: str) -> float:
    found = registry.get_sample_value("ringline_vendor_hooks_total", {"vendor": vendor, "outcome": outcome})
    return found or 0.0


async def test_a_hook_is_stored_whole_and_answered(house: House) -> None:
    answer = await house.post([order("a"), order("b", "+15550000002")], path="?x=%2B1&y=a+b")
    assert answer == (200, b"{}", "application/json")
    assert [(row.event_id, row.state, row.kind) for row in await house.rows()] == [
        ("a", "waiting", "order"),
        ("b", "waiting", "order"),
    ]
    hook = house.vendor.hooks[0]
    assert hook.url == f"{PUBLIC_URL}/hooks/telnyx?x=%2B1&y=a+b"
    assert hook.headers["content-type"] == "text/plain; odd"


async def test_each_vendor_gets_the_answer_that_it_expects(house: House) -> None:
    assert await house.post([order()], vendor="twilio") == (200, b"<Response/>", "text/xml")


async def test_the_same_again_changes_nothing(house: House) -> None:
    before = _count("telnyx", "duplicate")
    answers = await asyncio.gather(*(house.post([order("a"), order("b")]) for _ in range(20)))
    assert {status for status, *_ in answers} == {200}
    assert len(await house.rows()) == 2
    assert _count("telnyx", "duplicate") == before + 19


async def test_events_of_one_hook_that_share_its_id_are_all_kept(house: House) -> None:
    same = [order("a"), order("a", "+15550000002")]
    await house.post(same)
    await house.post(same)
    assert [row.event_id for row in await house.rows()] == ["a", "a#1"]


async def test_wrong_signatures_are_refused_and_slowed_down(house: House) -> None:
    before = _count("telnyx", "refused")
    answers = [await house.post([order()], signature="wrong") for _ in range(30)]
    statuses = Counter(status for status, *_ in answers)
    assert statuses[403] >= 20
    assert statuses[429] >= 5
    assert b"INVALID_SIGNATURE" in answers[0][1]
    assert await house.rows() == []
    assert _count("telnyx", "refused") == before + 30
    assert (await house.post([order()]))[0] == 200  # a right one from the same address


async def test_unknown_kinds_are_answered_and_counted(house: House) -> None:
    before = _count("telnyx", "unknown")
    assert (await house.post([{"something": "new"}]))[0] == 200
    assert _count("telnyx", "unknown") == before + 1


async def test_a_vendor_that_is_not_set_up_is_404(house: House) -> None:
    before = _count("sandbox", "absent")
    status, body, _ = await house.post([order()], vendor="sandbox")
    assert status == 404
    assert b"VENDOR_NOT_CONFIGURED" in body
    assert _count("sandbox", "absent") == before + 1


async def test_unreadable_bodies_are_ours_to_see(house: House) -> None:
    before = _count("telnyx", "unreadable")
    assert (await house.post(b"{"))[0] == 500
    assert _count("telnyx", "unreadable") == before + 1


async def test_large_bodies_are_refused_announced_or_not(house: House) -> None:
    assert (await house.post(b"x" * (256 * 1024 + 1)))[0] == 413

    async def drip() -> object:
        for _ in range(40):
            yield b"x" * 8192

    async with house.session.post(
        f"http://127.0.0.1:{house.server.port}/hooks/telnyx", data=drip(), headers={"Signature": "right"}
    ) as response:
        assert response.status == 413


async def test_odd_characters_are_stored(house: House) -> None:
    status, _, _ = await house.post([{"text": "n\u0000ul", "body": "a\u0000b \U0001f600 \\u0000"}])
    assert status == 200
    (row,) = await house.rows()
    assert row.event_id == "nul"
    assert row.payload["text"] == "ab \U0001f600 \\u0000"


async def test_a_body_that_trickles_in_holds_nobody_up(house: House) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", house.server.port)
    writer.write(b"POST /hooks/telnyx HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
    await writer.drain()
    try:
        assert (await house.post([order()]))[0] == 200
    finally:
        writer.close()


async def test_without_a_database_the_vendor_is_asked_to_come_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = Database(house.database.url, statement_timeout=3.0)
    monkeypatch.setattr(house.intake, "_database", impatient)
    async with house.database.begin() as connection:
        await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        await connection.execute(text("LOCK TABLE hook_events IN ACCESS EXCLUSIVE MODE"))
        status, body, _ = await house.post([order("a")])  # its statement times out
    assert (status, b"SERVICE_UNAVAILABLE" in body) == (503, True)
    assert (await house.post([order("a")]))[0] == 200
    await impatient.close()


async def test_a_burst_is_answered_fast(house: House) -> None:
    count = 1000
    places = asyncio.Semaphore(50)
    took: list[float] = []

    async def one(index: int) -> int:
        async with places:
            began = time.monotonic()
            status, _, _ = await house.post([order(f"burst-{index}", f"+1555{index:07d}")])
            took.append(time.monotonic() - began)
            return status

    await house.dealer.start()
    began = time.monotonic()
    statuses = await asyncio.gather(*(one(index) for index in range(count)))
    seconds = time.monotonic() - began
    await house.until(lambda: len(house.dealt) == count, 60)
    dealt = time.monotonic() - began
    took.sort()
    print(
        f"{count} hooks: {count / seconds:.0f}/s p95 {took[950] * 1000:.0f} ms, dealt with in {dealt:.1f} s"
    )
    assert set(statuses) == {200}
    assert took[950] < 2.0  # a loaded machine; alone it is some 60 ms
    assert Counter(event.number for _, event in house.dealt).most_common(1)[0][1] == 1
