"""All rates in memory, followed: a price is looked up without a query."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import structlog
from sqlalchemy import Row, select

from ringline.billing.rates import Rate, Rates
from ringline.billing.tables import rates
from ringline.storage import Database
from ringline.storage.listener import Following

log = structlog.get_logger(__name__)

CHANNEL: Final = "ringline_rates"
_PIECE: Final = 1_000
_RETRY: Final = 1.0
COLUMNS: Final = (
    *(
        "revision",
        "id",
        "kind",
        "prefix",
        "credit_per_unit",
        "token_per_unit",
        "unit_seconds",
        "minimum_units",
    ),
    *("rounding", "tm_start", "tm_end"),
)
_NEWER = select(*(rates.c[name] for name in COLUMNS)).order_by(rates.c.revision).limit(_PIECE)


class RateBook(Rates):
    """The table ``rates``. What changes is read by its ``revision``: a hundred thousand rates are not read again.

    While PostgreSQL is away the last known ones hold.
    """

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._revision = 0
        self._stale = False
        self._reading = asyncio.Lock()
        self._following: Following | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Follow changes, and read all rates once. Raises ``DatabaseUnavailable``."""
        self._following = await self._database.follow(CHANNEL, self._told, self.read)
        await self.read()

    async def close(self) -> None:
        """Stop following; what is known stays readable."""
        if self._following is not None:
            await self._database.listener.leave(self._following)
            self._following = None
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def read(self) -> None:
        """Read what is newer than what is known."""
        async with self._reading, self._database.connect() as connection:
            while True:
                newer = _NEWER.where(rates.c.revision > self._revision)
                rows = (await connection.execute(newer)).all()
                for row in rows:
                    self.put(rate_of(row))
                if rows:
                    self._revision = rows[-1].revision
                if len(rows) < _PIECE:
                    return
                await asyncio.sleep(0)

    def _told(self, _payload: str) -> None:
        self._stale = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow(), name="rates")

    async def _follow(self) -> None:
        while self._stale:
            self._stale = False
            try:
                await self.read()
            except Exception as error:  # noqa: BLE001 - keep what is known, try again
                log.warning("rates_not_read", error=str(error))
                self._stale = True
                await asyncio.sleep(_RETRY)


def rate_of(row: Row[Any]) -> Rate:
    """A row of the table as a rate."""
    return Rate(
        id=row.id,
        kind=row.kind,
        prefix=row.prefix,
        credit_per_unit=row.credit_per_unit,
        token_per_unit=row.token_per_unit,
        unit_seconds=row.unit_seconds,
        minimum_units=row.minimum_units,
        rounding=row.rounding,
        tm_start=row.tm_start,
        tm_end=row.tm_end,
    )
