"""Every query on ``number_orders``. Whoever changes a number and its orders together locks the number first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, and_, func, literal, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.numbers.orders.models import NumberOrder, order_of
from ringline.numbers.states import OrderKind, OrderState, sources_of
from ringline.numbers.tables import number_orders, numbers
from ringline.storage.rows import live

_CLAIMING = 7_234_018
_orders = number_orders.c
_OPEN = _orders.tm_end.is_(None)


async def add(
    connection: AsyncConnection,
    *,
    customer_id: UUID,
    number_id: UUID,
    number: str,
    vendor: str,
    kind: OrderKind,
    now: datetime,
    number_reference: str = "",
) -> UUID:
    """Store what is intended; the id."""
    order_id = uuid4()
    await connection.execute(
        insert(number_orders).values(
            id=order_id,
            customer_id=customer_id,
            number_id=number_id,
            number=number,
            vendor=vendor,
            kind=kind.value,
            state=OrderState.INTENDED.value,
            number_reference=number_reference,
            tm_next=now,
            tm_create=now,
        )
    )
    return order_id


async def add_release(
    connection: AsyncConnection, order: NumberOrder, number_reference: str, now: datetime
) -> bool:
    """Have what came of a purchase given back, once, and unless a live number or an open order has it; whether."""
    taken = select(numbers.c.id).where(numbers.c.number == order.number, numbers.c.tm_delete.is_(None))
    released = select(_orders.id).where(
        _orders.number_id == order.number_id, _orders.kind == OrderKind.RELEASE.value
    )
    if (await connection.execute(select(taken.exists() | released.exists()))).scalar_one():
        return False
    statement = insert(number_orders).values(
        id=uuid4(),
        customer_id=order.customer_id,
        number_id=order.number_id,
        number=order.number,
        vendor=order.vendor,
        kind=OrderKind.RELEASE.value,
        state=OrderState.INTENDED.value,
        number_reference=number_reference,
        tm_next=now,
        tm_create=now,
    )
    added = await connection.execute(
        statement.on_conflict_do_nothing(
            index_elements=[_orders.number],
            index_where=text("tm_end IS NULL AND kind IN ('buy', 'release')"),
        )
    )
    return bool(added.rowcount)


async def want_configured(connection: AsyncConnection, number: Any, now: datetime) -> UUID:
    """Have the vendor told what a number (its row) is to do; an open order for that hears of it. The order's id."""
    statement = insert(number_orders).values(
        id=uuid4(),
        customer_id=number.customer_id,
        number_id=number.id,
        number=number.number,
        vendor=number.provider_name,
        kind=OrderKind.CONFIGURE.value,
        state=OrderState.INTENDED.value,
        number_reference=number.provider_reference_id,
        tm_next=now,
        tm_create=now,
    )
    found = await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[_orders.number_id],
            index_where=text("tm_end IS NULL AND kind = 'configure'"),
            set_={
                "revision": _orders.revision + 1,
                "attempts": 0,
                "tm_next": statement.excluded.tm_next,
                "tm_update": statement.excluded.tm_create,
            },
        ).returning(_orders.id)
    )
    return UUID(str(found.scalar_one()))


async def add_renewal(connection: AsyncConnection, number: Any, period: date, now: datetime) -> bool:
    """Note that a number's month is paid; whether it was not before."""
    made = await connection.execute(
        insert(number_orders)
        .values(
            id=uuid4(),
            customer_id=number.customer_id,
            number_id=number.id,
            number=number.number,
            vendor=number.provider_name,
            kind=OrderKind.RENEW.value,
            state=OrderState.DONE.value,
            period=period,
            tm_next=now,
            tm_create=now,
            tm_end=now,
        )
        .on_conflict_do_nothing()
    )
    return bool(made.rowcount)


