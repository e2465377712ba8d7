"""The queries of sockets: what came for these customers, and where a reader left off."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.events.models import Published
from ringline.events.reader import build
from ringline.events.store import events

_RANDOM_BITS = 80
"""Those of a UUID of version 7 that do not tell the time."""
_SLACK_SECONDS = 60.0
_TIME_ORDERED = 7


async def of_customers(
    connection: AsyncConnection,
    customer_ids: Collection[UUID],
    published: int,
    limit: int,
    resources: Collection[str] = (),
) -> list[Published]:
    """Up to ``limit`` events of these customers (and kinds of resources, if any are named) after the number."""
    statement = sa.select(events).where(
        events.c.published > published,
        events.c.customer_id == sa.any_(sa.literal(list(customer_ids), sa.ARRAY(sa.Uuid()))),
    )
    if resources:
        statement = statement.where(events.c.resource.in_(resources))
    rows = await connection.execute(statement.order_by(events.c.published).limit(limit))
    return [build(row) for row in rows]


async def last(connection: AsyncConnection, customer_id: UUID) -> Published | None:
    """The customer's newest event."""
    statement = (
        sa.select(events)
        .where(events.c.customer_id == customer_id, events.c.published.is_not(None))
        .order_by(events.c.published.desc())
        .limit(1)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else build(row)


async def kept_after(connection: AsyncConnection, customer_id: UUID, event_id: UUID) -> Published | None:
    """The first event of the customer that is kept of those since about the time that the id of another one tells.

    Of all that are kept where it does not tell. The clocks of the processes that made the ids may differ, and a
    transaction may take a while.
    """
    statement = sa.select(events).where(events.c.customer_id == customer_id, events.c.published.is_not(None))
    if event_id.version == _TIME_ORDERED:
        seconds = max((event_id.int >> _RANDOM_BITS) / 1000 - _SLACK_SECONDS, 0)
        statement = statement.where(events.c.tm_create >= datetime.fromtimestamp(seconds, UTC))
    row = (await connection.execute(statement.order_by(events.c.published).limit(1))).first()
    return None if row is None else build(row)
