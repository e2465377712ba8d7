"""The table of what customers may dial. A customer without a row, or without a list in it, has the defaults."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import metadata, types

outbound_configs = sa.Table(
    "outbound_configs",
    metadata,
    types.id_column(),
    types.customer_column(),
    types.text_column("name"),
    types.text_column("detail"),
    # null: the customer's own country
    sa.Column("destination_whitelist", types.Json, nullable=True),
    # of calls to SIP addresses, PCMU,PCMA; empty: all
    types.text_column("codecs"),
    # 0 is the installation's
    sa.Column("max_calls", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("calls_per_second", sa.Integer, nullable=False, server_default=sa.text("0")),
    *types.tm_columns(),
)
sa.Index(
    "uq_outbound_configs_customer_id",
    outbound_configs.c.customer_id,
    unique=True,
    postgresql_where=outbound_configs.c.tm_delete.is_(None),
)


async def ensure(connection: AsyncConnection, customer_id: UUID, now: datetime, **values: Any) -> sa.Row[Any]:
    """The customer's row; one is made, of ``values``, where there is none."""
    await connection.execute(
        insert(outbound_configs)
        .values(id=uuid4(), customer_id=customer_id, tm_create=now, **values)
        .on_conflict_do_nothing(
            index_elements=["customer_id"], index_where=outbound_configs.c.tm_delete.is_(None)
        )
    )
    row: sa.Row[Any] = (await connection.execute(_own(customer_id))).one()
    return row


async def change(connection: AsyncConnection, customer_id: UUID, values: dict[str, Any]) -> sa.Row[Any]:
    """Set ``values`` in the customer's row, which is there, and return it as it is then."""
    statement = (
        sa.update(outbound_configs)
        .where(outbound_configs.c.customer_id == customer_id, outbound_configs.c.tm_delete.is_(None))
        .values(values)
        .returning(outbound_configs)
    )
    row: sa.Row[Any] = (await connection.execute(statement)).one()
    return row


def _own(customer_id: UUID) -> sa.Select[Any]:
    return sa.select(outbound_configs).where(
        outbound_configs.c.customer_id == customer_id, outbound_configs.c.tm_delete.is_(None)
    )
