"""The table of transfers and every query on it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import bulk, metadata
from ringline.storage.home import home_column, is_here

_zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False, server_default=sa.text("''"))


def _reference(name: str) -> sa.Column[UUID]:
    return sa.Column(name, sa.Uuid(), nullable=False, server_default=_zero)


def _moment(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("customer_id", sa.Uuid(), nullable=False),
    _text("type"),
    _text("status"),
    _text("detail"),
    _reference("transferer_call_id"),
    _reference("transferred_call_id"),
    sa.Column("transferee_addresses", postgresql.JSONB, nullable=False),
    _reference("transferee_call_id"),
    _reference("groupcall_id"),
    _reference("confbridge_id"),
    _moment("tm_create", nullable=False),
    _moment("tm_update"),
    _moment("tm_delete"),
    home_column(),
    sa.Index("ix_transfers_customer_page", "customer_id", sa.text("tm_create DESC"), sa.text("id DESC")),
    sa.Index(
        "ix_transfers_unfinished",
        "status",
        postgresql_where=sa.text("status in ('dialing', 'consulting')"),
    ),
)

UNFINISHED = ("dialing", "consulting")
_COLUMNS = [column.name for column in transfers.c if column.name != "asterisk"]
_insert = bulk.insert(transfers, _COLUMNS)
UPSERT = bulk.upsert(
    transfers, _COLUMNS, ["status", "detail", "transferee_call_id", "tm_update"], keep=["tm_delete"]
)
"""Stores transfers as they stand, new or known."""


async def insert(connection: AsyncConnection, row: dict[str, Any]) -> None:
    """Store a transfer before anything is done for it. Raises ``IntegrityError`` where it is stored already."""
    await bulk.run(connection, _insert, [row])


async def get(connection: AsyncConnection, customer_id: UUID, transfer_id: UUID) -> sa.Row[Any] | None:
    """One transfer of a customer that was not deleted."""
    result = await connection.execute(
        sa.select(transfers).where(
            transfers.c.id == transfer_id,
            transfers.c.customer_id == customer_id,
            transfers.c.tm_delete.is_(None),
        )
    )
    return result.first()


def listing(customer_id: UUID) -> sa.Select[Any]:
    """The customer's transfers, to be paged by the caller."""
    return sa.select(transfers).where(transfers.c.customer_id == customer_id, transfers.c.tm_delete.is_(None))


async def finish_interrupted(connection: AsyncConnection, now: datetime, detail: str) -> list[sa.Row[Any]]:
    """Make the final record of transfers that nobody will finish; their rows then."""
    statement = (
        sa.update(transfers)
        .where(transfers.c.status.in_(UNFINISHED), is_here(transfers))
        .values(status="failed", detail=detail, tm_update=now)
        .returning(transfers)
    )
    return list(await connection.execute(statement))
