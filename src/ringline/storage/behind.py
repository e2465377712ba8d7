"""Writing behind: records that live in memory reach PostgreSQL shortly after they changed.

For rooms whose records change inside events (queuecalls and their like): the path of an event only marks what
changed. Calls and flows have a writer of their own (``calls.journal``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import TextClause

from ringline.storage import bulk
from ringline.storage.database import Database, DatabaseUnavailable

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 0.2
BATCH = 500
MAX_BACKOFF_SECONDS = 5.0
WRITTEN_SECONDS = 1.0


class Record(Protocol):
    """What can be written."""

    @property
    def id(self) -> UUID: ...


R = TypeVar("R", bound=Record)
R_contra = TypeVar("R_contra", bound=Record, contravariant=True)


class Announces(Protocol[R_contra]):
    """What is announced of records (``events.telling.Telling``)."""

    ensure: bulk.Last

    def note(self, record: R_contra) -> None:
        """The record may have taken a step."""

    def take(self, records: Sequence[R_contra]) -> tuple[list[dict[str, Any]], dict[UUID, int]]:
        """The events to be stored with these records, and how many there are of each."""

    def stored(self, counts: dict[UUID, int]) -> None:
        """They are stored."""

    def drop(self, record_id: UUID) -> int:
        """Forget those of a record; how many they were."""


class WriteBehind(Generic[R]):
    """Marks records of one table and writes them in batches with ``statement`` (``storage.bulk.upsert``).

    ``row`` gives a record's columns at the moment of writing, up to ``interval`` seconds later unless somebody waits
    for it (``written``). ``telling`` says what is announced of records: steps as they come, other changes when they
    are written, all of it with the rows. While PostgreSQL is away the marks are kept; a record that it refuses for
    good is dropped and said.
    """

    def __init__(
        self,
        database: Database,
        statement: TextClause,
        row: Callable[[R], dict[str, Any]],
        *,
        name: str,
        interval: float = INTERVAL_SECONDS,
        telling: Announces[R] | None = None,
    ) -> None:
        self._database = database
        self._statement = statement
        self._with_events = statement if telling is None else bulk.together(statement, last=telling.ensure)
        self._row = row
        self._telling = telling
        self._name = name
        self._interval = interval
        self._wanted = asyncio.Event()
        self._marked: dict[UUID, R] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """How many records wait to be written."""
        return len(self._marked)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"write-behind {self._name}")

    async def close(self, grace: float = 5.0) -> None:
        """Write what is left, then stop; says what could not be written."""
        await self.written(grace)
        if self._marked:
            log.error("records_not_written", table=self._name, records=len(self._marked))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def touch(self, record: R) -> None:
        """The record changed."""
        self._marked[record.id] = record
        if self._telling is not None:
            self._telling.note(record)
        self._idle.clear()
        self._wake.set()

    async def written(self, seconds: float = WRITTEN_SECONDS) -> None:
        """Return when what is marked was written, or after ``seconds``: for a request that reads the table next."""
        if self._marked:
            self._wanted.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    async def _run(self) -> None:
        pause = self._interval
        while True:
            await self._wake.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            self._wanted.clear()
            self._wake.clear()
            try:
                await self._write()
                pause = self._interval
            except Exception as error:  # noqa: BLE001 - whatever it is, what is marked stays marked
                if pause == self._interval:
                    log.error(
                        "write_behind_failed", table=self._name, error=repr(error), waiting=len(self._marked)
                    )
                pause = min(pause * 2, MAX_BACKOFF_SECONDS)
                self._wake.set()

    async def _write(self) -> None:
        while self._marked:
            batch = [self._marked.pop(key) for key in list(self._marked)[:BATCH]]
            try:
                await self._write_batch_or_each(batch)
            except BaseException:
                # what changed again meanwhile is marked already and newer
                self._marked = {record.id: record for record in batch} | self._marked
                raise
        self._idle.set()

    async def _write_batch_or_each(self, batch: list[R]) -> None:
        try:
            await self._write_batch(batch)
        except (DatabaseUnavailable, OSError, asyncio.CancelledError):
            raise
        except Exception as refused:
            if len(batch) == 1:
                if self._telling is not None and self._telling.drop(batch[0].id):
                    # the record itself may be in order
                    log.exception("events_refused", table=self._name, id=str(batch[0].id))
                    return await self._write_batch_or_each(batch)
                log.exception("record_refused", table=self._name, id=str(batch[0].id), error=repr(refused))
                return None
            log.warning("batch_refused", table=self._name, error=repr(refused), records=len(batch))
            for record in batch:
                await self._write_batch_or_each([record])
            return None

    async def _write_batch(self, batch: list[R]) -> None:
        rows = [self._row(record) for record in batch]
        events, counts = ([], {}) if self._telling is None else self._telling.take(batch)
        async with self._database.connect() as connection:
            if events:
                await bulk.run(connection, self._with_events, rows, events)
            else:
                await bulk.run(connection, self._statement, rows)
        if self._telling is not None:
            self._telling.stored(counts)
