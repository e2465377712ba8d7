"""The worker that takes ports on until they have ended, in whatever process they began."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Row

from ringline.clock import Clock
from ringline.numbers.ports import metrics, store
from ringline.numbers.ports.steps import ASKING_SECONDS, LONGER, PortSteps
from ringline.rounds import Rounds
from ringline.storage import Database
from ringline.vendors.events import PortChanged

log = structlog.get_logger(__name__)

LEASE: Final = timedelta(seconds=ASKING_SECONDS + 60)
"""Nobody else touches a port for so long after whoever works on it has died."""
AT_ONCE: Final = 4
IDLE_SECONDS: Final = 15.0
RETRY_SECONDS: Final = 2.0
CONTENTS_KEPT: Final = timedelta(days=30)


class NumberPorts:
    """Carries out what is stored in ``number_ports``."""

    def __init__(self, database: Database, clock: Clock, steps: PortSteps) -> None:
        self._database = database
        self._clock = clock
        self._steps = steps
        self._rounds = Rounds("number-ports", self._round, retry=RETRY_SECONDS)
        self._working: dict[UUID, asyncio.Task[None]] = {}
        self._begins = True
        self.elsewhere: Callable[[], None] = lambda: None
        """Wakes those who work in other processes."""

    async def start(self) -> None:
        """Take up what is open, in the background."""
        self._rounds.start()

    async def close(self) -> None:
        """Stop; what was being done is looked up by whoever comes next. Idempotent."""
        await self._rounds.close()
        left, tasks = list(self._working), list(self._working.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if left:
            with contextlib.suppress(Exception):
                async with self._database.connect() as connection:
                    await store.release(connection, left)

    def wake(self) -> None:
        """There may be something new to do."""
        self._rounds.wake()
        if not self._rounds.running:
            self.elsewhere()

    async def changed(self, vendor: str, event: PortChanged) -> None:
        """A vendor reports of a port (``vendors.events.Consumers.port``): it is asked how that port is now.

        Reports come late and in any order, and some are of a part of a port; the answer is neither.
        """
        now = self._clock.now()
        async with self._database.connect() as connection:
            row = await store.of_report(
                connection, vendor, request_id=event.port_id, reference=event.progress.reference
            )
            if row is None:
                metrics.changes.labels(vendor, "unknown").inc()
                log.info("number_port_report_unknown", vendor=vendor, event_id=event.event_id)
                await store.hint_at_unanswered(connection, vendor, now)
            elif row.tm_end is None:
                await store.change(connection, row.id, store.hint(now))
        self.wake()

    async def upkeep(self) -> None:
        """Show how much is open; forget files of ports that ended long ago."""
        async with self._database.connect() as connection:
            counts = await store.open_counts(connection)
            dropped = await store.drop_contents(connection, self._clock.now() - CONTENTS_KEPT)
        metrics.open_ports.clear()
        for row in counts:
            metrics.open_ports.labels(row.status).set(row.ports)
        if dropped:
            log.info("number_port_files_forgotten", files=dropped)

    async def _try_mended(self) -> None:
        """A start is what comes after a mended setting: who waited for that waits no longer."""
        now = self._clock.now()
        async with self._database.begin() as connection:
            hastened = await store.hasten_mended(connection, now + LONGER, now)
        if hastened:
            log.info("number_ports_hastened", ports=hastened)

    async def _round(self) -> float:
        """Begin what is due; seconds until the next round."""
        if self._begins:
            await self._try_mended()
            self._begins = False
        room = AT_ONCE - len(self._working)
        if room <= 0:
            return IDLE_SECONDS  # whoever ends wakes
        now = self._clock.now()
        async with self._database.begin() as connection:
            rows = await store.claim(connection, now=now, lease=LEASE, limit=room)
        for row in rows:
            task = asyncio.create_task(self._take(row), name=f"number-port {row.id}")
            self._working[row.id] = task
            task.add_done_callback(partial(self._done, row.id))
        if len(rows) == room:
            return IDLE_SECONDS
        async with self._database.connect() as connection:
            due = await store.next_due(connection)
        if due is None:
            return IDLE_SECONDS
        return min(max((due - self._clock.now()).total_seconds(), 0.05), IDLE_SECONDS)

    async def _take(self, row: Row[Any]) -> None:
        try:
            await self._steps.take(row)
            async with self._database.connect() as connection:
                await store.give_back(connection, row, self._clock.now())
        except Exception as error:  # noqa: BLE001 - it is taken up again when the lease is over
            log.error("number_port_failed", port_id=str(row.id), error=repr(error))

    def _done(self, port_id: UUID, _: asyncio.Task[None]) -> None:
        self._working.pop(port_id, None)
        self.wake()
