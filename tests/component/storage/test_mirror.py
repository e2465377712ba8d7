"""Tables held in memory follow the database, and outlive its absence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text, update

from ringline.customers import CustomerDirectory
from ringline.customers.tables import customers
from ringline.http import utc_now
from ringline.storage import Database


@dataclass
class World:
    database: Database
    directory: CustomerDirectory

    async def insert(self, label: str) -> UUID:
        customer_id = uuid4()
        async with self.database.begin() as connection:
            await connection.execute(
                customers.insert().values(id=customer_id, domain_label=label, tm_create=utc_now())
            )
        return customer_id

    async def change(self, customer_id: UUID, **values: Any) -> None:
        async with self.database.begin() as connection:
            await connection.execute(update(customers).where(customers.c.id == customer_id).values(values))


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    directory = CustomerDirectory(database)
    await directory.start()
    await until(lambda: directory._listener.connected)
    yield World(database, directory)
    await directory.close()


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.01)


async def test_it_follows_what_others_write(world: World) -> None:
    label = uuid4().hex
    customer_id = await world.insert(label)
    await until(lambda: world.directory.by_id(customer_id) is not None)
    found = world.directory.by_label(label.upper())
    assert found is not None
    assert found.id == customer_id

    renamed = uuid4().hex
    await world.change(customer_id, domain_label=renamed)
    await until(lambda: world.directory.by_label(renamed) is not None)
    assert world.directory.by_label(label) is None

    await world.change(customer_id, tm_delete=utc_now())
    await until(lambda: world.directory.by_id(customer_id) is None)
    assert world.directory.by_label(renamed) is None


async def test_a_lost_listener_catches_up(world: World) -> None:
    async with world.database.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'ringline-listener'"
            )
        )
    customer_id = await world.insert(uuid4().hex)
    await until(lambda: world.directory.by_id(customer_id) is not None)


async def test_many_changes_at_once_all_arrive(world: World) -> None:
    ids = await asyncio.gather(*(world.insert(uuid4().hex) for _ in range(50)))
    await until(lambda: all(world.directory.by_id(customer_id) for customer_id in ids))


async def test_a_refresh_without_a_database_keeps_what_is_known(world: World) -> None:
    customer_id = await world.insert(uuid4().hex)
    await until(lambda: world.directory.by_id(customer_id) is not None)
    gone = Database("postgresql+asyncpg://x:x@127.0.0.1:1/x")
    world.directory._database, kept = gone, world.directory._database
    await world.directory.refresh(customer_id)
    assert world.directory.by_id(customer_id) is not None
    world.directory._database = kept
    await gone.close()


async def test_what_is_deleted_and_made_again_is_found_under_its_new_id(world: World) -> None:
    label = uuid4().hex
    old = await world.insert(label)
    await until(lambda: world.directory.by_label(label) is not None)
    new = uuid4()
    async with world.database.begin() as connection:
        await connection.execute(update(customers).where(customers.c.id == old).values(tm_delete=utc_now()))
        await connection.execute(customers.insert().values(id=new, domain_label=label, tm_create=utc_now()))
    await until(lambda: world.directory.by_id(old) is None and world.directory.by_id(new) is not None)
    found = world.directory.by_label(label)
    assert found is not None
    assert found.id == new
    for order in ((old, new), (new, old)):
        await asyncio.gather(*(world.directory.refresh(customer_id) for customer_id in order))
        assert world.directory.by_label(label) == found
