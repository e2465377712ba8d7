"""Processes and servers that go away in the middle: nothing is lost, and each resource's order is kept."""

from __future__ import annotations

import asyncio
import time

import pytest
from bench.webhooks import Plan, Process, reports
from tests.component.conftest import postgres_server, until_postgres

from ringline.storage import Database, DatabaseUnavailable, migrate

EVENTS = 5000
SECONDS = 300


@pytest.mark.timeout(480)
async def test_nothing_is_lost_when_a_worker_is_killed_and_postgresql_restarted() -> None:
    with postgres_server() as (container, url):
        await until_postgres(url)
        await migrate.upgrade(url)
        database = Database(url)
        plan = Plan(database, endpoints=10, bad=3)
        receiver = await plan.make()
        workers = [await Process.begin("worker", "--database", url) for _ in range(2)]
        try:
            for worker in workers:
                await worker.ready()
            await _emit(plan, EVENTS // 4)
            # it dies with deliveries under way, and outcomes that nobody has written
            await workers[0].kill()
            workers[0] = await Process.begin("worker", "--database", url)
            await _emit(plan, EVENTS // 4)
            await workers[0].ready()
            await asyncio.to_thread(container.get_wrapped_container().restart, timeout=5)
            await until_postgres(url)
            await _emit(plan, EVENTS // 4)
            await workers[1].kill()
            await _emit(plan, EVENTS // 4)
            found = await _arrived(plan, receiver)
        finally:
            for process in (*workers, receiver):
                await process.end()
            await database.close()
    assert [one["events"] for one in found] == [plan.expected(target) for target in plan.good]
    assert [one["disordered"] for one in found] == [0] * 7
    assert [one["foreign_ids"] for one in found] == [0] * 7, "what comes twice has the same id"
    assert sum(one["verified"] for one in found) >= 7


async def _emit(plan: Plan, count: int) -> None:
    for _ in range(count // 50):
        async with asyncio.timeout(60):
            # the pool's connections of before the restart; nothing was committed
            while not await _emitted(plan):
                await asyncio.sleep(0.2)
        await asyncio.sleep(0.02)


async def _emitted(plan: Plan) -> bool:
    try:
        await plan.emit(50)
    except DatabaseUnavailable:
        return False
    return True


async def _arrived(plan: Plan, receiver: Process) -> list[dict[str, int]]:
    expected = sum(plan.expected(target) for target in plan.good)
    deadline = time.monotonic() + SECONDS
    while True:
        found = await reports(receiver, plan)
        if sum(one["events"] for one in found) >= expected or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.5)
