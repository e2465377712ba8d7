"""A database of these tests' own: workers of other tests would take the orders on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from ringline.storage import Database, migrate


@pytest.fixture(scope="session")
async def own_database(postgres_url: str) -> AsyncIterator[Database]:
    name = f"numbers_{uuid4().hex}"
    admin = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    await admin.execute(f"CREATE DATABASE {name}")
    url = postgres_url.rsplit("/", 1)[0] + f"/{name}"
    await migrate.upgrade(url)
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()
