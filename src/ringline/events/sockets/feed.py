"""Reading what is published once for all sockets of a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Final, Protocol
from uuid import UUID

import structlog

from ringline.events import reader
from ringline.events.publisher import PUBLISHED_CHANNEL
from ringline.events.sockets import reading
from ringline.events.sockets.topics import Line
from ringline.storage import Database, tenancy
from ringline.storage.listener import Following

log = structlog.get_logger(__name__)

PAGE: Final = 500
_LOOK_SECONDS = 15.0
"""How often it is looked without having been told of anything."""
_BACKOFF_SECONDS = 1.0
_AT_ONCE = 20


class Reader(Protocol):
    """One who is told of the events of a customer."""

    def offer(self, line: Line) -> None:
        """Take the event, or leave it. Must not block."""


class Feed:
    """Tells readers of events in the order in which they were published, each event once.

    It reads only while there are readers. ``cursor`` is the number up to which everything was told.
    """

    def __init__(self, database: Database, readers: Mapping[UUID, Collection[Reader]]) -> None:
        self._database = database
        self._readers = readers
        self._wake = asyncio.Event()
        self._greatest = 0
        self._starting = asyncio.Lock()
        self._following: Following | None = None
        self._task: asyncio.Task[None] | None = None
        self.cursor = 0

    async def start(self) -> None:
        """Begin with what comes from now on. Idempotent. Raises ``DatabaseUnavailable``."""
        async with self._starting:
            if self._task is not None:
                return
            self._following = await self._database.follow(PUBLISHED_CHANNEL, self._told, self._again)
            # the first reader's request begins what all customers' readers share
            with tenancy.across():
                async with self._database.connect() as connection:
                    self.cursor = await reader.newest(connection)
            self._task = asyncio.create_task(self._run(), name="event-feed")

    async def close(self) -> None:
        """Stop. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        following, self._following = self._following, None
        if following is not None:
            await self._database.listener.leave(following)

    def _told(self, payload: str) -> None:
        if payload.isdigit():
            self._greatest = max(self._greatest, int(payload))
        self._wake.set()

    async def _again(self) -> None:
        self._wake.set()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                while await self._read():
                    pass
            except Exception as error:  # noqa: BLE001 - whatever it is, what was published is there later, too
                log.warning("events_not_read", error=repr(error))
                self._wake.set()
                await asyncio.sleep(_BACKOFF_SECONDS)

    async def _read(self) -> bool:
        """Tell of the next page; whether there may be more."""
        while True:
            greatest, customers = self._greatest, set(self._readers)
            rows = []
            if customers:
                async with self._database.connect() as connection:
                    rows = await reading.of_customers(connection, customers, self.cursor, PAGE)
            if self._readers.keys() <= customers:
                break
            # somebody came meanwhile: of theirs nothing may be passed over, so it is read anew
        for place, row in enumerate(rows):
            if place % _AT_ONCE == _AT_ONCE - 1:
                # those who write to the sockets take turns
                await asyncio.sleep(0)
            line = Line(row)
            self.cursor = line.number
            for one in tuple(self._readers.get(line.customer_id, ())):
                one.offer(line)
        if len(rows) < PAGE:
            # all up to there were committed when it was told of them
            self.cursor = max(self.cursor, greatest)
            return False
        return True
