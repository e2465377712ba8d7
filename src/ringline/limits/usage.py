"""How many of each resource that plans limit a customer has."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

# as ``billing.tiers`` names them: the table, and what counts of it besides not being deleted
_COUNTED: Final[dict[str, tuple[str, str]]] = {
    "extensions": ("extensions", ""),
    "agents": ("agents", ""),
    "queues": ("queues", ""),
    "conferences": ("conferences", ""),
    "trunks": ("trunks", ""),
    "virtual numbers": ("numbers", " AND type = 'virtual'"),
    "webhooks": ("webhooks", ""),
}
NOUNS: Final = tuple(_COUNTED)
_COUNTS: Final = ", ".join(
    f"(SELECT count(*) FROM {table} WHERE customer_id = :customer AND tm_delete IS NULL{more})"  # noqa: S608 - names of our own
    for table, more in _COUNTED.values()
)
_STATEMENT: Final = sa.text(f"SELECT {_COUNTS}")


async def counts(connection: AsyncConnection, customer_id: UUID) -> dict[str, int]:
    """So many there are, by noun."""
    row = (await connection.execute(_STATEMENT, {"customer": customer_id})).one()
    return dict(zip(NOUNS, map(int, row), strict=True))
