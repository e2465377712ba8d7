"""Conferences end when their time is over, whether anybody is in them or not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from ringline.clock import Clock
from ringline.conferences import store
from ringline.conferences.records import Conference
from ringline.storage import Database

log = structlog.get_logger(__name__)

LONGEST_SECONDS = 60.0
"""How long is waited at most before the table is looked at again."""
RETRY_SECONDS = 2.0


class Timeouts:
    """One task that waits for the next deadline; the deadlines are in the table and survive a restart."""

    def __init__(self, database: Database, clock: Clock, end: Callable[[Conference], object]) -> None:
        """``end`` is told of every conference whose time is over, its row saying so."""
        self._database = database
        self._clock = clock
        self._end = end
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="conference-timeouts")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def changed(self) -> None:
        """A deadline was set or moved."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self.expire()
            except Exception as error:  # noqa: BLE001 - said, and tried again
                log.warning("conference_timeouts_failed", error=repr(error))
                pause = RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def expire(self) -> float:
        """End what is due; the seconds until something may be again."""
        async with self._database.connect() as connection:
            due = await store.expire(connection, self._clock.now())
            following = await store.next_timeout(connection)
        for row in due:
            log.info("conference_timeout", conference_id=str(row.id), customer_id=str(row.customer_id))
            self._end(Conference.of_row(row))
        if following is None:
            return LONGEST_SECONDS
        return min(max((following - self._clock.now()).total_seconds(), 0.0), LONGEST_SECONDS)
