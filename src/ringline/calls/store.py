"""The table of calls and every query on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import bulk, metadata
from ringline.storage.home import home_column, is_here

_uuids = postgresql.ARRAY(sa.Uuid())
_zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
_empty = sa.text("''")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False, server_default=_empty)


def _reference(name: str) -> sa.Column[UUID]:
    return sa.Column(name, sa.Uuid(), nullable=False, server_default=_zero)


def _moment(name: str, *, nullable: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


calls = sa.Table(
    "calls",
    metadata,
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("customer_id", sa.Uuid(), nullable=False),
    _reference("flow_id"),
    _reference("activeflow_id"),
    _text("type"),
    _reference("master_call_id"),
    sa.Column("chained_call_ids", _uuids, nullable=False, server_default=sa.text("'{}'")),
    _reference("recording_id"),
    sa.Column("recording_ids", _uuids, nullable=False, server_default=sa.text("'{}'")),
    _reference("groupcall_id"),
    sa.Column("source", postgresql.JSONB, nullable=False),
    sa.Column("destination", postgresql.JSONB, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("direction", sa.String, nullable=False),
    _text("mute_direction"),
    *(
        sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())
        for name in ("hold", "moh", "silence")
    ),
    sa.Column("anonymous", sa.Boolean, nullable=False, server_default=sa.false()),
    _text("channel_id"),
    _text("sip_call_id"),
    _text("hangup_by"),
    _text("hangup_reason"),
    sa.Column("hangup_cause", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("hangup_sip_code", sa.Integer, nullable=False, server_default=sa.text("0")),
    _text("hangup_detail"),
    sa.Column("failures", postgresql.JSONB, nullable=False, server_default=sa.text("'[]'")),
    _moment("tm_create", nullable=False),
    _moment("tm_dialing"),
    _moment("tm_ringing"),
    _moment("tm_progressing"),
    _moment("tm_hangup"),
    _moment("tm_update"),
    _moment("tm_delete"),
    home_column(),
    sa.Index("ix_calls_customer_page", "customer_id", sa.text("tm_create DESC"), sa.text("id DESC")),
    sa.Index("ix_calls_unfinished", "status", postgresql_where=sa.text("status <> 'hangup'")),
)

_IMMUTABLE = {"id", "customer_id", "tm_create", "source", "destination", "direction", "type"}
_COLUMNS = [column.name for column in calls.c if column.name != "asterisk"]
_insert = bulk.insert(calls, _COLUMNS)
UPSERT = bulk.upsert(
    calls,
    _COLUMNS,
    [name for name in _COLUMNS if name not in _IMMUTABLE | {"tm_delete"}],
    keep=["tm_delete"],
)
"""Stores calls as they stand, new or known: the last write of a call is its whole truth."""


async def insert(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Store new calls before anything is sent for them. Raises ``IntegrityError`` where one is stored already."""
    await bulk.run(connection, _insert, rows)


async def get(connection: AsyncConnection, customer_id: UUID, call_id: UUID) -> sa.Row[Any] | None:
    """One call of a customer that was not deleted."""
    result = await connection.execute(
        sa.select(calls).where(
            calls.c.id == call_id, calls.c.customer_id == customer_id, calls.c.tm_delete.is_(None)
        )
    )
    return result.first()


def listing(customer_id: UUID, filters: dict[str, str]) -> sa.Select[Any]:
    """The customer's calls, to be paged by the caller. ``filters``: status, direction, hangup_reason."""
    statement = sa.select(calls).where(calls.c.customer_id == customer_id, calls.c.tm_delete.is_(None))
    for name, value in filters.items():
        statement = statement.where(calls.c[name] == value)
    return statement


async def mark_deleted(
    connection: AsyncConnection, customer_id: UUID, call_id: UUID, now: datetime
) -> sa.Row[Any]:
    """Take a call out of sight; the row as it is then."""
    statement = (
        sa.update(calls)
        .where(calls.c.id == call_id, calls.c.customer_id == customer_id)
        .values(tm_delete=now, tm_update=now)
    )
    row: sa.Row[Any] = (await connection.execute(statement.returning(calls))).one()
    return row


async def several(
    connection: AsyncConnection, customer_id: UUID, call_ids: Iterable[UUID]
) -> list[sa.Row[Any]]:
    """The customer's calls with these ids, deleted ones too."""
    result = await connection.execute(
        sa.select(calls).where(calls.c.id.in_(list(call_ids)), calls.c.customer_id == customer_id)
    )
    return list(result)


async def unfinished(connection: AsyncConnection) -> list[sa.Row[Any]]:
    """Every call here without a final record."""
    statement = sa.select(calls).where(calls.c.status != "hangup", is_here(calls))
    return list(await connection.execute(statement))


async def final_among(connection: AsyncConnection, call_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the calls that have their final record."""
    statement = sa.select(calls.c.id).where(calls.c.id.in_(call_ids), calls.c.status == "hangup")
    return {UUID(str(found)) for found in await connection.scalars(statement)}


async def finish_lost(
    connection: AsyncConnection, now: datetime, detail: str, call_ids: Iterable[UUID] | None = None
) -> list[sa.Row[Any]]:
    """Make the final record of calls that nobody will finish: those given, or all that have none. Their rows then."""
    chosen = sa.true() if call_ids is None else calls.c.id.in_(list(call_ids))
    result = await connection.execute(
        sa.update(calls)
        .where(chosen, calls.c.status != "hangup")
        .values(
            status="hangup",
            hangup_by="local",
            hangup_reason="failed",
            hangup_detail=detail,
            tm_hangup=now,
            tm_update=now,
        )
        .returning(calls)
    )
    return list(result)
