"""Making an account, giving it a plan, and the tokens that a plan allows each month."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import exists, func, insert, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import ledger
from ringline.billing.ledger import Account, Entry
from ringline.billing.tables import billing_accounts, billing_holds, billings
from ringline.billing.tiers import FREE, MONTHLY_TOKENS
from ringline.http import utc_now
from ringline.storage import Database

log = structlog.get_logger(__name__)

_BATCH: Final = 100


async def create(
    connection: AsyncConnection,
    *,
    account_id: UUID,
    customer_id: UUID,
    plan: str = FREE,
    name: str = "",
    detail: str = "",
    credit: int = 0,
) -> None:
    """A new account with the tokens of its first month, and ``credit`` micro-US-dollars to begin with."""
    now = utc_now()
    values = {"id": account_id, "customer_id": customer_id, "name": name, "detail": detail, "plan_type": plan}
    await connection.execute(insert(billing_accounts).values(**values, payment_type="prepaid", tm_create=now))
    if credit:
        first = Entry(
            account_id=account_id,
            customer_id=customer_id,
            transaction_type="top_up",
            reference_type="credit_free_tier",
            reference_id=account_id,
            idempotency_key="credit_free_tier",
            tm=now,
            amount_credit=credit,
        )
        await ledger.post(connection, [first])
    await allow(connection, [account_id], now)


async def allow(connection: AsyncConnection, account_ids: list[UUID], now: datetime) -> int:
    """Post the allowance of this month to accounts that do not have it yet, and say to how many.

    It fills an account up to what its plan allows: what was left of the month before is part of it, so that unused
    tokens do not add up, and what was given beyond it stays.
    """
    accounts = await ledger.lock(connection, account_ids)
    entries = [
        _allowance(account, MONTHLY_TOKENS[account.plan], now)
        for account in accounts.values()
        if account.plan in MONTHLY_TOKENS
    ]
    known = await ledger.standing(connection, [(one.account_id, one.idempotency_key) for one in entries])
    for entry in entries:
        accounts[entry.account_id].tm_next_topup = _next_month(now)
    posted = await ledger.write(connection, accounts, known, entries)
    return sum(not one.replayed for one in posted)


async def allow_all(database: Database, now: datetime) -> int:
    """``allow`` for all accounts that lack this month's allowance, and say to how many it was posted.

    Any number of processes may do so at once: the key of an entry names the month. After an outage of months the one
    of the present month is posted, for earlier ones would have been used up by time.
    """
    key = literal(f"monthly_allowance {_month(now)} ") + billing_accounts.c.plan_type
    waiting = (
        select(billing_accounts.c.id)
        .where(
            billing_accounts.c.tm_delete.is_(None),
            billing_accounts.c.plan_type.in_(tuple(MONTHLY_TOKENS)),
            ~exists().where(
                billings.c.account_id == billing_accounts.c.id, billings.c.idempotency_key == key
            ),
        )
        .order_by(billing_accounts.c.id)
        .limit(_BATCH)
    )
    total = 0
    while True:
        async with database.begin() as connection:
            ids = list((await connection.execute(waiting)).scalars())
            total += await allow(connection, ids, now) if ids else 0
        if len(ids) < _BATCH:
            break
    if total:
        log.info("monthly_tokens_posted", accounts=total, month=_month(now))
    return total


async def differences(database: Database, *, summed: bool) -> list[dict[str, Any]]:
    """Accounts (at most 100) whose balance is not that of their ledger, or whose holds are not those that there are.

    There are none unless somebody has written into the tables by hand. ``summed`` adds up every entry there is;
    otherwise the last entry of each account says what the balance must be.
    """
    account = billing_accounts.c
    entries = select(billings).where(billings.c.account_id == account.id)
    if summed:
        posted = entries.with_only_columns(
            func.sum(billings.c.amount_credit).label("credit"),
            func.sum(billings.c.amount_token).label("token"),
        ).lateral()
    else:
        last = entries.order_by(billings.c.position.desc()).limit(1)
        posted = last.with_only_columns(
            billings.c.balance_credit_snapshot.label("credit"),
            billings.c.balance_token_snapshot.label("token"),
        ).lateral()
    promised = (
        select(
            func.sum(billing_holds.c.amount_credit).label("credit"),
            func.sum(billing_holds.c.amount_token).label("token"),
        )
        .where(billing_holds.c.account_id == account.id)
        .lateral()
    )
    is_and_should = {
        "balance_credit": posted.c.credit,
        "balance_token": posted.c.token,
        "held_credit": promised.c.credit,
        "held_token": promised.c.token,
    }
    should = {name: func.coalesce(column, 0) for name, column in is_and_should.items()}
    statement = (
        select(
            account.id,
            *(account[name] for name in should),
            *(column.label(f"should_be_{name}") for name, column in should.items()),
        )
        .select_from(billing_accounts.outerjoin(posted, literal(True)).outerjoin(promised, literal(True)))
        .where(or_(*(account[name] != column for name, column in should.items())))
        .limit(100)
    )
    async with database.connect() as connection:
        return [dict(row._mapping) for row in (await connection.execute(statement)).all()]


def _allowance(account: Account, tokens: int, now: datetime) -> Entry:
    return Entry(
        account_id=account.id,
        customer_id=account.customer_id,
        transaction_type="top_up",
        reference_type="monthly_allowance",
        reference_id=account.id,
        idempotency_key=f"monthly_allowance {_month(now)} {account.plan}",
        tm=now,
        detail=f"Tokens of the plan {account.plan}.",
        amount_token=max(tokens - account.token, 0),
    )


def _month(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m")


def _next_month(now: datetime) -> datetime:
    now = now.astimezone(UTC)
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return datetime(year, month, 1, tzinfo=UTC)
