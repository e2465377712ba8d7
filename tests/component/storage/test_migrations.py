"""The migrations build the schema that the code describes, whoever starts them."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from ringline import schema
from ringline.storage import Database, migrate


async def test_tables_and_migrations_agree(database: Database) -> None:
    await migrate.check(database, schema.load())  # raises when alembic would still change anything


async def test_two_starters_do_not_collide(empty_database_url: str) -> None:
    reached = await asyncio.gather(*(migrate.upgrade(empty_database_url) for _ in range(3)))
    assert set(reached) == {migrate.head()}


async def test_a_fresh_database_is_at_no_revision(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    try:
        assert await migrate.current(database) == ""
    finally:
        await database.close()


async def test_the_first_migration_can_be_taken_back(empty_database_url: str) -> None:
    await migrate.upgrade(empty_database_url, revision="0001")
    database = Database(empty_database_url)
    try:
        async with database.begin() as connection:
            triggers = await connection.execute(
                text("SELECT DISTINCT event_object_table FROM information_schema.triggers")
            )
            assert set(triggers.scalars()) == {"customers", "agents", "accesskeys", "numbers"}
    finally:
        await database.close()
