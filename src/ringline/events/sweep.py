"""Forgetting: events are kept for some days, and longer while somebody has still to be told of them."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog

from ringline.clock import Clock
from ringline.events.store import event_sequences, events
from ringline.storage import Database

log = structlog.get_logger(__name__)

ROWS = 5000
SEQUENCE_DAYS = 400.0
"""A resource that nothing was told of for so long begins to count at 1 again."""


class Sweep:
    """Deletes old events. ``needed`` are conditions on ``events`` under which one stays however old it is."""

    def __init__(self, database: Database, clock: Clock, keep_days: float) -> None:
        self.needed: list[sa.ColumnElement[bool]] = []
        self._database = database
        self._clock = clock
        self._keep = timedelta(days=keep_days)

    async def run(self) -> None:
        """Delete what is old, in portions, in the order in which it was published."""
        now = self._clock.now()
        before = now - self._keep
        cursor, all_old, deleted = 0, True, 0
        while all_old:
            portion = (
                sa.select(events.c.published, events.c.tm_create)
                .where(events.c.published > cursor)
                .order_by(events.c.published)
                .limit(ROWS)
                .subquery()
            )
            bounds = sa.select(
                sa.func.max(portion.c.published).label("last"),
                sa.func.bool_and(portion.c.tm_create < before).label("all_old"),
            )
            async with self._database.connect() as connection:
                last, all_old = (await connection.execute(bounds)).one()
                if last is None:
                    break
                old = (
                    sa.delete(events)
                    .where(events.c.published > cursor, events.c.published <= last)
                    .where(events.c.tm_create < before, *(sa.not_(condition) for condition in self.needed))
                )
                deleted += (await connection.execute(old)).rowcount
            cursor = last
        await self._forget_sequences(now - max(self._keep, timedelta(days=SEQUENCE_DAYS)))
        if deleted:
            log.info("events_swept", events=deleted)

    async def _forget_sequences(self, before: datetime) -> None:
        table = event_sequences.c
        silent = (
            sa.select(table.resource_id)
            .where(table.tm_update < before)
            .where(~sa.exists().where(events.c.resource_id == table.resource_id))
            .limit(ROWS)
        )
        count = ROWS
        while count == ROWS:
            async with self._database.connect() as connection:
                statement = sa.delete(event_sequences).where(table.resource_id.in_(silent))
                count = (await connection.execute(statement)).rowcount
