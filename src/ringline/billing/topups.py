"""Money that comes onto accounts and goes off them otherwise than by use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import ledger, refunds
from ringline.billing.errors import AmountInvalid, BalanceTooSmall, BillingNotFound
from ringline.billing.ledger import Entry, Posted, TransactionType
from ringline.billing.models import BalanceAdd, BalanceSubtract, Refund
from ringline.billing.service import announce, reread
from ringline.billing.tables import billings
from ringline.errors import AlreadyExists, FailedPrecondition
from ringline.http import utc_now
from ringline.storage import Database

log = structlog.get_logger(__name__)


class Topups:
    """What the installation's administrator and payment providers post. Everything is posted once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, account_id: UUID, wanted: BalanceAdd, seed: UUID | None) -> Row[Any]:
        """Put something on an account. Raises ``AmountInvalid``, ``AlreadyExists``, ``BillingAccountNotFound``."""
        _something(wanted.credit, wanted.token)
        return await self._post(
            account_id,
            wanted.transaction_type,
            (wanted.credit, wanted.token),
            _key(wanted.reference, seed),
            wanted.detail or wanted.reference,
        )

    async def subtract(self, account_id: UUID, wanted: BalanceSubtract, seed: UUID | None) -> Row[Any]:
        """Take something off an account, at most what is promised to nothing. Raises ``BalanceTooSmall`` too."""
        _something(wanted.credit, wanted.token)
        return await self._post(
            account_id,
            "adjustment",
            (-wanted.credit, -wanted.token),
            _key(wanted.reference, seed),
            wanted.detail or wanted.reference,
        )

    async def paid(self, account_id: UUID, amount: int, transaction_id: str, detail: str) -> bool:
        """A payment of ``amount`` micro-US-dollars has come; whether that is news. Raises as ``add`` does."""
        _something(amount, 0)
        key = f"payment {transaction_id}"
        return await self._payment(account_id, "top_up", amount, key, detail)

    async def returned(self, account_id: UUID, amount: int, transaction_id: str, detail: str) -> bool:
        """A payment has gone back to who paid it (refund, chargeback); the balance may fall below zero."""
        _something(amount, 0)
        key = f"payment returned {transaction_id}"
        return await self._payment(account_id, "adjustment", -amount, key, detail)

    async def refund(self, billing_id: UUID, wanted: Refund, seed: UUID | None) -> Row[Any]:
        """Give a charge back, wholly or in part; altogether never more than was charged.

        Raises ``BillingNotFound``, ``FailedPrecondition``, ``BalanceTooSmall`` where it is more than is left of it.
        """
        async with self._database.begin() as connection:
            charged = await _entry(connection, billing_id)
            if charged.transaction_type != "usage":
                raise FailedPrecondition(
                    f"{billing_id} is no charge but a {charged.transaction_type}: only usage can be refunded."
                )
            accounts = await ledger.lock(connection, (charged.account_id,))
            before = await _refunded(connection, charged)
            same = seed is not None and refunds.key(billing_id, str(seed)) in {
                row.idempotency_key for row in before
            }
            if not same:
                left, token_left = refunds.left_of(charged, before)
                credit = left if wanted.credit is None else wanted.credit
                token = token_left if wanted.token is None else wanted.token
                if wanted.credit is not None and wanted.token is None:
                    token = 0
                if wanted.token is not None and wanted.credit is None:
                    credit = 0
                if credit > left or token > token_left or not (credit or token):
                    raise BalanceTooSmall(
                        f"Of this charge {left} micro-US-dollars and {token_left} tokens have not been given back "
                        "yet; `credit` and `token` must be within that, and not both 0."
                    )
                given = refunds.of_charge(
                    charged,
                    str(seed or uuid4()),
                    utc_now(),
                    credit=credit,
                    token=token,
                    detail=wanted.detail,
                )
                await ledger.write(connection, accounts, {}, [given])
            return await (reread if same else announce)(connection, charged.account_id)

    async def _payment(
        self, account_id: UUID, kind: TransactionType, amount: int, key: str, detail: str
    ) -> bool:
        async with self._database.begin() as connection:
            posted = await _write(connection, account_id, kind, (amount, 0), key, detail)
            if not posted.replayed and kind != "top_up":
                await announce(connection, account_id)
        log.info(
            "payment_posted",
            account_id=str(account_id),
            amount=amount,
            key=key,
            replayed=posted.replayed,
        )
        return not posted.replayed

    async def _post(
        self, account_id: UUID, kind: TransactionType, amounts: tuple[int, int], key: str, detail: str
    ) -> Row[Any]:
        async with self._database.begin() as connection:
            posted = await _write(connection, account_id, kind, amounts, key, detail, bound=amounts[0] <= 0)
            told = posted.replayed or kind == "top_up"
            row = await (reread if told else announce)(connection, account_id)
        log.info(
            "balance_changed",
            account_id=str(account_id),
            transaction_type=kind,
            credit=amounts[0],
            token=amounts[1],
            replayed=posted.replayed,
        )
        return row


