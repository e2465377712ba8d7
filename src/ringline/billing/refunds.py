"""Refunds: what is left of a charge, and the entry that gives some of it back, whoever gives it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from ringline.billing.ledger import Entry


def key(charge_id: UUID, request: str = "") -> str:
    """The idempotency key of a refund of this charge; without ``request`` what all of them begin with."""
    return f"refund {charge_id} {request}"


def left_of(charged: Row[Any], refunds: Iterable[Row[Any]]) -> tuple[int, int]:
    """Credit (micro-US-dollars) and tokens of a charge that ``refunds``, those of others too, have not given back.

    The account must be locked since before ``refunds`` were read, so that together they are never more than the
    charge.
    """
    before = [row for row in refunds if row.idempotency_key.startswith(key(charged.id))]
    return (
        -charged.amount_credit - sum(row.amount_credit for row in before),
        -charged.amount_token - sum(row.amount_token for row in before),
    )


def of_charge(
    charged: Row[Any], request: str, tm: datetime, *, credit: int, token: int, detail: str
) -> Entry:
    """The entry that gives back this much of a charge."""
    return Entry(
        account_id=charged.account_id,
        customer_id=charged.customer_id,
        transaction_type="refund",
        reference_type=charged.reference_type,
        reference_id=charged.reference_id,
        idempotency_key=key(charged.id, request),
        tm=tm,
        cost_type=charged.cost_type,
        detail=detail,
        amount_credit=credit,
        amount_token=token,
    )
