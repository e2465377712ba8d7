"""An order in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ringline.numbers.states import OrderKind, OrderState


@dataclass(frozen=True, slots=True)
class NumberOrder:
    """Something that a vendor is asked for. ``lease`` is the right to work on it of whoever has read it."""

    id: UUID
    customer_id: UUID
    number_id: UUID
    number: str
    vendor: str
    kind: OrderKind
    state: OrderState
    reference: str
    number_reference: str
    attempts: int
    revision: int
    lease: UUID | None
    tm_sent: datetime | None
    tm_create: datetime


def order_of(row: Any) -> NumberOrder:
    """From a row of ``number_orders``."""
    return NumberOrder(
        id=row.id,
        customer_id=row.customer_id,
        number_id=row.number_id,
        number=row.number,
        vendor=row.vendor,
        kind=OrderKind(row.kind),
        state=OrderState(row.state),
        reference=row.reference,
        number_reference=row.number_reference,
        attempts=row.attempts,
        revision=row.revision,
        lease=row.lease,
        tm_sent=row.tm_sent,
        tm_create=row.tm_create,
    )
