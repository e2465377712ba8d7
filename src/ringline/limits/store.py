"""The table of limits that were set for single customers."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import metadata, types


def _limit(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0"))


customer_limits = sa.Table(
    "customer_limits",
    metadata,
    types.id_column(),
    types.customer_column(),
    # 0 is the installation's
    _limit("requests_per_second"),
    _limit("requests_burst"),
    _limit("waiting_calls"),
    *types.tm_columns(),
)
sa.Index(
    "uq_customer_limits_customer_id",
    customer_limits.c.customer_id,
    unique=True,
    postgresql_where=customer_limits.c.tm_delete.is_(None),
)


async def put(
    connection: AsyncConnection, customer_id: UUID, now: datetime, values: dict[str, int]
) -> sa.Row[Any]:
    """Set ``values`` for the customer; the row as it is then."""
    statement = (
        insert(customer_limits)
        .values(id=uuid4(), customer_id=customer_id, tm_create=now, **values)
        .on_conflict_do_update(
            index_elements=["customer_id"],
            index_where=customer_limits.c.tm_delete.is_(None),
            set_={**values, "tm_update": now},
        )
        .returning(customer_limits)
    )
    row: sa.Row[Any] = (await connection.execute(statement)).one()
    return row
