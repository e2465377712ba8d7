"""The ledger: every change of a balance is a row in ``billings``, and nothing else changes one.

Rows are never changed and never deleted (a trigger refuses it). An account's row is locked while its balance
changes, so that snapshots follow on one another in the order of ``position``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Row, bindparam, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing.errors import AmountInvalid, InsufficientBalance, no_account
from ringline.billing.rates import Rate
from ringline.billing.tables import billing_accounts, billings
from ringline.billing.tiers import UNLIMITED
from ringline.events.models import new_id
from ringline.http import utc_now
from ringline.storage import bulk, tenancy

TransactionType = Literal["usage", "top_up", "adjustment", "refund"]

LARGEST: Final = 10**15
"""Of a balance, in micro-US-dollars or tokens: a billion dollars. What would go beyond it is a mistake."""
END: Final = "end"
_WORDS: Final = {
    "sms": "A text",
    "email": "An email",
    "number": "A number",
    "number_renew": "A month of a number",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A change of an account's balance: ``amount_credit`` in micro-US-dollars and ``amount_token``, signed.

    ``usage_duration`` is in seconds. ``idempotency_key`` is unique within the account: what stands there already is
    not posted again. ``tm`` is when what is paid for ended (or happened), ``tm_start`` when it began.
    """

    account_id: UUID
    customer_id: UUID
    transaction_type: TransactionType
    reference_type: str
    reference_id: UUID
    idempotency_key: str
    tm: datetime
    tm_start: datetime | None = None
    cost_type: str = ""
    detail: str = ""
    usage_duration: int = 0
    billable_units: int = 0
    rate_token_per_unit: int = 0
    rate_credit_per_unit: int = 0
    amount_token: int = 0
    amount_credit: int = 0


