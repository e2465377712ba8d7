"""Many numbers in memory: read piece by piece, followed, looked up; and lists of them by their indexes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text, update
from sqlalchemy.dialects import postgresql

from ringline.numbers import NumberDirectory
from ringline.numbers.models import NumberQuery
from ringline.numbers.service import listing
from ringline.numbers.tables import numbers
from ringline.storage import Database

MANY = 12_000
FILL = """
INSERT INTO numbers (id, customer_id, number, type, status, tm_create, tm_delete)
SELECT gen_random_uuid(), :customer_id, CASE WHEN n % 10 = 0 THEN '+899' || lpad(n::text, 9, '0') ELSE
  '+1607' || lpad(n::text, 7, '0') END, CASE WHEN n % 10 = 0 THEN 'virtual' ELSE 'normal' END,
  CASE WHEN n % 1000 = 1 THEN 'suspended' WHEN n % 100 = 3 THEN 'deleted' ELSE 'active' END,
  now() - n * interval '1 second', CASE WHEN n % 100 = 3 THEN now() END
FROM generate_series(1, CAST(:many AS int)) n
"""


@pytest.fixture(scope="module")
async def customer_id(database: Database) -> AsyncIterator[UUID]:
    owner = uuid4()
    async with database.begin() as connection:
        await connection.execute(
            text("INSERT INTO customers (id, domain_label, tm_create) VALUES (:id, :label, now())"),
            {"id": owner, "label": uuid4().hex},
        )
        await connection.execute(text(FILL), {"customer_id": owner, "many": MANY})
    async with database.connect() as connection:
        await connection.execute(text("ANALYZE numbers"))
    yield owner
    async with database.begin() as connection:
        await connection.execute(numbers.delete().where(numbers.c.customer_id == owner))


async def test_all_are_read_and_found(database: Database, customer_id: UUID) -> None:
    directory = NumberDirectory(database)
    await directory.reload()
    mine = [number for number in directory.all() if number.customer_id == customer_id]
    assert len(mine) == MANY - MANY // 100
    assert len({number.id for number in mine}) == len(mine)
    found = directory.by_number("+16070000001")
    assert found is not None
    assert (found.status, found.type, found.customer_id) == ("suspended", "normal", customer_id)
    assert directory.by_number("+16070000003") is None
    assert directory.by_national("6070000002") == directory.by_number("+16070000002")
    assert 20 in directory.virtual
    assert directory.virtual.next_free(20) == 21
    oldest = directory.oldest(customer_id)
    assert oldest is not None
    assert oldest.number == f"+1607{MANY - 1:07}"
    begun = time.perf_counter()
    for n in range(10_000):
        directory.by_number(f"+1607{n:07}")
    assert (time.perf_counter() - begun) / 10_000 < 0.002


async def test_what_changes_is_seen_and_what_goes_is_gone(database: Database, customer_id: UUID) -> None:
    directory = NumberDirectory(database)
    await directory.start()
    try:
        known = directory.by_number("+16070000005")
        assert known is not None
        change = update(numbers).where(numbers.c.id == known.id)
        async with database.begin() as connection:
            await connection.execute(change.values(status="suspended"))
        # while another reading of everything is under way
        await asyncio.gather(directory.reload(), directory.refresh(known.id))
        seen = directory.by_id(known.id)
        assert seen is not None
        assert seen.status == "suspended"
        assert directory.by_national("6070000005") == seen
        async with database.begin() as connection:
            await connection.execute(change.values(status="deleted", tm_delete=text("now()")))
        await directory.reload()
        assert directory.by_id(known.id) is None
        assert directory.by_number("+16070000005") is None
        assert directory.by_national("6070000005") is None
        # a number that somebody else bought since
        async with database.begin() as connection:
            statement = numbers.insert().values(
                id=uuid4(),
                customer_id=customer_id,
                number=known.number,
                type="normal",
                status="active",
                tm_create=text("now()"),
            )
            await connection.execute(statement)
        async with asyncio.timeout(60):
            while directory.by_number(known.number) is None:
                await asyncio.sleep(0.02)
    finally:
        await directory.close()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({}, "ix_numbers_page"),
        ({"status": "suspended"}, "ix_numbers_status"),
        ({"type": "virtual"}, "ix_numbers_type"),
        ({"number": "+16070000002"}, "uq_numbers_number"),
        ({"page_token": "2021-02-06 08:54:38.000000"}, "ix_numbers_page"),
        ({"status": "deleted"}, "ix_numbers_deleted"),
    ],
)
async def test_lists_walk_an_index(
    database: Database, customer_id: UUID, query: dict[str, str], index: str
) -> None:
    statement = listing(customer_id, NumberQuery.model_validate(query))
    compiled = statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    async with database.connect() as connection:
        found = (await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {compiled}")).scalar_one()
    plan = found if isinstance(found, str) else json.dumps(found)
    assert index in plan
    assert "Seq Scan" not in plan
    # a number is one row; everything else is in order as it is read
    assert '"Sort"' not in plan or index == "uq_numbers_number"
