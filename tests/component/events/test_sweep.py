"""Events are forgotten after some days, not while somebody needs them, and a resource goes on counting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from tests.component.events.test_publisher import _published, own

from ringline.clock import SystemClock
from ringline.events import Event, emit, sweep
from ringline.events.publisher import Publisher
from ringline.events.store import event_sequences, events
from ringline.storage import Database
from ringline.webhooks.deliveries.store import under_way
from ringline.webhooks.deliveries.tables import webhook_deliveries

__all__ = ["own"]
NOW = datetime.now(UTC)


def _event(resource_id: UUID, days: float, name: str = "call_updated") -> Event:
    return Event(
        type=name,
        customer_id=UUID(int=1),
        resource="call",
        resource_id=resource_id,
        data={},
        tm_create=NOW - timedelta(days=days),
    )


async def test_old_events_go_unless_needed_or_not_published(own: Database, monkeypatch: object) -> None:
    old, needed, young, waiting = (uuid4() for _ in range(4))
    publisher = Publisher(own)
    async with own.begin() as connection:
        await emit(connection, [_event(old, 8) for _ in range(12)])
        await emit(connection, [_event(needed, 9), _event(young, 6)])
    await publisher.start()
    await _published(own, 14)
    await publisher.close()
    async with own.begin() as connection:
        await emit(connection, [_event(waiting, 30)])
    monkeypatch.setattr(sweep, "ROWS", 5)  # type: ignore[attr-defined]
    sweeping = sweep.Sweep(own, SystemClock(), keep_days=7)
    sweeping.needed.append(events.c.resource_id == needed)
    await sweeping.run()
    async with own.connect() as connection:
        left = set(await connection.scalars(sa.select(events.c.resource_id)))
        assert left == {needed, young, waiting}
        last = sa.select(event_sequences.c.last).where(event_sequences.c.resource_id == old)
        assert await connection.scalar(last) == 12
    async with own.begin() as connection:
        await emit(connection, [_event(old, 0)])
        number = sa.select(events.c.sequence).where(events.c.resource_id == old)
        assert await connection.scalar(number) == 13


async def test_what_webhooks_have_still_to_tell_stays(own: Database) -> None:
    waits, told, untold = (uuid4() for _ in range(3))
    publisher = Publisher(own)
    async with own.begin() as connection:
        await emit(connection, [_event(one, 8) for one in (waits, told, untold)])
    await publisher.start()
    await _published(own, 3)
    await publisher.close()
    async with own.begin() as connection:
        for row in (await connection.execute(sa.select(events))).all():
            if row.resource_id == untold:
                continue
            status = "pending" if row.resource_id == waits else "delivered"
            await connection.execute(sa.insert(webhook_deliveries).values(**_delivery(row, status)))
    sweeping = sweep.Sweep(own, SystemClock(), keep_days=7)
    sweeping.needed.append(under_way(events.c.id))
    await sweeping.run()
    async with own.connect() as connection:
        assert set(await connection.scalars(sa.select(events.c.resource_id))) == {waits}


def _delivery(event: sa.Row[Any], status: str) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "webhook_id": uuid4(),
        "customer_id": event.customer_id,
        "event_id": event.id,
        "published": event.published,
        "type": event.type,
        "resource": event.resource,
        "resource_id": event.resource_id,
        "status": status,
        "tm_expire": NOW,
        "tm_create": event.tm_create,
    }


async def test_numbers_of_what_was_silent_for_years_are_forgotten(own: Database) -> None:
    gone, kept = uuid4(), uuid4()
    async with own.begin() as connection:
        await emit(connection, [_event(gone, 500), _event(kept, 500)])
        await connection.execute(sa.delete(events).where(events.c.resource_id == gone))
    await sweep.Sweep(own, SystemClock(), keep_days=7).run()
    async with own.connect() as connection:
        assert list(await connection.scalars(sa.select(event_sequences.c.resource_id))) == [kept]
