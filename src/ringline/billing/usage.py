"""What is used in pieces: numbers, their months, parts of texts. Charged with the intention, given back if it fails.

All of it in the transaction of whoever notes the intention, or what became of it: nothing is charged that was not
wanted, and nothing that failed stays charged. Rates are read there, so that every process charges the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import ledger, refunds
from ringline.billing.errors import InsufficientBalance
from ringline.billing.ledger import Charge
from ringline.billing.rates import BUILT_IN, LONGEST_PREFIX, Kind, Rate
from ringline.billing.tables import billing_accounts, billings, rates

_FAILED: Final = "failed"
_customers = sa.table("customers", sa.column("id", sa.Uuid), sa.column("billing_account_id", sa.Uuid))


@dataclass(frozen=True, slots=True)
class Use:
    """``pieces`` of something for ``number`` (E.164), of the resource ``reference_id``.

    ``key`` tells it from other uses of the same resource: a use that stands in the ledger is not charged again.
    """

    kind: Kind
    number: str
    reference_type: str
    reference_id: UUID
    pieces: int = 1
    key: str = ""
    detail: str = ""


async def charge(
    connection: AsyncConnection,
    customer_id: UUID,
    uses: Sequence[Use],
    now: datetime,
    *,
    forced: bool = False,
) -> None:
    """Have a customer's account pay. One without an account is charged nothing.

    Raises ``InsufficientBalance`` with what all of them take, unless ``forced``; nothing is charged then.
    """
    account_id = await _account_of(connection, customer_id) if uses else None
    if account_id is None:
        return
    found = [(use, await _rate(connection, use.kind, use.number, now)) for use in uses]
    account = (await ledger.lock(connection, (account_id,)))[account_id]
    keys = {use: f"{use.reference_type}:{use.reference_id}:{use.key or use.kind}" for use in uses}
    known = await ledger.standing(connection, [(account_id, key) for key in keys.values()])
    new = [(use, rate) for use, rate in found if (account_id, keys[use]) not in known and not rate.free]
    if not forced and not account.unlimited:
        _check(account, new)
    charges = [
        Charge(
            account_id=account_id,
            customer_id=customer_id,
            rate=rate,
            usage=use.pieces,
            reference_type=use.reference_type,
            reference_id=use.reference_id,
            idempotency_key=keys[use],
            tm=now,
            detail=use.detail,
            forced=True,
        )
        for use, rate in new
    ]
    if charges:
        await ledger.write(connection, {account_id: account}, known, charges)


async def give_back(connection: AsyncConnection, reference_id: UUID, now: datetime, detail: str) -> None:
    """It came to nothing: what was charged for the resource and not refunded yet is given back, once."""
    of_resource = sa.select(billings).where(billings.c.reference_id == reference_id)
    charged = (await connection.execute(of_resource.where(billings.c.transaction_type == "usage"))).all()
    if not charged:
        return
    present = sa.select(billing_accounts.c.id).where(
        billing_accounts.c.id.in_({row.account_id for row in charged})
    )
    accounts = await ledger.lock(connection, await connection.scalars(present))
    # read under the lock: what an administrator refunds at the same moment is among them, or waits for this
    before = (await connection.execute(of_resource.where(billings.c.transaction_type == "refund"))).all()
    entries = []
    for row in charged:
        credit, token = refunds.left_of(row, before)
        if row.account_id in accounts and (credit or token):
            entries.append(
                refunds.of_charge(row, _FAILED, now, credit=credit, token=token, detail=detail[:200])
            )
    known = await ledger.standing(connection, [(one.account_id, one.idempotency_key) for one in entries])
    await ledger.write(connection, accounts, known, entries)


def _check(account: ledger.Account, uses: Sequence[tuple[Use, Rate]]) -> None:
    token = credit = 0
    for use, rate in uses:
        tokens, money = rate.price(rate.units(use.pieces), account.free_token - token)
        token, credit = token + tokens, credit + money
    if credit > max(account.free_credit, 0) or token > max(account.free_token, 0):
        kinds = {use.kind for use, _ in uses}
        what = _WORDS.get(next(iter(kinds)), "This") if len(kinds) == 1 else "This"
        raise InsufficientBalance(what, credit, account.free_credit)


_WORDS: Final[dict[str, str]] = {
    "number": "The number",
    "number_renew": "The number's month",
    "sms": "The message",
}


async def _account_of(connection: AsyncConnection, customer_id: UUID) -> UUID | None:
    statement = (
        sa.select(billing_accounts.c.id)
        .join(_customers, _customers.c.billing_account_id == billing_accounts.c.id)
        .where(_customers.c.id == customer_id, billing_accounts.c.tm_delete.is_(None))
    )
    found = (await connection.execute(statement)).scalar()
    return None if found is None else UUID(str(found))


async def _rate(connection: AsyncConnection, kind: Kind, number: str, at: datetime) -> Rate:
    """As ``Rates.find``, from the table."""
    digits = number.removeprefix("+")
    prefixes = [digits[:length] for length in range(min(len(digits), LONGEST_PREFIX) + 1)]
    statement = (
        sa.select(rates)
        .where(
            rates.c.kind == kind,
            rates.c.prefix.in_(prefixes),
            rates.c.tm_start <= at,
            sa.or_(rates.c.tm_end.is_(None), rates.c.tm_end > at),
        )
        .order_by(sa.func.length(rates.c.prefix).desc(), rates.c.tm_start.desc())
        .limit(1)
    )
    row = (await connection.execute(statement)).first()
    if row is None:
        return BUILT_IN[kind]
    return Rate(
        kind=row.kind,
        prefix=row.prefix,
        credit_per_unit=row.credit_per_unit,
        token_per_unit=row.token_per_unit,
        unit_seconds=row.unit_seconds,
        minimum_units=row.minimum_units,
        rounding=row.rounding,
        tm_start=row.tm_start,
        tm_end=row.tm_end,
        id=row.id,
    )
