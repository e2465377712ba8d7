"""Numbers that became ours without being bought: a port that is done."""

from __future__ import annotations

from uuid import UUID, uuid4

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.http import utc_now
from ringline.numbers.errors import NumberNotAvailable
from ringline.numbers.months import month_after
from ringline.numbers.orders import store
from ringline.numbers.states import OrderKind, OrderState, Status
from ringline.numbers.tables import number_orders, numbers


class NumberTaken(NumberNotAvailable):
    """409: another customer has the number."""


async def acquired(
    connection: AsyncConnection,
    *,
    customer_id: UUID,
    number: str,
    vendor: str,
    reference: str,
    name: str = "",
) -> UUID:
    """Make an active number of a vendor's that became ours, in the caller's transaction; its id.

    Calling again for the same customer changes nothing but the vendor's ``reference``. After the commit
    ``NumberOrders.wake`` has the vendor told where calls and texts are to go. Raises ``NumberTaken``.
    """
    now = utc_now()
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:number, 7234018))"), {"number": number}
    )
    live = select(numbers).where(numbers.c.number == number, numbers.c.tm_delete.is_(None))
    row = (await connection.execute(live.with_for_update())).first()
    if row is not None and row.customer_id != customer_id:
        raise NumberTaken(f"{number} belongs to another customer here.")
    # what a former owner gave back here must not be given back any more
    await connection.execute(
        update(number_orders)
        .where(
            number_orders.c.number == number,
            number_orders.c.kind == OrderKind.RELEASE.value,
            number_orders.c.tm_end.is_(None),
        )
        .values(state=OrderState.FAILED.value, reason="the number came back", tm_update=now, tm_end=now)
    )
    if row is None:
        values = {
            "id": uuid4(),
            "customer_id": customer_id,
            "number": number,
            "type": "normal",
            "name": name,
            "status": Status.ACTIVE.value,
            "provider_name": vendor,
            "provider_reference_id": reference,
            "tm_purchase": now,
            "tm_renew": month_after(now, now.day),
            "tm_create": now,
        }
        made = (await connection.execute(insert(numbers).values(**values).returning(numbers))).one()
    elif (row.provider_name, row.provider_reference_id) == (vendor, reference):
        return UUID(str(row.id))
    else:
        made = (
            await connection.execute(
                update(numbers)
                .where(numbers.c.id == row.id)
                .values(provider_name=vendor, provider_reference_id=reference, tm_update=now)
                .returning(numbers)
            )
        ).one()
    await store.want_configured(connection, made, now)
    return UUID(str(made.id))
