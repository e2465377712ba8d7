"""Rounds go on, whatever one of them says, however it fails and whenever somebody wakes whoever makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from ringline.rounds import Rounds


class Worker:
    """Makes rounds; the test says what each of them comes to."""

    def __init__(self) -> None:
        self.made = 0
        self.says: float | Exception = 3600.0
        self.during: Callable[[], None] = lambda: None
        self.rounds = Rounds("work", self.round, retry=0.01)

    async def round(self) -> float:
        self.made += 1
        await asyncio.sleep(0)
        self.during()
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def until(self, made: int) -> None:
        async with asyncio.timeout(30):
            while self.made < made:
                await asyncio.sleep(0.001)

    async def rest(self) -> int:
        """How many more are made by themselves in a while."""
        before = self.made
        await asyncio.sleep(0.05)
        return self.made - before


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker()
    yield worker
    await worker.rounds.close()


async def test_the_first_is_made_at_once_and_the_next_when_it_is_time(worker: Worker) -> None:
    worker.says = 0.01
    worker.rounds.start()
    await worker.until(3)


async def test_whoever_waits_is_woken(worker: Worker) -> None:
    worker.rounds.start()
    await worker.until(1)
    assert await worker.rest() == 0
    worker.rounds.wake()
    await worker.until(2)
    assert await worker.rest() == 0


async def test_what_comes_during_a_round_is_seen_by_the_next(worker: Worker) -> None:
    def once() -> None:
        worker.during = lambda: None
        worker.rounds.wake()

    worker.during = once
    worker.rounds.start()
    await worker.until(2)
    assert await worker.rest() == 0


async def test_one_that_fails_is_told_and_made_again(worker: Worker) -> None:
    worker.says = OSError("the database is away")
    with capture_logs() as logs:
        worker.rounds.start()
        await worker.until(3)
    assert logs[0]["event"] == "round_failed"
    assert (logs[0]["worker"], logs[0]["error"]) == ("work", "OSError('the database is away')")
    worker.says = 3600.0
    assert await worker.rest() <= 1
    assert await worker.rest() == 0


async def test_the_end(worker: Worker) -> None:
    assert not worker.rounds.running
    await worker.rounds.close()
    worker.says = 0.0
    worker.rounds.start()
    assert worker.rounds.running
    await worker.until(2)
    await worker.rounds.close()
    await worker.rounds.close()
    assert not worker.rounds.running
    worker.rounds.wake()
    assert await worker.rest() == 0
