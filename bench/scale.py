"""Lists over large tables: how long each page takes, and by which index PostgreSQL finds it.

``python -m bench.scale DATABASE_URL [MESSAGES] [NUMBERS]`` migrates a database, fills an empty one and prints times
(milliseconds, as ``MessageService.page`` and ``NumberService.page`` need them, default page size) and plans.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from ringline.http import page_statement
from ringline.messages import store
from ringline.messages.models import MessageQuery, OptoutQuery
from ringline.messages.service import MessageService, listing
from ringline.numbers.models import NumberQuery
from ringline.numbers.service import NumberService
from ringline.numbers.tables import numbers as table
from ringline.storage import Database, migrate
from ringline.storage.rows import live

ROUNDS = 60
DEEP = 40
"""Pages that are leafed through from a moment somewhere in the table."""

_CUSTOMERS = """
INSERT INTO customers (id, name, status, domain_label, tm_create)
SELECT CASE WHEN n = 0 THEN CAST(:big AS uuid) ELSE gen_random_uuid() END, 'scale', 'active', 'scale' || n, now()
FROM generate_series(0, 50) n
"""
_MESSAGES = """
WITH others AS (SELECT array_agg(id) AS ids FROM customers WHERE id <> CAST(:big AS uuid)), drawn AS (
  SELECT n, random() AS who, random() AS way, random() AS fate, floor(300 * random())::int AS number,
         floor(200000 * power(random(), 3))::int AS handset
  FROM generate_series(CAST(:first AS int), CAST(:last AS int)) n)
INSERT INTO messages (id, customer_id, type, direction, status, source, source_number, text, tm_create)
SELECT gen_random_uuid(), CASE WHEN who < 0.9 THEN CAST(:big AS uuid) ELSE ids[1 + floor(50 * random())::int] END,
  'sms', CASE WHEN way < 0.3 THEN 'inbound' ELSE 'outbound' END,
  CASE WHEN way < 0.3 OR fate < 0.93 THEN 'delivered' WHEN fate < 0.98 THEN 'failed' WHEN fate < 0.9995 THEN 'sent'
    ELSE 'sending' END,
  jsonb_build_object('type', 'tel', 'target', shown, 'target_name', '', 'name', '', 'detail', ''), shown,
  'text number ' || n || repeat(' and so on', 6), now() - (CAST(:total AS int) - n) * interval '20 seconds'
FROM drawn CROSS JOIN others CROSS JOIN LATERAL (
  SELECT CASE WHEN way < 0.3 THEN '+4917' || lpad(handset::text, 8, '0')
    ELSE '+1212555' || lpad(number::text, 4, '0') END AS shown) s
"""
_TARGETS = """
INSERT INTO message_targets (id, message_id, customer_id, position, source_number, destination, destination_number,
  status, parts, vendor, reference, tm_create, tm_update)
SELECT gen_random_uuid(), id, customer_id, position, source_number,
  jsonb_build_object('type', 'tel', 'target', shown, 'target_name', '', 'name', '', 'detail', ''), shown, status, 1,
  'sandbox', gen_random_uuid()::text, tm_create, tm_create
FROM messages CROSS JOIN LATERAL
  generate_series(0, CASE WHEN direction = 'outbound' AND random() < 0.05 THEN 2 ELSE 0 END) AS position
  CROSS JOIN LATERAL (SELECT CASE WHEN direction = 'inbound'
    THEN '+1212555' || lpad(floor(300 * random())::int::text, 4, '0')
    ELSE '+4917' || lpad((position + 200000 * power(random(), 3))::int::text, 8, '0') END AS shown) s
"""
_SEED = sa.text("SELECT setseed(:seed)")
"""What ``random()`` draws is the same with each run."""
_NUMBERS = """
INSERT INTO numbers (id, customer_id, number, type, status, provider_name, tm_create, tm_delete)
SELECT gen_random_uuid(), CAST(:big AS uuid),
  CASE WHEN n % 5 = 0 THEN '+899' || lpad(n::text, 9, '0') ELSE '+1' || lpad((2000000000 + n)::text, 10, '0') END,
  CASE WHEN n % 5 = 0 THEN 'virtual' ELSE 'normal' END,
  CASE WHEN n % 10 = 9 THEN 'deleted' WHEN n % 1000 = 1 THEN 'suspended' WHEN n % 5000 = 2 THEN 'purchase-pending'
    ELSE 'active' END, CASE WHEN n % 5 = 0 THEN '' ELSE 'sandbox' END, now() - n * interval '1 minute',
  CASE WHEN n % 10 = 9 THEN now() END
