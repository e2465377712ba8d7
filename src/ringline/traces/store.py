"""The table of traces and every query on it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import bulk, metadata
from ringline.storage.types import Timestamp, id_column

sip_traces = sa.Table(
    "sip_traces",
    metadata,
    # the call's
    id_column(),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("messages", sa.Integer, nullable=False),
    sa.Column("dropped", sa.Integer, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    # ``traces.message.pack``; it is compressed already
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("tm_create", Timestamp, nullable=False),
    sa.Index("ix_sip_traces_age", "tm_create"),
)

_COLUMNS = [column.name for column in sip_traces.c]
UPSERT = bulk.upsert(sip_traces, _COLUMNS, [name for name in _COLUMNS if name not in ("id", "customer_id")])
"""Stores traces. ``data`` is given as PostgreSQL writes bytes: ``\\x`` and hexadecimal digits."""


async def several(
    connection: AsyncConnection, customer_id: UUID, call_ids: Iterable[UUID]
) -> dict[UUID, Any]:
    """The traces of a customer's calls, by call."""
    table = sip_traces.c
    statement = sa.select(table.id, table.dropped, table.data).where(
        table.id.in_(list(call_ids)), table.customer_id == customer_id
    )
    return {UUID(str(row.id)): row for row in await connection.execute(statement)}


async def drop_older(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete traces made before a moment, the oldest first; how many there were."""
    chosen = (
        sa.select(sip_traces.c.id)
        .where(sip_traces.c.tm_create < before)
        .order_by(sip_traces.c.tm_create)
        .limit(limit)
    )
    return (await connection.execute(sa.delete(sip_traces).where(sip_traces.c.id.in_(chosen)))).rowcount


async def drop_beyond(connection: AsyncConnection, size: int, limit: int) -> int:
    """Delete what is more than ``size`` bytes when the newest are counted first; how many traces there were."""
    table = sip_traces.c
    total = sa.func.sum(table.size).over(order_by=(table.tm_create.desc(), table.id.desc())).label("total")
    counted = sa.select(table.id, table.tm_create, total).subquery()
    chosen = sa.select(counted.c.id).where(counted.c.total > size).order_by(counted.c.tm_create).limit(limit)
    return (await connection.execute(sa.delete(sip_traces).where(table.id.in_(chosen)))).rowcount


async def total_bytes(connection: AsyncConnection) -> int:
    """The bytes of all traces."""
    return int(await connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(sip_traces.c.size), 0))) or 0)
