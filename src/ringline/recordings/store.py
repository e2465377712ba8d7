"""The table of recordings and every query on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import bulk, metadata
from ringline.storage.home import home_column, is_here
from ringline.storage.types import Timestamp, id_column, text_column, tm_columns

_zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
_nothing = sa.text("0")

recordings = sa.Table(
    "recordings",
    metadata,
    id_column(),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("activeflow_id", sa.Uuid, nullable=False, server_default=_zero),
    sa.Column("reference_type", sa.Text, nullable=False),
    sa.Column("reference_id", sa.Uuid, nullable=False),
    text_column("target"),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("format", sa.Text, nullable=False),
    sa.Column("end_of_silence", sa.Integer, nullable=False, server_default=_nothing),
    sa.Column("end_of_key", sa.Text, nullable=False, server_default="none"),
    sa.Column("max_seconds", sa.Integer, nullable=False, server_default=_nothing),
    sa.Column("on_end_flow_id", sa.Uuid, nullable=False, server_default=_zero),
    text_column("reason"),
    text_column("detail"),
    sa.Column("duration_ms", sa.Integer, nullable=False, server_default=_nothing),
    sa.Column("size", sa.BigInteger, nullable=False, server_default=_nothing),
    sa.Column("tm_start", Timestamp, nullable=True),
    sa.Column("tm_end", Timestamp, nullable=True),
    *tm_columns(),
    home_column(),
    sa.Index(
        "ix_recordings_customer_page",
        "customer_id",
        sa.text("tm_create DESC"),
        sa.text("id DESC"),
        postgresql_where=sa.text("tm_delete IS NULL"),
    ),
    sa.Index("ix_recordings_reference", "reference_id"),
    sa.Index("ix_recordings_unfinished", "status", postgresql_where=sa.text("status <> 'ended'")),
    sa.Index(
        "ix_recordings_kept",
        "tm_end",
        postgresql_where=sa.text("status = 'ended' AND tm_delete IS NULL"),
    ),
)

_IMMUTABLE = {"id", "customer_id", "activeflow_id", "reference_type", "reference_id", "tm_create"}
_COLUMNS = [column.name for column in recordings.c if column.name != "asterisk"]
UPSERT = bulk.upsert(
    recordings,
    _COLUMNS,
    [name for name in _COLUMNS if name not in _IMMUTABLE | {"tm_delete"}],
    keep=["tm_delete"],
)
"""Stores recordings as they stand, new or known."""


async def get(connection: AsyncConnection, customer_id: UUID, recording_id: UUID) -> sa.Row[Any] | None:
    """One recording of a customer that was not deleted."""
    result = await connection.execute(
        sa.select(recordings).where(
            recordings.c.id == recording_id,
            recordings.c.customer_id == customer_id,
            recordings.c.tm_delete.is_(None),
        )
    )
    return result.first()


def listing(customer_id: UUID, filters: Mapping[str, Any]) -> sa.Select[Any]:
    """The customer's recordings, to be paged by the caller."""
    statement = sa.select(recordings).where(
        recordings.c.customer_id == customer_id, recordings.c.tm_delete.is_(None)
    )
    for name, value in filters.items():
        statement = statement.where(recordings.c[name] == value)
    return statement


async def unfinished(connection: AsyncConnection) -> list[sa.Row[Any]]:
    """Recordings that another life of the controller began and did not finish, deleted ones too."""
    result = await connection.execute(
        sa.select(recordings).where(recordings.c.status != "ended", is_here(recordings))
    )
    return list(result)


async def mark_deleted(
    connection: AsyncConnection, recording_ids: Iterable[UUID], now: datetime
) -> list[sa.Row[Any]]:
    """Take recordings out of sight; their rows then."""
    statement = (
        sa.update(recordings)
        .where(recordings.c.id.in_(list(recording_ids)), recordings.c.tm_delete.is_(None))
        .values(tm_delete=now, tm_update=now)
        .returning(recordings)
    )
    return list(await connection.execute(statement))


async def older(connection: AsyncConnection, than: datetime, limit: int) -> list[UUID]:
    """Finished recordings that ended before a moment, the oldest first."""
    result = await connection.execute(_kept().where(recordings.c.tm_end < than).limit(limit))
    return [row.id for row in result]


async def oldest(connection: AsyncConnection, limit: int) -> list[tuple[UUID, int]]:
    """Finished recordings with their sizes, the oldest first."""
    return [(row.id, row.size) for row in await connection.execute(_kept().limit(limit))]


async def total_bytes(connection: AsyncConnection) -> int:
    """What the files of finished recordings take."""
    result = await connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(recordings.c.size), 0)).where(
            recordings.c.status == "ended", recordings.c.tm_delete.is_(None)
        )
    )
    return int(result.scalar_one())


async def known(connection: AsyncConnection, recording_ids: Iterable[UUID]) -> set[UUID]:
    """Those of the given ids that belong to a recording which was not deleted."""
    result = await connection.execute(
        sa.select(recordings.c.id).where(
            recordings.c.id.in_(list(recording_ids)), recordings.c.tm_delete.is_(None)
        )
    )
    return {row.id for row in result}


def _kept() -> sa.Select[Any]:
    return (
        sa.select(recordings.c.id, recordings.c.size)
        .where(recordings.c.status == "ended", recordings.c.tm_delete.is_(None))
        .order_by(recordings.c.tm_end)
    )
