"""The database client: time limits, and restarts of the server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import event, text
from tests.component.conftest import free_port, postgres_server, until_postgres

from ringline.storage import Database, DatabaseUnavailable

_VICTIMS = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'victim'")


async def _one(database: Database) -> int:
    async with database.connect() as connection:
        return int((await connection.execute(text("SELECT 1"))).scalar_one())


async def test_a_slow_statement_is_cut_off(postgres_url: str) -> None:
    # what the client itself asks as it connects has to be done in this time, too
    database = Database(postgres_url, statement_timeout=1.5)
    try:
        with pytest.raises(DatabaseUnavailable):
            async with database.connect() as connection:
                await connection.execute(text("SELECT pg_sleep(60)"))
        assert await _one(database) == 1
    finally:
        await database.close()


async def test_an_exhausted_pool_is_not_waited_for_for_ever(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1, max_overflow=0, connect_timeout=2.0)
    try:
        async with database.begin():
            with pytest.raises(DatabaseUnavailable):
                async with database.begin():
                    pass
    finally:
        await database.close()


async def test_nobody_listening_is_unavailable() -> None:
    database = Database(f"postgresql+asyncpg://x:x@127.0.0.1:{free_port()}/x")
    start = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    assert time.monotonic() - start < 10
    await database.close()


async def test_a_server_that_goes_down_while_one_connects_is_unavailable() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = Database(f"postgresql+asyncpg://nobody:nothing@127.0.0.1:{port}/none?ssl=disable")
    try:
        async with server:
            with pytest.raises(DatabaseUnavailable):
                await _one(database)
    finally:
        await database.close()


async def test_an_error_of_the_statement_stays_what_it_is(database: Database) -> None:
    with pytest.raises(Exception, match="does_not_exist") as raised:
        async with database.connect() as connection:
            await connection.execute(text("SELECT * FROM does_not_exist"))
    assert not isinstance(raised.value, DatabaseUnavailable)


async def test_connections_closed_while_idle_are_replaced_unnoticed(postgres_url: str) -> None:
    database, other = Database(postgres_url, application_name="victim"), Database(postgres_url)
    opened: list[Any] = []
    event.listen(
        database.engine.sync_engine,
        "connect",
        lambda connection, _: opened.append(connection.driver_connection),
    )
    try:
        for _ in range(3):
            await asyncio.gather(*(_one(database) for _ in range(5)))
            async with other.connect() as connection:
                ended = await connection.execute(
                    text(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                        "WHERE application_name = 'victim'"
                    )
                )
                assert ended.scalar_one() > 0
                async with asyncio.timeout(30):
                    while (await connection.execute(_VICTIMS)).scalar_one():
                        await asyncio.sleep(0.05)
            # the news is on its way to us
            async with asyncio.timeout(30):
                while not all(connection.is_closed() for connection in opened):
                    await asyncio.sleep(0.02)
            assert await _one(database) == 1
    finally:
        await database.close()
        await other.close()


async def test_the_server_restarts() -> None:
    with postgres_server() as (container, url):
        await until_postgres(url)
        database = Database(url)
        try:
            assert await _one(database) == 1
            container.get_wrapped_container().restart(timeout=10)
            deadline = time.monotonic() + 60
            while True:
                try:
                    assert await _one(database) == 1
                    break
                except DatabaseUnavailable:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.2)
        finally:
            await database.close()