FROM generate_series(1, CAST(:total AS int)) n
"""
_OPTOUTS = """
INSERT INTO message_optouts (id, customer_id, number, handset, tm_create)
SELECT gen_random_uuid(), CAST(:big AS uuid), '+1212555' || lpad((n % 300)::text, 4, '0'),
  '+4917' || lpad(n::text, 8, '0'), now() - n * interval '1 minute'
FROM generate_series(1, CAST(:total AS int)) n
"""

FILTERS: dict[str, dict[str, str]] = {
    "all": {},
    "inbound": {"direction": "inbound"},
    "outbound": {"direction": "outbound"},
    "sending": {"status": "sending"},
    "sent": {"status": "sent"},
    "failed": {"status": "failed"},
    "delivered": {"status": "delivered"},
    "outbound, delivered": {"direction": "outbound", "status": "delivered"},
    "inbound, failed": {"direction": "inbound", "status": "failed"},
    "from a number": {"source": "+12125550007"},
    "from a busy handset": {"source": "+491700000000"},
    "from nobody": {"source": "+15550000000"},
    "to a number": {"destination": "+12125550007"},
    "to a busy handset": {"destination": "+491700000000"},
    "to a handset, failed": {"destination": "+491700000000", "status": "failed"},
    "from a number, failed": {"source": "+12125550007", "status": "failed"},
    "from a number to a handset": {"source": "+12125550007", "destination": "+491700000000"},
}
NUMBER_FILTERS: dict[str, dict[str, str]] = {
    "all": {},
    "suspended": {"status": "suspended"},
    "active": {"status": "active"},
    "deleted": {"status": "deleted"},
    "virtual": {"type": "virtual"},
    "one number": {"number": "+12000000001"},
}


async def fill(database: Database, big: UUID, messages: int, numbers: int) -> None:
    """Everything, most of it one customer's."""
    async with database.begin() as connection:
        await connection.execute(sa.text(_CUSTOMERS), {"big": str(big)})
    for first in range(0, messages, 20_000):
        async with database.begin() as connection:
            await connection.execute(_SEED, {"seed": first / messages})
            await connection.execute(
                sa.text(_MESSAGES),
                {
                    "big": str(big),
                    "first": first,
                    "last": min(first + 20_000, messages) - 1,
                    "total": messages,
                },
            )
    for statement, total in ((_TARGETS, None), (_NUMBERS, numbers), (_OPTOUTS, numbers)):
        async with database.begin() as connection:
            await connection.execute(_SEED, {"seed": 0.5})
            given = {} if total is None else {"big": str(big), "total": total}
            await connection.execute(sa.text(statement), given)
    async with database.connect() as connection:
        # of a sample that is nearly all there is: plans are then the same with each run
        await connection.execute(sa.text("SET default_statistics_target = 1000"))
        await connection.execute(sa.text("VACUUM ANALYZE"))
        await connection.execute(sa.text("RESET default_statistics_target"))


async def timed(page: Callable[[str], Awaitable[str]], start: Callable[[], str]) -> tuple[list[float], float]:
    """Milliseconds of pages (first ones, and leafing on from somewhere with each page's own token), and how many of
    them this process computes, on average: the rest is PostgreSQL, and waiting for a processor."""
    times = []
    spent = time.process_time()
    token = ""
    for turn in range(ROUNDS + DEEP):
        if turn < ROUNDS // 2:
            token = ""
        elif turn < ROUNDS:
            token = start()
        began = time.perf_counter()
        token = await page(token)
        times.append(1000 * (time.perf_counter() - began))
    return times, 1000 * (time.process_time() - spent) / len(times)


