"""What happened is stored with what changed, numbered for each resource without a gap."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import sqlalchemy as sa

from ringline.events import Event, emit
from ringline.events.store import events
from ringline.storage import Database


def _event(resource_id: UUID, name: str = "call_updated") -> Event:
    return Event(
        type=name,
        customer_id=UUID(int=1),
        resource="call",
        resource_id=resource_id,
        data={"id": str(resource_id), "name": "Ümit \U0001f697"},
        tm_create=datetime.now(UTC),
    )


async def _stored(database: Database, resource_id: UUID) -> list[tuple[int, str]]:
    statement = sa.select(events).where(events.c.resource_id == resource_id).order_by(events.c.position)
    async with database.connect() as connection:
        return [(row.sequence, row.type) for row in (await connection.execute(statement)).all()]


async def test_events_of_a_resource_count_from_one_over_transactions(database: Database) -> None:
    one, other = uuid4(), uuid4()
    async with database.begin() as connection:
        await emit(connection, [_event(one, "call_created"), _event(other), _event(one, "call_dialing")])
        await emit(connection, [])
    async with database.begin() as connection:
        await emit(connection, [_event(one, "call_hangup")])
    assert await _stored(database, one) == [(1, "call_created"), (2, "call_dialing"), (3, "call_hangup")]
    assert await _stored(database, other) == [(1, "call_updated")]


async def test_what_is_taken_back_was_never_announced_and_leaves_no_gap(database: Database) -> None:
    one = uuid4()
    try:
        async with database.begin() as connection:
            await emit(connection, [_event(one)])
            raise LookupError
    except LookupError:
        pass
    async with database.begin() as connection:
        await emit(connection, [_event(one, "call_created")])
    assert await _stored(database, one) == [(1, "call_created")]


async def test_transactions_beside_each_other_number_without_gap_in_the_order_of_their_commits(
    database: Database,
) -> None:
    resources = [uuid4() for _ in range(3)]

    async def announce(index: int) -> None:
        async with database.begin() as connection:
            await emit(connection, [_event(resources[(index + step) % 3]) for step in range(3)])

    await asyncio.gather(*(announce(index) for index in range(30)))
    for resource in resources:
        assert [sequence for sequence, _ in await _stored(database, resource)] == list(range(1, 31))