@dataclass(frozen=True, slots=True)
class Posted:
    """An entry that stands in the ledger, and the balances after it. ``replayed``: it stood there before."""

    id: UUID
    entry: Entry
    balance_token: int
    balance_credit: int
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Something that was used: ``usage`` in seconds, or in pieces where the rate's unit is a piece.

    ``rate`` is that of the moment when it began (``Rates.find``). ``forced``: it has been used and is paid whatever
    the balance; otherwise a balance that is too small refuses it.
    """

    account_id: UUID
    customer_id: UUID
    rate: Rate
    usage: int
    reference_type: str
    reference_id: UUID
    idempotency_key: str
    tm: datetime
    tm_start: datetime | None = None
    detail: str = ""
    forced: bool = False


@dataclass(slots=True)
class Account:
    """An account whose row is locked until the end of the transaction."""

    id: UUID
    customer_id: UUID
    plan: str
    credit: int
    token: int
    held_credit: int
    held_token: int
    tm_last_topup: datetime | None = None
    tm_next_topup: datetime | None = None

    @property
    def unlimited(self) -> bool:
        return self.plan == UNLIMITED

    @property
    def free_token(self) -> int:
        """Tokens that are promised to nothing."""
        return self.token - self.held_token

    @property
    def free_credit(self) -> int:
        """Credit that is promised to nothing."""
        return self.credit - self.held_credit


_LOCK = (
    select(
        billing_accounts.c.id,
        billing_accounts.c.customer_id,
        billing_accounts.c.plan_type,
        billing_accounts.c.balance_credit,
        billing_accounts.c.balance_token,
        billing_accounts.c.held_credit,
        billing_accounts.c.held_token,
        billing_accounts.c.tm_last_topup,
        billing_accounts.c.tm_next_topup,
    )
    .where(billing_accounts.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(billing_accounts.c.id)
    .with_for_update()
)
_KNOWN = select(billings).where(
    tuple_(billings.c.account_id, billings.c.idempotency_key).in_(bindparam("keys", expanding=True))
)
_SAME: Final = (
    *("account_id", "customer_id", "transaction_type", "reference_type", "reference_id", "idempotency_key"),
    *(
        "cost_type",
        "detail",
        "usage_duration",
        "billable_units",
        "rate_token_per_unit",
        "rate_credit_per_unit",
    ),
    *("amount_token", "amount_credit"),
)
"""Of an entry and of a row alike."""
_POST = bulk.together(
    bulk.insert(
        billings,
        (
            *("id", *_SAME, "status", "balance_token_snapshot", "balance_credit_snapshot"),
            *("tm_billing_start", "tm_billing_end", "tm_create"),
        ),
    ),
    bulk.update(
        billing_accounts,
        (
            *("balance_credit", "balance_token", "held_credit", "held_token"),
            *("tm_last_topup", "tm_next_topup", "tm_update"),
        ),
    ),
)


async def lock(connection: AsyncConnection, account_ids: Iterable[UUID]) -> dict[UUID, Account]:
    """The accounts, locked in the order of their ids. Raises ``BillingAccountNotFound``."""
    wanted = set(account_ids)
    # money moves by account; whose it is was looked up before
    with tenancy.across():
        rows = (await connection.execute(_LOCK, {"ids": list(wanted)})).all()
    found = {row.id: Account(*row) for row in rows}
    for missing in wanted - found.keys():
        raise no_account(missing)
    return found


async def post(connection: AsyncConnection, entries: Sequence[Entry]) -> list[Posted]:
    """Write entries into the ledger and change the balances, in the transaction of ``connection``.

    What stands there under its key already is returned as it stands, and changes nothing. Accounts stay locked until
    the commit: a transaction posts once, or accounts in the order of their ids. Raises ``BillingAccountNotFound`` and
    ``AmountInvalid``; no entry is posted then.
    """
    accounts = await lock(connection, (entry.account_id for entry in entries))
    known = await standing(connection, [(entry.account_id, entry.idempotency_key) for entry in entries])
    return await write(connection, accounts, known, entries)


async def charge(connection: AsyncConnection, charge: Charge) -> Posted:
    """Have an account pay for a usage: tokens first, then credit.

    Raises ``InsufficientBalance`` (unless ``forced``), ``BillingAccountNotFound``.
    """
    accounts = await lock(connection, (charge.account_id,))
    known = await standing(connection, [(charge.account_id, charge.idempotency_key)])
    (posted,) = await write(connection, accounts, known, [charge])
    return posted


def price(account: Account, charge: Charge) -> Entry:
    """The entry by which ``account`` pays for ``charge`` now. Raises ``InsufficientBalance``."""
    rate = charge.rate
    units = rate.units(charge.usage)
    # what an unlimited plan uses is written down, and costs nothing
    token, credit = (0, 0) if account.unlimited else rate.price(units, account.free_token)
    if not charge.forced:
        short = token > max(account.free_token, 0)
        if short or credit > max(account.free_credit, 0):
            raise InsufficientBalance(_WORDS.get(rate.kind, "This"), credit, account.free_credit)
    return Entry(
        account_id=charge.account_id,
        customer_id=charge.customer_id,
        transaction_type="usage",
        reference_type=charge.reference_type,
        reference_id=charge.reference_id,
        idempotency_key=charge.idempotency_key,
        tm=charge.tm,
        tm_start=charge.tm_start,
        cost_type=rate.kind,
        detail=charge.detail,
        usage_duration=charge.usage if rate.unit_seconds else 0,
        billable_units=units,
        rate_token_per_unit=rate.token_per_unit,
        rate_credit_per_unit=rate.credit_per_unit,
        amount_token=-token,
        amount_credit=-credit,
    )


async def standing(
    connection: AsyncConnection, keys: Sequence[tuple[UUID, str]]
) -> dict[tuple[UUID, str], Posted]:
    """What stands in the ledger under these keys. The accounts must be locked, so that it stays true."""
    if not keys:
        return {}
    with tenancy.across():
        rows = (await connection.execute(_KNOWN, {"keys": list(keys)})).all()
    return {(row.account_id, row.idempotency_key): of_row(row) for row in rows}


async def write(
    connection: AsyncConnection,
    accounts: dict[UUID, Account],
    known: dict[tuple[UUID, str], Posted],
    entries: Sequence[Entry | Charge],
) -> list[Posted]:
    """Post what is not in ``known`` to accounts that are locked; charges are priced one after the other."""
    now = utc_now()
    done: list[Posted] = []
    rows: list[dict[str, Any]] = []
    touched: dict[UUID, Account] = {}
    for given in entries:
        key = (given.account_id, given.idempotency_key)
        if key in known:
            done.append(known[key])
            continue
        account = touched[given.account_id] = accounts[given.account_id]
        entry = price(account, given) if isinstance(given, Charge) else given
        account.token += entry.amount_token
        account.credit += entry.amount_credit
        if max(abs(account.token), abs(account.credit)) > LARGEST:
            raise AmountInvalid(
                f"An account holds at most {LARGEST} micro-US-dollars and as many tokens; with this it would have "
                f"{account.credit} and {account.token}."
            )
        if entry.transaction_type == "top_up" and (entry.amount_credit > 0 or entry.amount_token > 0):
            account.tm_last_topup = entry.tm
        posted = Posted(new_id(), entry, account.token, account.credit)
        known[key] = Posted(posted.id, entry, account.token, account.credit, replayed=True)
        done.append(posted)
        rows.append(_row(posted, now))
    if rows:
        changes = [
            {
                "id": account.id,
                "balance_credit": account.credit,
                "balance_token": account.token,
                "held_credit": account.held_credit,
                "held_token": account.held_token,
                "tm_last_topup": account.tm_last_topup,
                "tm_next_topup": account.tm_next_topup,
                "tm_update": now,
            }
            for account in touched.values()
        ]
        await bulk.run(connection, _POST, rows, changes)
    return done


def of_row(row: Row[Any]) -> Posted:
    """What a row of ``billings`` says."""
    entry = Entry(
        **{name: getattr(row, name) for name in _SAME}, tm=row.tm_billing_end, tm_start=row.tm_billing_start
    )
    return Posted(row.id, entry, row.balance_token_snapshot, row.balance_credit_snapshot, replayed=True)


def _row(posted: Posted, now: datetime) -> dict[str, Any]:
    entry = posted.entry
    return {
        **{name: getattr(entry, name) for name in _SAME},
        "id": posted.id,
        "status": END,
        "balance_token_snapshot": posted.balance_token,
        "balance_credit_snapshot": posted.balance_credit,
        "tm_billing_start": entry.tm_start,
        "tm_billing_end": entry.tm,
        "tm_create": now,
    }