async def claim(
    connection: AsyncConnection,
    *,
    now: datetime,
    until: datetime,
    limit: int = 1,
    number_id: UUID | None = None,
) -> list[NumberOrder]:
    """Take due orders for oneself until ``until``; never two of one number at once, whoever has the other."""
    # claims are short and come one after another: what one has taken the next one sees
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CLAIMING})
    other = number_orders.alias().c
    before = and_(
        other.tm_end.is_(None),
        other.tm_next <= now,
        tuple_(other.tm_create, other.id) < tuple_(_orders.tm_create, _orders.id),
    )
    # one that has ended meanwhile may still be in the air
    taken = (
        select(literal(1))
        .where(other.number == _orders.number, other.id != _orders.id, or_(other.tm_lease >= now, before))
        .correlate(number_orders)
        .exists()
    )
    due = (
        select(_orders.id)
        .where(_OPEN, _orders.tm_next <= now, or_(_orders.tm_lease.is_(None), _orders.tm_lease < now), ~taken)
        .order_by(_orders.tm_next)
    )
    if number_id is not None:
        due = due.where(_orders.number_id == number_id)
    chosen = due.limit(limit)
    claimed = await connection.execute(
        update(number_orders)
        .where(_orders.id.in_(chosen), _OPEN)
        .values(lease=func.gen_random_uuid(), tm_lease=until)
        .returning(number_orders)
    )
    return [order_of(row) for row in claimed]


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When there is something to do next."""
    due = func.greatest(_orders.tm_next, func.coalesce(_orders.tm_lease, _orders.tm_next))
    found: datetime | None = (await connection.execute(select(func.min(due)).where(_OPEN))).scalar()
    return found


async def sending(connection: AsyncConnection, order: NumberOrder, now: datetime) -> NumberOrder | None:
    """Note that the vendor is about to be asked. Nothing: it must not be, somebody else has seen to the order."""
    changed = await connection.execute(
        update(number_orders)
        .where(
            _orders.id == order.id,
            _orders.lease == order.lease,
            _OPEN,
            _orders.state == OrderState.INTENDED.value,
        )
        .values(state=OrderState.SENT.value, tm_sent=now, tm_update=now)
    )
    return replace(order, state=OrderState.SENT, tm_sent=now) if changed.rowcount else None


async def put_off(
    connection: AsyncConnection,
    order: NumberOrder,
    *,
    state: OrderState,
    next_at: datetime,
    now: datetime,
    reason: str = "",
) -> None:
    """Give an order back, for later. One that has moved on meanwhile only loses the lease."""
    values: dict[str, Any] = {
        "state": state.value,
        "attempts": _orders.attempts + 1,
        "tm_next": next_at,
        "reason": reason,
        "tm_update": now,
    }
    # only what nobody has changed since: a webhook may have said more, an order may be wanted anew
    await connection.execute(
        update(number_orders)
        .where(
            _orders.id == order.id,
            _orders.lease == order.lease,
            _OPEN,
            _orders.revision == order.revision,
            _orders.state == order.state.value,
        )
        .values(values)
    )
    await give_back(connection, order)


async def give_back(connection: AsyncConnection, order: NumberOrder) -> None:
    """End a lease."""
    await connection.execute(
        update(number_orders)
        .where(_orders.id == order.id, _orders.lease == order.lease)
        .values(lease=None, tm_lease=None)
    )


async def pending(
    connection: AsyncConnection, order: NumberOrder, reference: str, next_at: datetime, now: datetime
) -> bool:
    """The vendor has taken the order; whether that is news."""
    changed = await connection.execute(
        update(number_orders)
        .where(_orders.id == order.id, _OPEN, _orders.state.in_(sources_of(OrderState.PENDING)))
        .values(
            state=OrderState.PENDING.value,
            reference=reference or _orders.reference,
            reason="",
            attempts=0,
            tm_next=next_at,
            tm_update=now,
        )
    )
    return bool(changed.rowcount)


async def end(
    connection: AsyncConnection,
    order_id: UUID,
    state: OrderState,
    now: datetime,
    *,
    reason: str = "",
    reference: str = "",
    number_reference: str = "",
    revision: int | None = None,
) -> bool:
    """The order is over; whether it was not before. With a ``revision`` only if nothing else is wanted by now."""
    statement = update(number_orders).where(
        _orders.id == order_id, _OPEN, _orders.state.in_(sources_of(state))
    )
    if revision is not None:
        statement = statement.where(_orders.revision == revision)
    changed = await connection.execute(
        statement.values(
            state=state.value,
            reason=reason,
            reference=reference or _orders.reference,
            number_reference=number_reference or _orders.number_reference,
            lease=None,
            tm_lease=None,
            tm_update=now,
            tm_end=now,
        )
    )
    return bool(changed.rowcount)


async def drop_configuration(
    connection: AsyncConnection, customer_id: UUID, number_id: UUID, now: datetime
) -> None:
    """What a number is to do at its vendor matters no more."""
    await connection.execute(
        update(number_orders)
        .where(
            _orders.customer_id == customer_id,
            _orders.number_id == number_id,
            _OPEN,
            _orders.kind == OrderKind.CONFIGURE.value,
        )
        .values(
            state=OrderState.FAILED.value,
            reason="the number was given back",
            tm_update=now,
            tm_end=now,
        )
    )


async def drop_unsent_purchase(
    connection: AsyncConnection, customer_id: UUID, number_id: UUID, now: datetime
) -> None:
    """A purchase that the vendor has not heard of is called off."""
    await connection.execute(
        update(number_orders)
        .where(
            _orders.customer_id == customer_id,
            _orders.number_id == number_id,
            _OPEN,
            _orders.kind == OrderKind.BUY.value,
            _orders.state == OrderState.INTENDED.value,
        )
        .values(
            state=OrderState.FAILED.value,
            reason="called off before the vendor was asked",
            tm_update=now,
            tm_end=now,
        )
    )


async def by_id(connection: AsyncConnection, customer_id: UUID, order_id: UUID) -> Row[Any] | None:
    """One of the customer's orders."""
    statement = select(number_orders).where(_orders.id == order_id, _orders.customer_id == customer_id)
    return (await connection.execute(statement)).first()


