"""Publishing: what was committed gets its place among all events, by one process at a time.

Events become visible when their transactions are committed, in any order among resources: who reads the table by
position would miss those that are committed late. So one process gives out ``published``, and readers go by that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.events import metrics, reader
from ringline.events.models import Published
from ringline.events.rendering import Rendering
from ringline.events.store import CHANNEL
from ringline.storage import Database
from ringline.storage.listener import Following

log = structlog.get_logger(__name__)

Sink = Callable[[AsyncConnection, Sequence[Published]], Awaitable[None]]
"""Told of events in the transaction that publishes them, in their order: what it writes is there if they are
published, and only then. It must be quick; an error of it takes the batch back, which comes again."""

Step = Callable[[AsyncConnection, int, int], Awaitable[None]]
"""As a ``Sink``, for what is done within PostgreSQL: it is given the first and the last number of the events. Where
there are only such, no event is fetched."""

PUBLISHED_CHANNEL = "ringline_published"
"""Notified with the greatest number of each batch that was published."""
BATCH = 1000
POLL_SECONDS = 1.0
"""How often it is looked for events and for a dead holder of the lock without having been told."""
MAX_BACKOFF_SECONDS = 5.0
HOLDER_SILENT_SECONDS = 10
"""A holder that does nothing for so long (a stopped process) loses its connection and with it the lock."""
_LOCK = sa.text(f"SELECT pg_try_advisory_lock({0x52494E47_45564E54})")
_SETTINGS = sa.text(
    f"SELECT set_config('idle_session_timeout', '{HOLDER_SILENT_SECONDS}s', false),"
    f" set_config('idle_in_transaction_session_timeout', '{HOLDER_SILENT_SECONDS}s', false),"
    # plans are kept, and one made while there were few rows would read all of them with each batch
    " set_config('enable_seqscan', 'off', false)"
)

# the inner order decides who gets which number
_TAKE = sa.text("""
    WITH numbered AS (
        SELECT id, nextval('events_published') AS number FROM (
            SELECT id FROM events WHERE published IS NULL ORDER BY position LIMIT :size
        ) AS waiting
    ), done AS (
        UPDATE events SET published = numbered.number FROM numbered WHERE events.id = numbered.id
        RETURNING events.type, events.published, events.raw
    )
    SELECT type, count(*) AS events, min(published) AS first, max(published) AS last, bool_or(raw) AS raw
    FROM done GROUP BY type
""")
_NOTIFY = sa.text(f"SELECT pg_notify('{PUBLISHED_CHANNEL}', :greatest)")
_WAITING = sa.text(
    "SELECT count(*), coalesce(extract(epoch FROM now() - min(tm_create)), 0) FROM"
    " (SELECT tm_create FROM events WHERE published IS NULL ORDER BY position LIMIT 10000) AS waiting"
)


class Publisher:
    """Publishes while it holds the lock; in other processes it waits for the holder to go.

    The lock and the transactions are on one connection: when that is gone, neither is there any more, so no number
    of a former holder appears behind those of the next.
    """

    def __init__(self, database: Database, sinks: Sequence[Sink] = (), *, poll: float = POLL_SECONDS) -> None:
        self.sinks: list[Sink] = list(sinks)
        self.steps: list[Step] = []
        self.rendering = Rendering({})
        self._database = database
        self._poll = poll
        self._size = BATCH
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.holding = False
        """Whether this process publishes."""

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="events-publisher")

    async def close(self) -> None:
        """Stop; another process takes over. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def read_gauges(self) -> None:
        """Count what waits, where this process is the one to publish it."""
        if not self.holding:
            metrics.waiting.set(0)
            metrics.lag_seconds.set(0)
            return
        async with self._database.connect() as connection:
            count, age = (await connection.execute(_WAITING)).one()
        metrics.waiting.set(count)
        metrics.lag_seconds.set(max(float(age), 0.0))

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._hold()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, events stay stored and are published later
                log.warning("events_not_published", error=repr(error), batch=self._size)
                failures += 1
                # what fails because it is too much succeeds in pieces
                self._size = max(self._size // 8, 1)
            await asyncio.sleep(min(self._poll * 2 ** max(failures - 1, 0), MAX_BACKOFF_SECONDS))

    async def _hold(self) -> None:
        """Publish while the lock is ours; return at once when it is somebody else's."""
        async with self._database.engine.connect() as connection:
            async with connection.begin():
                # given up with the connection, which is closed below and not given back to the pool
                if not await connection.scalar(_LOCK):
                    return
            following: Following | None = None
            try:
                async with connection.begin():
                    await connection.execute(_SETTINGS)
                following = await self._database.follow(CHANNEL, lambda _: self._wake.set(), self._again)
                self.holding = True
                metrics.publishing.set(1)
                log.info("publishing_events")
                await self._publish_all(connection)
            finally:
                self.holding = False
                metrics.publishing.set(0)
                with contextlib.suppress(Exception):
                    await asyncio.shield(connection.invalidate())
                if following is not None:
                    await self._database.listener.leave(following)

    async def _again(self) -> None:
        self._wake.set()

    async def _publish_all(self, connection: AsyncConnection) -> None:
        while True:
            self._wake.clear()
            while await self._publish(connection) == self._size:
                self._size = min(self._size * 2, BATCH)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._wake.wait()

    async def _publish(self, connection: AsyncConnection) -> int:
        """Publish a batch; how many events there were."""
        async with connection.begin():
            taken = (await connection.execute(_TAKE, {"size": self._size})).all()
            if not taken:
                return 0
            first, last = min(row.first for row in taken), max(row.last for row in taken)
            if any(row.raw for row in taken):
                await self.rendering.render(connection, first, last)
            for step in self.steps:
                await step(connection, first, last)
            if self.sinks:
                events = await reader.after(connection, None, first - 1, BATCH)
                for sink in self.sinks:
                    await sink(connection, events)
            await connection.execute(_NOTIFY, {"greatest": str(last)})
        for row in taken:
            metrics.published.labels(row.type).inc(row.events)
        return sum(row.events for row in taken)
