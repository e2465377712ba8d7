"""Holds: money that is promised to something that goes on, so that nothing else is paid with it.

A hold is of whole units of a rate: as many of them by tokens as there are, the rest by credit. Whoever holds takes
more in time, and settles in the end: the hold is released and what was used is charged, in one transaction. All of it
under the lock of the account's row, so that processes beside each other cannot promise the same money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import ledger
from ringline.billing.ledger import Account, Charge, Posted
from ringline.billing.rates import Rate
from ringline.billing.tables import billing_accounts, billing_holds
from ringline.http import utc_now
from ringline.storage import bulk

LIFE: Final = timedelta(minutes=10)
"""How long a hold is good for unless its owner takes more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Units of ``rate`` that are to be held for ``reference_id`` altogether; below ``least`` they are of no use."""

    reference_id: UUID
    account_id: UUID
    rate: Rate
    units: int
    least: int = 1


@dataclass(frozen=True, slots=True)
class Held:
    """What is promised to ``reference_id`` altogether: ``units`` of its rate, as tokens and micro-US-dollars."""

    reference_id: UUID
    account_id: UUID
    units: int
    amount_token: int
    amount_credit: int
    tm_create: datetime
    tm_expire: datetime


_OF = select(billing_holds).where(billing_holds.c.reference_id.in_(bindparam("references", expanding=True)))
_EXPIRED = (
    select(billing_holds)
    .where(billing_holds.c.tm_expire < bindparam("at"))
    .order_by(billing_holds.c.tm_expire)
    .limit(bindparam("most"))
)
_GIVEN = "jsonb_populate_recordset(NULL::billing_holds, CAST(:rows0 AS jsonb))"
_COLUMNS = "reference_id, account_id, units, amount_token, amount_credit, tm_create, tm_expire"
_TAKE = bulk.together(
    text(
        f"INSERT INTO billing_holds ({_COLUMNS}) SELECT {_COLUMNS} FROM {_GIVEN}"  # noqa: S608 - names of our own
        " ON CONFLICT (reference_id) DO UPDATE SET units = excluded.units, amount_token = excluded.amount_token,"
        " amount_credit = excluded.amount_credit, tm_expire = excluded.tm_expire"
    ),
    bulk.update(billing_accounts, ("held_credit", "held_token")),
)
_RELEASE = bulk.together(
    text(
        f"DELETE FROM billing_holds USING {_GIVEN} AS given"  # noqa: S608 - names of our own
        " WHERE billing_holds.reference_id = given.reference_id"
    ),
    bulk.update(billing_accounts, ("held_credit", "held_token")),
)


async def take(
    connection: AsyncConnection, wanted: Sequence[Wanted], *, life: timedelta = LIFE
) -> dict[UUID, Held | None]:
    """Hold for each reference the units that it wants, or as many as its account pays for.

    What is held for it already is raised to that and never lowered. Nothing (``None``) for one that cannot have
    ``least``: what was held for it before stays held. Raises ``BillingAccountNotFound``.
    """
    accounts = await ledger.lock(connection, (one.account_id for one in wanted))
    known = await of(connection, [one.reference_id for one in wanted])
    now = utc_now()
    answers: dict[UUID, Held | None] = {}
    rows: dict[UUID, Held] = {}
    touched: dict[UUID, Account] = {}
    for one in wanted:
        account = accounts[one.account_id]
        before = known.get(one.reference_id)
        if before is None:
            before = Held(one.reference_id, one.account_id, 0, 0, 0, now, now)
        if before.account_id != one.account_id:
            raise ValueError(f"{one.reference_id} holds money of the account {before.account_id}")
        more, token, credit = share(account, one.rate, max(one.units - before.units, 0))
        if before.units + more < one.least:
            answers[one.reference_id] = None
            continue
        account.held_token += token
        account.held_credit += credit
        if token or credit:
            touched[account.id] = account
        held = replace(
            before,
            units=before.units + more,
            amount_token=before.amount_token + token,
            amount_credit=before.amount_credit + credit,
            tm_expire=now + life,
        )
        answers[one.reference_id] = rows[one.reference_id] = known[one.reference_id] = held
    if rows:
        await bulk.run(connection, _TAKE, [_row(held) for held in rows.values()], _promised(touched))
    return answers


async def hold(
    connection: AsyncConnection,
    account_id: UUID,
    reference_id: UUID,
    rate: Rate,
    wanted: int,
    least: int = 1,
    *,
    life: timedelta = LIFE,
) -> Held | None:
    """``take`` for one reference."""
    one = Wanted(reference_id, account_id, rate, wanted, least)
    return (await take(connection, [one], life=life))[reference_id]


async def release(connection: AsyncConnection, holds: Sequence[Held]) -> None:
    """Promise no more to these. One that is not held any more is no error."""
    accounts = await ledger.lock(connection, (held.account_id for held in holds))
    await _released(connection, accounts, [held.reference_id for held in holds])


async def settle(connection: AsyncConnection, charges: Sequence[Charge]) -> list[Posted]:
    """Release what is held for each charge's ``reference_id`` and charge what was used, whatever the balance.

    It is what the account had promised: as long as nobody uses more than was held, the balance covers it. A charge
    whose key stands in the ledger changes nothing but that. Raises ``BillingAccountNotFound``.
    """
    accounts = await ledger.lock(connection, (charge.account_id for charge in charges))
    known = await ledger.standing(
        connection, [(charge.account_id, charge.idempotency_key) for charge in charges]
    )
    await _released(connection, accounts, [charge.reference_id for charge in charges])
    forced = [charge if charge.forced else replace(charge, forced=True) for charge in charges]
    return await ledger.write(connection, accounts, known, forced)


async def of(connection: AsyncConnection, reference_ids: Sequence[UUID]) -> dict[UUID, Held]:
    """What is held for these, where anything is."""
    rows = (await connection.execute(_OF, {"references": list(reference_ids)})).all()
    return {row.reference_id: _held(row) for row in rows}


async def expired(connection: AsyncConnection, at: datetime, most: int = 100) -> list[Held]:
    """Holds that nobody has extended in time: their owner is gone, or has forgotten to settle. Oldest first."""
    rows = (await connection.execute(_EXPIRED, {"at": at, "most": most})).all()
    return [_held(row) for row in rows]


def share(account: Account, rate: Rate, wanted: int) -> tuple[int, int, int]:
    """Units that the account can promise, and the tokens and credit of them."""
    if account.unlimited:
        return wanted, 0, 0
    most = rate.affordable(account.free_token, account.free_credit)
    units = wanted if most is None else min(wanted, most)
    return (units, *rate.price(units, account.free_token))


async def _released(
    connection: AsyncConnection, accounts: dict[UUID, Account], reference_ids: Sequence[UUID]
) -> None:
    found = [held for held in (await of(connection, reference_ids)).values() if held.account_id in accounts]
    touched: dict[UUID, Account] = {}
    for held in found:
        account = touched[held.account_id] = accounts[held.account_id]
        account.held_token -= held.amount_token
        account.held_credit -= held.amount_credit
    if found:
        await bulk.run(connection, _RELEASE, [_row(held) for held in found], _promised(touched))


def _promised(accounts: dict[UUID, Account]) -> list[dict[str, Any]]:
    return [
        {"id": account.id, "held_credit": account.held_credit, "held_token": account.held_token}
        for account in accounts.values()
    ]


def _row(held: Held) -> dict[str, Any]:
    return {
        "reference_id": held.reference_id,
        "account_id": held.account_id,
        "units": held.units,
        "amount_token": held.amount_token,
        "amount_credit": held.amount_credit,
        "tm_create": held.tm_create,
        "tm_expire": held.tm_expire,
    }


def _held(row: Row[Any]) -> Held:
    return Held(
        row.reference_id,
        row.account_id,
        row.units,
        row.amount_token,
        row.amount_credit,
        row.tm_create,
        row.tm_expire,
    )
