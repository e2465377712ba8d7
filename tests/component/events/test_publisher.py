"""Publishing: in order, once, by one process at a time, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.events import Event, Published, emit, reader
from ringline.events.publisher import PUBLISHED_CHANNEL, Publisher
from ringline.storage import Database, migrate

SEEN = sa.table("seen", sa.column("id", sa.Uuid), sa.column("published", sa.BigInteger))


@pytest.fixture
async def own(empty_database_url: str) -> AsyncIterator[Database]:
    """A database of the test's own, in which nobody else publishes, with a table for a sink."""
    await migrate.upgrade(empty_database_url)
    # writers of the same resources wait for each other; on a busy machine that takes its time
    database = Database(empty_database_url, statement_timeout=60.0)
    async with database.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE seen (id uuid PRIMARY KEY, published bigint)"))
    yield database
    await database.close()


def _event(resource_id: UUID, name: str = "call_updated", customer_id: UUID | None = None) -> Event:
    return Event(
        type=name,
        customer_id=customer_id or UUID(int=1),
        resource="call",
        resource_id=resource_id,
        data={"id": str(resource_id)},
        tm_create=datetime.now(UTC),
    )


async def _sink(connection: AsyncConnection, events: Sequence[Published]) -> None:
    await connection.execute(
        sa.insert(SEEN), [{"id": one.event.id, "published": one.published} for one in events]
    )


async def _read(database: Database) -> list[Published]:
    found: list[Published] = []
    async with database.connect() as connection:
        while page := await reader.after(connection, None, found[-1].published if found else 0, 5000):
            found += page
    return found


async def _until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)


async def _published(database: Database, count: int, seconds: float = 120.0) -> list[Published]:
    """The first events of the database, once there are so many."""
    statement = sa.text("SELECT count(*) FROM events WHERE published IS NOT NULL")
    deadline = time.monotonic() + seconds
    while True:
        async with database.connect() as connection:
            found = await connection.scalar(statement)
        if found >= count:
            return await _read(database)
        assert time.monotonic() < deadline, f"{found} of {count} were published"
        await asyncio.sleep(0.05)


def _assert_in_order(events: Sequence[Published]) -> None:
    numbers = [one.published for one in events]
    assert numbers == sorted(set(numbers))
    sequences = defaultdict(list)
    for one in events:
        sequences[one.event.resource_id].append(one.sequence)
    for resource, counted in sequences.items():
        assert counted == list(range(1, len(counted) + 1)), resource


async def _seen(database: Database) -> dict[UUID, int]:
    async with database.connect() as connection:
        return {UUID(str(row.id)): row.published for row in await connection.execute(sa.select(SEEN))}


async def test_what_is_committed_is_published_soon_and_told(own: Database) -> None:
    publisher = Publisher(own, [_sink], poll=30.0)
    heard: list[str] = []

    async def nothing() -> None:
        pass

    following = await own.follow(PUBLISHED_CHANNEL, heard.append, nothing)
    await publisher.start()
    await _until(lambda: publisher.holding)
    call, event = uuid4(), _event(uuid4())
    async with own.begin() as connection:
        await emit(connection, [_event(call, "call_created"), _event(call, "call_dialing"), event])
    events = await _published(own, 3)
    assert [one.event.type for one in events] == ["call_created", "call_dialing", "call_updated"]
    assert events[2].event == event
    await _until(lambda: heard)
    assert heard == [str(events[-1].published)]
    assert await _seen(own) == {one.event.id: one.published for one in events}
    await publisher.close()
    await own.listener.leave(following)


