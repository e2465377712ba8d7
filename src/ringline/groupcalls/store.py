"""The table of groupcalls and every query on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import bulk, metadata
from ringline.storage.home import home_column, is_here
from ringline.storage.types import Json, Timestamp, id_column, text_column

_uuids = postgresql.ARRAY(sa.Uuid())
_zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")


def _reference(name: str) -> sa.Column[UUID]:
    """A UUID whose 'none' is the zero UUID, as the API shows it."""
    return sa.Column(name, sa.Uuid(), nullable=False, server_default=_zero)


groupcalls = sa.Table(
    "groupcalls",
    metadata,
    id_column(),
    sa.Column("customer_id", sa.Uuid(), nullable=False),
    _reference("flow_id"),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("source", Json, nullable=False),
    sa.Column("destinations", Json, nullable=False),
    _reference("master_call_id"),
    _reference("master_groupcall_id"),
    text_column("ring_method"),
    text_column("answer_method"),
    _reference("answer_call_id"),
    sa.Column("call_ids", _uuids, nullable=False, server_default=sa.text("'{}'")),
    _reference("answer_groupcall_id"),
    sa.Column("groupcall_ids", _uuids, nullable=False, server_default=sa.text("'{}'")),
    text_column("anonymous"),
    sa.Column("dial_index", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("tm_create", Timestamp, nullable=False),
    sa.Column("tm_hangup", Timestamp, nullable=True),
    sa.Column("tm_update", Timestamp, nullable=True),
    sa.Column("tm_delete", Timestamp, nullable=True),
    home_column(),
    sa.Index("ix_groupcalls_customer_page", "customer_id", sa.text("tm_create DESC"), sa.text("id DESC")),
    sa.Index("ix_groupcalls_unfinished", "status", postgresql_where=sa.text("status <> 'hangup'")),
)

_COLUMNS = [column.name for column in groupcalls.c if column.name != "asterisk"]
_CHANGING = [
    "status",
    "answer_call_id",
    "call_ids",
    "answer_groupcall_id",
    "groupcall_ids",
    "dial_index",
    "tm_hangup",
    "tm_update",
]
_insert = bulk.insert(groupcalls, _COLUMNS)
UPSERT = bulk.upsert(groupcalls, _COLUMNS, _CHANGING, keep=["tm_delete"])
"""Stores groupcalls as they stand, new or known."""


async def insert(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Store new groupcalls before anything is sent for them. Raises ``IntegrityError`` for one that is there."""
    await bulk.run(connection, _insert, rows)


async def get(
    connection: AsyncConnection, customer_id: UUID, groupcall_id: UUID, *, deleted: bool = False
) -> sa.Row[Any] | None:
    """One groupcall of a customer; one that was ``deleted`` only where that is asked for."""
    statement = sa.select(groupcalls).where(
        groupcalls.c.id == groupcall_id, groupcalls.c.customer_id == customer_id
    )
    if not deleted:
        statement = statement.where(groupcalls.c.tm_delete.is_(None))
    return (await connection.execute(statement)).first()


def listing(customer_id: UUID, filters: dict[str, str]) -> sa.Select[Any]:
    """The customer's groupcalls, to be paged by the caller. ``filters``: status."""
    statement = sa.select(groupcalls).where(
        groupcalls.c.customer_id == customer_id, groupcalls.c.tm_delete.is_(None)
    )
    for name, value in filters.items():
        statement = statement.where(groupcalls.c[name] == value)
    return statement


async def unfinished(connection: AsyncConnection) -> Sequence[sa.Row[Any]]:
    """Every groupcall without a final record, oldest first: a master before those within it."""
    statement = (
        sa.select(groupcalls)
        .where(groupcalls.c.status != "hangup", is_here(groupcalls))
        .order_by(groupcalls.c.tm_create, groupcalls.c.id)
    )
    return (await connection.execute(statement)).all()


async def mark_deleted(
    connection: AsyncConnection, customer_id: UUID, groupcall_id: UUID, now: datetime
) -> sa.Row[Any]:
    """Take a groupcall out of sight; its row then."""
    statement = sa.update(groupcalls).where(
        groupcalls.c.id == groupcall_id, groupcalls.c.customer_id == customer_id
    )
    statement = statement.values(tm_delete=now, tm_update=now)
    row: sa.Row[Any] = (await connection.execute(statement.returning(groupcalls))).one()
    return row