async def plan(database: Database, statement: sa.Select[Any], *, sort: bool = True) -> str:
    """What PostgreSQL does for a statement, and how long. Without ``sort`` it sorts only what no index has in order:
    of few rows, sorting costs as much as reading them in order, and either may be chosen."""
    text = statement.compile(dialect=database.engine.dialect, compile_kwargs={"literal_binds": True})
    async with database.begin() as connection:
        if not sort:
            await connection.execute(sa.text("SET LOCAL enable_sort = off"))
        rows = await connection.execute(
            sa.text(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {str(text).replace(':', chr(92) + ':')}")
        )
        return "\n".join(row[0] for row in rows)


async def main(url: str, messages: int, numbers: int) -> None:
    await migrate.upgrade(url)
    big = uuid4()
    began = time.perf_counter()
    patient = Database(url, statement_timeout=1800.0)
    async with patient.connect() as connection:
        known = (
            await connection.execute(sa.text("SELECT id FROM customers WHERE domain_label = 'scale0'"))
        ).scalar()
    if known is None:
        await fill(patient, big, messages, numbers)
    big = known or big
    await patient.close()
    database = Database(url)
    print(f"{messages} messages, {numbers} numbers, filled in {time.perf_counter() - began:.0f} s\n")
    service = MessageService(database, None, None)  # type: ignore[arg-type]  # it only reads
    number_service: Any = object.__new__(NumberService)
    number_service._database = database

    def somewhere() -> str:
        age = random.random() * messages * 20
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age))

    def somewhere_number() -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - random.random() * numbers * 60))

    async def messages_of(wanted: dict[str, str], token: str) -> str:
        return (await service.page(big, MessageQuery(page_token=token, **wanted))).next_page_token

    async def numbers_of(wanted: dict[str, str], token: str) -> str:
        rows = await number_service.page(big, NumberQuery(page_token=token, **wanted))
        return rows[-1].tm_create.isoformat() if len(rows) > 100 else ""

    async def optouts_of(wanted: dict[str, str], token: str) -> str:
        rows = await service.optouts(big, OptoutQuery(page_token=token, **wanted))
        return rows[-1].tm_create.isoformat() if len(rows) > 100 else ""

    print(f"{'list':44} {'median':>8} {'p95':>8} {'worst':>8} {'own':>8}")
    every = [
        *(("messages: " + name, messages_of, wanted, somewhere) for name, wanted in FILTERS.items()),
        *(
            ("numbers: " + name, numbers_of, wanted, somewhere_number)
            for name, wanted in NUMBER_FILTERS.items()
        ),
        ("opt-outs: all", optouts_of, {}, somewhere_number),
        ("opt-outs: of a number", optouts_of, {"number": "+12125550007"}, somewhere_number),
        ("opt-outs: of a handset", optouts_of, {"handset": "+491700000007"}, somewhere_number),
    ]
    for name, page, wanted, start in every:
        times, own = await timed(lambda token, page=page, wanted=wanted: page(wanted, token), start)  # type: ignore[misc]
        worst, p95 = max(times), statistics.quantiles(times, n=20)[-1]
        print(f"{name:44} {statistics.median(times):8.2f} {p95:8.2f} {worst:8.2f} {own:8.2f}")
    print()
    for name, wanted in FILTERS.items():
        query = MessageQuery(page_token=somewhere(), **wanted)
        print(f"-- messages: {name}\n{await plan(database, listing(big, query))}\n")
    for name, wanted in NUMBER_FILTERS.items():
        query_ = NumberQuery(page_token=somewhere_number(), **wanted)
        statement = live(table, big)
        if wanted.get("status") == "deleted":
            statement = sa.select(table).where(table.c.customer_id == big, table.c.tm_delete.is_not(None))
        for column, value in wanted.items():
            statement = statement.where(table.c[column] == value)
        print(f"-- numbers: {name}\n{await plan(database, page_statement(statement, table, query_))}\n")
    print(
        "-- sending: what is due\n"
        + await plan(
            database,
            sa.select(store.targets)
            .where(store.targets.c.step != "")
            .order_by(store.targets.c.tm_due)
            .limit(500),
        )
    )
    await database.close()


if __name__ == "__main__":
    asyncio.run(
        main(
            sys.argv[1],
            int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000,
            int(sys.argv[3]) if len(sys.argv) > 3 else 100_000,
        )
    )
