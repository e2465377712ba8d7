"""Work asked for at once is done once, and nobody's cancellation is another's."""

from __future__ import annotations

import asyncio

import pytest

from ringline.media import MediaFailed
from ringline.media.flight import SingleFlight


class Work:
    def __init__(self, failure: Exception | None = None) -> None:
        self.runs = 0
        self.gate = asyncio.Event()
        self._failure = failure

    async def __call__(self) -> str:
        self.runs += 1
        await self.gate.wait()
        if self._failure is not None:
            raise self._failure
        return f"result {self.runs}"


async def test_many_who_ask_at_once_share_one_run() -> None:
    flight, work = SingleFlight[str](), Work()
    waiters = [asyncio.create_task(flight.run("key", work)) for _ in range(20)]
    await asyncio.sleep(0)
    work.gate.set()
    assert set(await asyncio.gather(*waiters)) == {"result 1"}
    assert await flight.run("key", work) == "result 2"


async def test_keys_do_not_wait_for_each_other() -> None:
    flight, slow, fast = SingleFlight[str](), Work(), Work()
    waiter = asyncio.create_task(flight.run("slow", slow))
    fast.gate.set()
    assert await flight.run("fast", fast) == "result 1"
    slow.gate.set()
    await waiter


async def test_a_cancelled_waiter_leaves_the_others_their_result() -> None:
    flight, work = SingleFlight[str](), Work()
    first, second = (asyncio.create_task(flight.run("key", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.gate.set()
    assert await second == "result 1"


async def test_a_failure_reaches_all_and_is_not_kept() -> None:
    flight, work = SingleFlight[str](), Work(ValueError("no"))
    waiters = [asyncio.create_task(flight.run("key", work)) for _ in range(3)]
    await asyncio.sleep(0)
    work.gate.set()
    for result in await asyncio.gather(*waiters, return_exceptions=True):
        assert isinstance(result, ValueError)
    good = Work()
    good.gate.set()
    assert await flight.run("key", good) == "result 1"


async def test_closing_fails_who_still_waits_without_cancelling_them() -> None:
    flight, work = SingleFlight[str]("FETCH_FAILED"), Work()
    waiter = asyncio.create_task(flight.run("key", work))
    await asyncio.sleep(0)
    await flight.close()
    with pytest.raises(MediaFailed, match="closing") as caught:
        await waiter
    assert caught.value.reason == "FETCH_FAILED"