async def _write(
    connection: AsyncConnection,
    account_id: UUID,
    kind: TransactionType,
    amounts: tuple[int, int],
    key: str,
    detail: str,
    *,
    bound: bool = False,
) -> Posted:
    """Post once. ``bound``: what is taken off must be there, and promised to nothing."""
    accounts = await ledger.lock(connection, (account_id,))
    account = accounts[account_id]
    known = await ledger.standing(connection, [(account_id, key)])
    credit, token = amounts
    if (
        not known
        and bound
        and (
            (credit < 0 and account.free_credit + credit < 0)
            or (token < 0 and account.free_token + token < 0)
        )
    ):
        raise BalanceTooSmall(
            f"The account has {account.free_credit} micro-US-dollars and {account.free_token} tokens that are "
            "promised to nothing; no more than that can be taken off."
        )
    given = Entry(
        account_id=account_id,
        customer_id=account.customer_id,
        transaction_type=kind,
        reference_type="credit_adjustment" if credit else "token_adjustment",
        reference_id=account_id,
        idempotency_key=key,
        tm=utc_now(),
        detail=detail,
        amount_credit=credit,
        amount_token=token,
    )
    (posted,) = await ledger.write(connection, accounts, known, [given])
    was = posted.entry
    if posted.replayed and (was.amount_credit, was.amount_token) != (credit, token):
        field = "transaction_id" if key.startswith("payment ") else "reference"
        raise AlreadyExists(
            f"This has been posted already, with {was.amount_credit} micro-US-dollars and {was.amount_token} tokens; "
            f"other amounts need another `{field}`.",
            details=[{"field": field, "message": "is taken", "id": str(posted.id)}],
        )
    return posted


async def _entry(connection: AsyncConnection, billing_id: UUID) -> Row[Any]:
    row = (await connection.execute(sa.select(billings).where(billings.c.id == billing_id))).first()
    if row is None:
        raise BillingNotFound("There is no such entry in the ledger; GET /v1.0/billings lists them.")
    return row


async def _refunded(connection: AsyncConnection, charged: Row[Any]) -> Sequence[Row[Any]]:
    """What was given back of a charge."""
    statement = sa.select(billings).where(
        billings.c.account_id == charged.account_id,
        billings.c.reference_id == charged.reference_id,
        billings.c.transaction_type == "refund",
        billings.c.idempotency_key.startswith(refunds.key(charged.id), autoescape=True),
    )
    return (await connection.execute(statement)).all()


def _something(credit: int, token: int) -> None:
    if credit <= 0 and token <= 0:
        raise AmountInvalid(
            "`credit` or `token` must be greater than 0.",
            details=[{"field": "credit", "message": "this or `token` must be greater than 0"}],
        )


def _key(reference: str, seed: UUID | None) -> str:
    return f"reference {reference}" if reference else f"request {seed or uuid4()}"
