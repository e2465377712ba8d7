"""Records written behind: in batches, newest last, kept while PostgreSQL is away; a bad one stops no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.http import utc_now
from ringline.numbers.tables import numbers
from ringline.storage import Database, DatabaseUnavailable, bulk
from ringline.storage.behind import WriteBehind

STATEMENT = bulk.upsert(
    numbers, ("id", "customer_id", "number", "type", "status", "name", "tm_create"), ("name",)
)


@dataclass
class Record:
    id: UUID
    customer_id: UUID
    number: str
    name: str = ""

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "customer_id": self.customer_id,
            "number": self.number,
            "type": "normal",
            "status": "active",
            "name": self.name,
            "tm_create": utc_now(),
        }


class Away:
    """A database that can be taken away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.away = False
        self.used = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        if self.away:
            raise DatabaseUnavailable("away")
        self.used += 1
        async with self._database.connect() as connection:
            yield connection


@pytest.fixture
async def customer_id(database: Database) -> UUID:
    customer_id = uuid4()
    async with database.begin() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO customers (id, name, status, domain_label, tm_create)"
                " VALUES (:id, 'behind', 'active', :label, now())"
            ),
            {"id": customer_id, "label": f"b{customer_id.hex[:10]}"},
        )
    return customer_id


def new(customer_id: UUID) -> Record:
    return Record(uuid4(), customer_id, f"+1{uuid4().int % 10**10:010}")


async def names(database: Database, *records: Record) -> list[str | None]:
    async with database.connect() as connection:
        rows = await connection.execute(sa.select(numbers.c.id, numbers.c.name))
        found = {row.id: row.name for row in rows}
    return [found.get(record.id) for record in records]


async def test_changes_are_written_once_and_the_last_is_the_truth(
    database: Database, customer_id: UUID
) -> None:
    behind = WriteBehind(database, STATEMENT, Record.row, name="numbers")
    record = new(customer_id)
    for name in ("one", "two", "three"):
        record.name = name
        behind.touch(record)
    assert behind.depth == 1
    await behind.start()
    await behind.written(60)
    assert (await names(database, record), behind.depth) == (["three"], 0)
    record.name = "four"
    behind.touch(record)
    async with asyncio.timeout(30):
        while await names(database, record) != ["four"]:
            await asyncio.sleep(0.05)
    record.name = "five"
    behind.touch(record)
    await behind.close()
    assert await names(database, record) == ["five"], "what is left is written at the end"


async def test_what_cannot_be_written_now_is_written_later(database: Database, customer_id: UUID) -> None:
    away = Away(database)
    behind = WriteBehind(away, STATEMENT, Record.row, name="numbers")  # type: ignore[arg-type]
    await behind.start()
    record = new(customer_id)
    away.away = True
    behind.touch(record)
    await behind.written(0.5)
    assert behind.depth == 1
    record.name = "later"
    await asyncio.sleep(0.5)
    away.away = False
    async with asyncio.timeout(30):
        while await names(database, record) != ["later"]:
            await asyncio.sleep(0.05)
    await behind.close()
    away.away = True
    behind.touch(record)
    await behind.close(grace=0.2)
    assert behind.depth == 1


async def test_one_that_is_refused_does_not_keep_the_others(database: Database, customer_id: UUID) -> None:
    behind = WriteBehind(database, STATEMENT, Record.row, name="numbers")
    records = [new(customer_id) for _ in range(5)]
    records[2].customer_id = uuid4()
    for record in records:
        record.name = "kept"
        behind.touch(record)
    await behind.start()
    await behind.written(60)
    assert await names(database, *records) == ["kept", "kept", None, "kept", "kept"]
    assert behind.depth == 0
    await behind.close()


async def test_many_are_written_in_few_statements(database: Database, customer_id: UUID) -> None:
    away = Away(database)
    behind = WriteBehind(away, STATEMENT, Record.row, name="numbers")  # type: ignore[arg-type]
    for _ in range(1200):
        behind.touch(new(customer_id))
    await behind.start()
    await behind.written(60)
    assert away.used == 3
    await behind.close()
