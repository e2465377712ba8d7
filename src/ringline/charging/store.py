"""Queries of charging: records that wait to be settled, and holds whose calls are over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing.tables import billing_accounts, billing_holds
from ringline.calls.store import calls
from ringline.cdrs import tables
from ringline.cdrs.tables import cdrs
from ringline.storage import bulk

BATCH: Final = 500
_WAITING: Final = (
    sa.select(
        *(
            cdrs.c[name]
            for name in (
                *(
                    "id",
                    "customer_id",
                    "billing_account_id",
                    "billsec",
                    "billable_units",
                    "bounded",
                    "cost_type",
                ),
                *("rate_seconds", "rate_token", "rate_credit", "rate_minimum", "rate_rounding"),
                *("tm_create", "tm_progressing", "tm_hangup"),
            )
        )
    )
    .where(cdrs.c.tm_settle.is_(None), cdrs.c.id.not_in(sa.bindparam("skipped", expanding=True)))
    .order_by(cdrs.c.tm_create)
    .limit(BATCH)
    .with_for_update(skip_locked=True)
)
_ONE: Final = _WAITING.where(cdrs.c.id == sa.bindparam("cdr_id"))


async def waiting(connection: AsyncConnection, skipped: Iterable[UUID]) -> list[sa.Row[Any]]:
    """Records that nobody has settled and nobody else is settling, locked until the commit; oldest first."""
    return list((await connection.execute(_WAITING, {"skipped": list(skipped)})).all())


async def waiting_one(connection: AsyncConnection, cdr_id: UUID) -> list[sa.Row[Any]]:
    """The same for one record."""
    return list((await connection.execute(_ONE, {"skipped": [], "cdr_id": cdr_id})).all())


async def settled(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Note what was charged."""
    await bulk.run(connection, tables.SETTLE, rows)


async def record(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Store records that are not there yet."""
    await bulk.run(connection, tables.INSERT, rows)


async def known_accounts(connection: AsyncConnection, account_ids: Iterable[UUID]) -> set[UUID]:
    """Those of the accounts that exist."""
    statement = sa.select(billing_accounts.c.id).where(billing_accounts.c.id.in_(set(account_ids)))
    return {UUID(str(found)) for found in (await connection.scalars(statement)).all()}


async def held_for(
    connection: AsyncConnection, call_ids: Sequence[UUID]
) -> tuple[dict[UUID, int], dict[UUID, UUID]]:
    """Units that are held for calls, and the accounts whose money that is."""
    held = billing_holds.c
    statement = sa.select(held.reference_id, held.units, held.account_id).where(
        held.reference_id.in_(call_ids)
    )
    rows = (await connection.execute(statement)).all()
    return (
        {UUID(str(row.reference_id)): row.units for row in rows},
        {UUID(str(row.reference_id)): UUID(str(row.account_id)) for row in rows},
    )


class Recorded(Enum):
    """Whether a call has its record."""

    NOT = "not"
    WAITS = "waits"
    """To be settled."""
    SETTLED = "settled"


async def stale(
    connection: AsyncConnection, most: int = BATCH
) -> list[tuple[UUID, sa.Row[Any] | None, Recorded]]:
    """Holds that have expired: what they are for, its row where it is a call, and how far its record is."""
    statement = (
        sa.select(
            billing_holds.c.reference_id,
            calls,
            cdrs.c.id.label("cdr_id"),
            cdrs.c.tm_settle.label("cdr_settled"),
        )
        .select_from(
            billing_holds.outerjoin(calls, calls.c.id == billing_holds.c.reference_id).outerjoin(
                cdrs, cdrs.c.id == billing_holds.c.reference_id
            )
        )
        .where(billing_holds.c.tm_expire < sa.func.now())
        .order_by(billing_holds.c.tm_expire)
        .limit(most)
    )
    rows = (await connection.execute(statement)).all()
    return [
        (UUID(str(row.reference_id)), row if row.id is not None else None, _recorded(row)) for row in rows
    ]


def _recorded(row: sa.Row[Any]) -> Recorded:
    if row.cdr_id is None:
        return Recorded.NOT
    return Recorded.WAITS if row.cdr_settled is None else Recorded.SETTLED


async def keep(connection: AsyncConnection, call_ids: Sequence[UUID]) -> None:
    """Holds of calls that last live on."""
    await connection.execute(
        sa.update(billing_holds)
        .where(billing_holds.c.reference_id.in_(call_ids))
        .values(tm_expire=sa.func.now() + sa.text("interval '10 minutes'"))
    )
