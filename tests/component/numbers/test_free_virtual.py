"""Free virtual numbers over a real table with many taken ones: followed as they come and go, and found at once."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

from sqlalchemy import insert, text, update

from ringline.customers.tables import customers
from ringline.http import utc_now
from ringline.numbers import NumberDirectory
from ringline.numbers.tables import numbers
from ringline.storage import Database, migrate
from ringline.vendors.models import Search
from ringline.vendors.virtual import VirtualVendor

MANY = 20_000  # more of them: tests/unit/vendors/test_virtual.py


async def test_among_many_taken(empty_database_url: str) -> None:
    await migrate.upgrade(empty_database_url)
    database = Database(empty_database_url, statement_timeout=60.0)
    directory = NumberDirectory(database)
    customer_id, now = uuid4(), utc_now()
    try:
        async with database.begin() as connection:
            await connection.execute(
                insert(customers).values(
                    id=customer_id, name="many", status="active", domain_label="many", tm_create=now
                )
            )
            # a notification for each would take longer than all the rest
            await connection.execute(text("ALTER TABLE numbers DISABLE TRIGGER USER"))
            for low in range(1, MANY, 5_000):
                await connection.execute(
                    text(
                        "INSERT INTO numbers (id, customer_id, number, type, status, tm_create)"
                        " SELECT gen_random_uuid(), :customer_id, '+899' || (100000000 + n), 'virtual',"
                        " 'active', :now"
                        " FROM generate_series(CAST(:low AS int), CAST(:high AS int)) AS n"
                    ),
                    {"customer_id": customer_id, "now": now, "low": low, "high": low + 4_999},
                )
            await connection.execute(text("ALTER TABLE numbers ENABLE TRIGGER USER"))
        await directory.start()
        assert len(directory.virtual) == MANY
        vendor = VirtualVendor(directory.virtual)

        async def first() -> str:
            (offer,) = await vendor.search(Search("", limit=1))
            return offer.number

        spent = []
        for turn in range(100):
            contains = ("", "777", "1234*", "00001")[turn % 4]
            started = time.thread_time()
            found = await vendor.search(Search("", contains=contains, limit=100))
            spent.append(time.thread_time() - started)
            assert len(found) == 100
            assert not any(directory.by_number(offer.number) for offer in found)
        print(f"p50 {sorted(spent)[50] * 1000:.1f} ms, p95 {sorted(spent)[94] * 1000:.1f} ms")
        assert sorted(spent)[94] < 0.1

        assert await first() == f"+899{100_000_000 + MANY + 1}"
        number_id = directory.by_number("+899100000500").id  # type: ignore[union-attr]  # it is there
        async with database.begin() as connection:  # another process gives one back
            await connection.execute(
                update(numbers).where(numbers.c.id == number_id).values(tm_delete=utc_now(), status="deleted")
            )
        async with asyncio.timeout(60):
            while await first() != "+899100000500":
                await asyncio.sleep(0.05)
        async with database.begin() as connection:  # and somebody takes it again
            await connection.execute(
                insert(numbers).values(
                    id=uuid4(),
                    customer_id=customer_id,
                    number="+899100000500",
                    type="virtual",
                    status="suspended",
                    tm_create=utc_now(),
                )
            )
        async with asyncio.timeout(60):
            while await first() == "+899100000500":
                await asyncio.sleep(0.05)
        assert len(directory.virtual) == MANY
        await directory.reload()  # a reconnect
        assert len(directory.virtual) == MANY
        assert await first() == f"+899{100_000_000 + MANY + 1}"
    finally:
        await directory.close()
        await database.close()
