"""Reading what was published, in its order."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.events.models import Event, Published
from ringline.events.store import events


def build(row: Any) -> Published:
    """The event of a row."""
    # asyncpg has a UUID class of its own
    event = Event(
        id=UUID(int=row.id.int),
        customer_id=UUID(int=row.customer_id.int),
        type=row.type,
        resource=row.resource,
        resource_id=UUID(int=row.resource_id.int),
        activeflow_id=UUID(int=row.activeflow_id.int),
        data=row.data,
        tm_create=row.tm_create,
    )
    return Published(event, row.sequence, row.published)


async def after(
    connection: AsyncConnection, customer_id: UUID | None, published: int, limit: int
) -> list[Published]:
    """Up to ``limit`` events published after the number, the oldest first; of all customers when none is given."""
    statement = sa.select(events).where(events.c.published > published)
    if customer_id is not None:
        statement = statement.where(events.c.customer_id == customer_id)
    rows = await connection.execute(statement.order_by(events.c.published).limit(limit))
    return [build(row) for row in rows]


async def by_id(connection: AsyncConnection, customer_id: UUID, event_id: UUID) -> Published | None:
    """The customer's event of this id: to go on from there. ``None`` for one that is unknown, foreign, no longer
    kept, or not published yet.
    """
    statement = sa.select(events).where(
        events.c.id == event_id, events.c.customer_id == customer_id, events.c.published.is_not(None)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else build(row)


async def newest(connection: AsyncConnection) -> int:
    """The number of the last event that was published, 0 when there was none: whoever wants what comes from now on
    begins behind it.
    """
    return int(await connection.scalar(sa.select(sa.func.max(events.c.published))) or 0)


async def oldest(connection: AsyncConnection, customer_id: UUID) -> int | None:
    """The number of the customer's oldest event that is still kept."""
    statement = sa.select(sa.func.min(events.c.published)).where(events.c.customer_id == customer_id)
    found: int | None = await connection.scalar(statement)
    return found
