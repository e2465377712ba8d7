"""A small table held in memory, so that the path of an event or a request reads no database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Table, select

from ringline.storage import tenancy
from ringline.storage.database import Database, DatabaseUnavailable
from ringline.storage.listener import Following

log = structlog.get_logger(__name__)


class Entry(Protocol):
    """What a mirror can hold."""

    @property
    def id(self) -> UUID: ...


E = TypeVar("E", bound=Entry)

_REFRESH_RETRY = 1.0
_BATCH = 500
_PIECE = 2000


class Mirror(Generic[E]):
    """The rows of ``table`` without ``tm_delete``, followed through the channel ``ringline_<table>``.

    The channel's payload is the id of the row that changed (trigger ``ringline_notify``). While PostgreSQL is
    away the last known rows are served; after a reconnect all are read again. Lookups are plain dictionary
    reads, by id and by ``key``: something else that is unique among the live rows.
    """

    def __init__(
        self,
        database: Database,
        table: Table,
        build: Callable[[Any], E],
        key: Callable[[E], Hashable] | None = None,
        columns: Sequence[str] = (),
    ) -> None:
        """``columns`` are those that ``build`` needs, in its order; all when none are given."""
        self._database = database
        self._table = table
        wanted = [table.c[name] for name in columns] if columns else [*table.c]
        self._live = select(*wanted).where(table.c.tm_delete.is_(None))
        self._build = build
        self._key = key or (lambda entry: entry.id)
        self._rows: dict[UUID, E] = {}
        self._keyed: dict[Hashable, E] = {}
        self._changed: set[UUID] = set()
        self._refresher: asyncio.Task[None] | None = None
        self.watchers: list[Callable[[], None]] = []
        """Called after rows changed or may have changed. They must not block."""
        # One read at a time: an older answer must not be put over a newer one.
        self._reading = asyncio.Lock()
        self._listener = database.listener
        self._following: Following | None = None

    async def start(self) -> None:
        """Follow changes, and read all rows once. Raises ``DatabaseUnavailable``."""
        self._following = await self._database.follow(
            f"ringline_{self._table.name}", self._notified, self.reload
        )
        await self.reload()

    async def close(self) -> None:
        """Stop following; what is known stays readable."""
        if self._following is not None:
            await self._listener.leave(self._following)
        if self._refresher is not None:
            self._refresher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refresher

    def by_id(self, row_id: UUID) -> E | None:
        """The live row of this id."""
        return self._rows.get(row_id)

    def by_key(self, key: Hashable) -> E | None:
        """The live row of this key."""
        return self._keyed.get(key)

    def all(self) -> Iterable[E]:
        """All live rows, in no order."""
        return self._rows.values()

    async def reload(self) -> None:
        """Read everything again, and tell the watchers."""
        await self._read_all()
        self._tell()

    async def look(self) -> None:
        """Read everything again, and tell the watchers where anything had changed."""
        if await self._read_all():
            self._tell()

    async def _read_all(self) -> bool:
        self._changed.clear()
        with tenancy.across():
            return await self._read_pieces()

    async def _read_pieces(self) -> bool:
        async with self._reading:
            unseen = set(self._rows)
            changed = False
            async with self._database.connect() as connection:
                # piece by piece: a large table does not hold the event loop up
                piece = self._live.order_by(self._table.c.id).limit(_PIECE)
                last: UUID | None = None
                while True:
                    following = piece if last is None else piece.where(self._table.c.id > last)
                    rows = (await connection.execute(following)).all()
                    for entry in map(self._build, rows):
                        unseen.discard(entry.id)
                        if self._rows.get(entry.id) != entry:
                            self._put(entry)
                            changed = True
                        last = entry.id
                    if len(rows) < _PIECE:
                        break
            # what was made or deleted meanwhile is told, and read when this is over
            for gone in unseen:
                self._drop(gone)
        return changed or bool(unseen)

    async def refresh(self, row_id: UUID) -> None:
        """Read one row again: for the process that has just written it and wants to see it at once.

        The write is done by then, so a database that goes away in between is no error: the row is read after
        the reconnect.
        """
        try:
            with tenancy.across():
                await self._read([row_id])
        except DatabaseUnavailable as error:
            log.warning("mirror_refresh_failed", table=self._table.name, error=error.message)

    def _notified(self, payload: str) -> None:
        self._changed.add(UUID(payload))
        if self._refresher is None or self._refresher.done():
            self._refresher = asyncio.create_task(self._follow(), name=f"mirror {self._table.name}")

    async def _follow(self) -> None:
        while self._changed:
            batch = [self._changed.pop() for _ in range(min(len(self._changed), _BATCH))]
            try:
                await self._read(batch)
            except Exception as error:  # noqa: BLE001 - keep what is known, try again
                log.warning("mirror_refresh_failed", table=self._table.name, error=str(error))
                self._changed.update(batch)
                await asyncio.sleep(_REFRESH_RETRY)

    async def _read(self, ids: list[UUID]) -> None:
        live = self._live.where(self._table.c.id.in_(ids))
        async with self._reading:
            async with self._database.connect() as connection:
                rows = (await connection.execute(live)).all()
            found = {entry.id: entry for entry in map(self._build, rows)}
            for row_id in ids:
                entry = found.get(row_id)
                if entry is None:
                    self._drop(row_id)
                else:
                    self._put(entry)
        self._tell()

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher()

    def _put(self, entry: E) -> None:
        if entry.id in self._rows:
            self._drop(entry.id)
        self._rows[entry.id] = entry
        self._keyed[self._key(entry)] = entry

    def _drop(self, row_id: UUID) -> None:
        known = self._rows.pop(row_id, None)
        # What was deleted and made again already stands under its key with the new id.
        if known is not None and self._keyed.get(self._key(known)) is known:
            del self._keyed[self._key(known)]
