"""The statements that every customer's resource needs: list, read, change, delete; never across customers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection


def live(table: Table, customer_id: UUID) -> Select[Any]:
    """The customer's rows that were not deleted."""
    return select(table).where(table.c.customer_id == customer_id, table.c.tm_delete.is_(None))


async def one(connection: AsyncConnection, table: Table, customer_id: UUID, row_id: UUID) -> Row[Any] | None:
    """One of the customer's live rows; nothing for a foreign, deleted or unknown one."""
    row: Row[Any] | None = (
        await connection.execute(live(table, customer_id).where(table.c.id == row_id))
    ).first()
    return row


async def change(
    connection: AsyncConnection, table: Table, customer_id: UUID, row_id: UUID, values: dict[str, Any]
) -> Row[Any] | None:
    """Set ``values`` in one of the customer's live rows and return it as it is then."""
    statement = (
        update(table)
        .where(table.c.id == row_id, table.c.customer_id == customer_id, table.c.tm_delete.is_(None))
        .values(values)
        .returning(table)
    )
    row: Row[Any] | None = (await connection.execute(statement)).first()
    return row