async def of_report(
    connection: AsyncConnection, vendor: str, *, purchase_id: UUID | None, reference: str
) -> Row[Any] | None:
    """The purchase that a vendor's report is of: by our id, else by the vendor's."""
    mine = and_(_orders.vendor == vendor, _orders.kind == OrderKind.BUY.value)
    statement = select(number_orders).where(mine)
    if purchase_id is not None:
        found = (await connection.execute(statement.where(_orders.id == purchase_id))).first()
        if found is not None:
            return found
    if reference:
        newest = statement.where(_orders.reference == reference).order_by(_orders.tm_create.desc())
        return (await connection.execute(newest.limit(1))).first()
    return None


async def hasten(connection: AsyncConnection, vendor: str, number: str, now: datetime) -> bool:
    """Have the vendor asked now what became of the open purchase of a number; whether there is one."""
    changed = await connection.execute(
        update(number_orders)
        .where(
            _orders.vendor == vendor,
            _orders.number == number,
            _orders.kind == OrderKind.BUY.value,
            _OPEN,
        )
        .values(tm_next=now)
    )
    return bool(changed.rowcount)


async def hasten_mended(connection: AsyncConnection, later_than: datetime, now: datetime) -> int:
    """Make due now what was not to be tried before ``later_than``; how many orders that are."""
    changed = await connection.execute(
        update(number_orders).where(_OPEN, _orders.tm_next > later_than).values(tm_next=now)
    )
    return changed.rowcount


async def locked_number(connection: AsyncConnection, number_id: UUID) -> Row[Any] | None:
    """A number's row, deleted or not, which nobody else changes until the transaction ends."""
    statement = select(numbers).where(numbers.c.id == number_id).with_for_update()
    row: Row[Any] | None = (await connection.execute(statement)).first()
    return row


async def own_locked_number(
    connection: AsyncConnection, customer_id: UUID, number_id: UUID
) -> Row[Any] | None:
    """A customer's live number, which nobody else changes until the transaction ends."""
    statement = live(numbers, customer_id).where(numbers.c.id == number_id).with_for_update()
    row: Row[Any] | None = (await connection.execute(statement)).first()
    return row


async def of_number(connection: AsyncConnection, number_id: UUID) -> Sequence[Row[Any]]:
    """All orders of a number, newest first."""
    statement = select(number_orders).where(_orders.number_id == number_id)
    return (await connection.execute(statement.order_by(_orders.tm_create.desc()))).all()


async def open_counts(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """How many orders are open, by vendor and kind, and since when."""
    statement = (
        select(
            _orders.vendor,
            _orders.kind,
            func.count().label("orders"),
            func.min(_orders.tm_create).label("tm"),
        )
        .where(_OPEN)
        .group_by(_orders.vendor, _orders.kind)
    )
    return (await connection.execute(statement)).all()