async def test_readers_see_their_customers_events_and_go_on_from_one(own: Database) -> None:
    mine, theirs = uuid4(), uuid4()
    async with own.begin() as connection:
        await emit(connection, [_event(uuid4(), customer_id=one) for one in (mine, theirs, mine)])
        assert await reader.newest(connection) == 0
    publisher = Publisher(own)
    await publisher.start()
    events = await _published(own, 3)
    await publisher.close()
    async with own.connect() as connection:
        assert await reader.after(connection, mine, 0, 10) == [events[0], events[2]]
        assert await reader.after(connection, mine, events[0].published, 10) == [events[2]]
        assert await reader.after(connection, mine, 0, 1) == [events[0]]
        assert await reader.by_id(connection, mine, events[0].event.id) == events[0]
        assert await reader.by_id(connection, mine, events[1].event.id) is None
        assert await reader.oldest(connection, theirs) == events[1].published
        assert await reader.oldest(connection, uuid4()) is None
        assert await reader.newest(connection) == events[2].published


async def test_of_two_one_publishes_and_the_other_takes_over_when_its_connection_dies(own: Database) -> None:
    second_database = Database(own.url)
    first, second = Publisher(own, [_sink], poll=0.1), Publisher(second_database, [_sink], poll=0.1)
    await first.start()
    await _until(lambda: first.holding)
    await second.start()
    resources = [uuid4() for _ in range(5)]
    writing = asyncio.create_task(_write(own, resources, 200))
    for _ in range(6):
        await _published(own, 5)
        # whose connection was cut notices that as it uses it; until then both may think that they hold the lock
        await _until(lambda: first.holding is not second.holding)
        await _kill_holder(own)
    await first.close()
    await writing
    await _until(lambda: second.holding)
    events = await _published(own, 1000)
    await second.close()
    await second_database.close()
    _assert_in_order(events)
    assert await _seen(own) == {one.event.id: one.published for one in events}


async def _write(database: Database, resources: Sequence[UUID], times: int) -> None:
    for _ in range(times):
        async with database.begin() as connection:
            await emit(connection, [_event(resource) for resource in resources])


async def _kill_holder(database: Database) -> None:
    async with database.connect() as connection:
        await connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
                " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
            )
        )


async def test_what_a_sink_refuses_comes_again_and_is_told_once(own: Database) -> None:
    refusals = [RuntimeError("full"), RuntimeError("still full")]

    async def refusing(connection: AsyncConnection, events: Sequence[Published]) -> None:
        await _sink(connection, events)
        if refusals:
            raise refusals.pop()

    publisher = Publisher(own, [refusing], poll=0.1)
    await publisher.start()
    resource = uuid4()
    await _write(own, [resource], 3)
    events = await _published(own, 3)
    await publisher.close()
    assert not refusals
    _assert_in_order(events)
    assert await _seen(own) == {one.event.id: one.published for one in events}


async def test_what_was_taken_back_and_what_waits_long_for_its_commit(own: Database) -> None:
    publisher = Publisher(own, [_sink], poll=0.1)
    await publisher.start()
    slow, quick, never = uuid4(), uuid4(), uuid4()
    async with own.begin() as connection:
        await emit(connection, [_event(slow)])
        with contextlib.suppress(LookupError):
            async with own.begin() as other:
                await emit(other, [_event(never)])
                raise LookupError
        await _write(own, [quick], 3)
        events = await _published(own, 3)
        assert {one.event.resource_id for one in events} == {quick}
    # it has a smaller position than what was published already
    events = await _published(own, 4)
    await publisher.close()
    assert events[-1].event.resource_id == slow
    _assert_in_order(events)


async def test_fifty_thousand_events_by_many_writers(own: Database) -> None:
    publisher = Publisher(own, [_sink], poll=0.5)
    await publisher.start()
    resources = [uuid4() for _ in range(500)]

    async def write(part: int) -> None:
        for turn in range(100):
            chosen = resources[(part * 100 + turn * 10) % 500 :][:100]
            chosen = [*chosen, *resources[: 100 - len(chosen)]]
            async with own.begin() as connection:
                await emit(connection, [_event(resource) for resource in chosen])

    await asyncio.gather(*(write(part) for part in range(5)))
    events = await _published(own, 50_000)
    await publisher.close()
    assert len(events) == 50_000
    _assert_in_order(events)
    assert await _seen(own) == {one.event.id: one.published for one in events}
