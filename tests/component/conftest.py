"""PostgreSQL and Redis for the component tier, each in a container of its own."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import uuid4

# testcontainers' helper image (Ryuk) is not to be had without a registry; the fixtures clean up themselves.
os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"

import asyncpg
import pytest
import redis
from testcontainers.core.container import DockerContainer

from ringline.storage import Database, migrate

_READY_SECONDS = 90
_PORTS = range(61_000, 65_000)
"""Beyond those that the kernel gives to whoever connects somewhere: what is free stays free until it is used."""


def free_port() -> int:
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("0.0.0.0", port))  # as those of containers are
            return port
    raise AssertionError("no port is free")


@contextmanager
def postgres_server() -> Iterator[tuple[DockerContainer, str]]:
    """A container and the URL of its (empty) database. Its port stays the same when it is restarted."""
    port = free_port()
    container = (
        DockerContainer("postgres:18")
        .with_env("POSTGRES_USER", "ringline")
        .with_env("POSTGRES_PASSWORD", "ringline")
        .with_env("POSTGRES_DB", "ringline")
        .with_bind_ports(5432, port)
    )
    with container:
        yield container, f"postgresql+asyncpg://ringline:ringline@127.0.0.1:{port}/ringline"


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """Who begins to listen waits as long as a busy machine takes."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ringline.storage.listener._CONNECT_TIMEOUT", 30.0)
        yield


@pytest.fixture(scope="session")
async def postgres_url() -> AsyncIterator[str]:
    with postgres_server() as (_, url):
        await until_postgres(url)
        yield url


async def until_postgres(url: str) -> None:
    """Wait until the server takes connections. The first start of the image opens twice: ask twice."""
    deadline, answers = time.monotonic() + _READY_SECONDS, 0
    while answers < 2:
        try:
            connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=10)
            await connection.close()
            answers += 1
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            answers = 0
            assert time.monotonic() < deadline, "PostgreSQL did not start"
        time.sleep(0.3)


@pytest.fixture(scope="session")
def redis_container() -> Iterator[tuple[DockerContainer, str]]:
    port = free_port()
    with DockerContainer("redis:8").with_bind_ports(6379, port) as container:
        yield container, f"redis://127.0.0.1:{port}/0"


@pytest.fixture(scope="session")
def redis_url(redis_container: tuple[DockerContainer, str]) -> str:
    _, url = redis_container
    until_redis(url)
    return url


def until_redis(url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        try:
            client.ping()
            return
        except redis.RedisError:
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.2)
        finally:
            client.close()


@asynccontextmanager
async def new_database(postgres_url: str, template: str = "template1") -> AsyncIterator[str]:
    """The URL of a database of its own, made like ``template`` and dropped in the end."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield postgres_url.rsplit("/", 1)[0] + f"/{name}"
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


@pytest.fixture
async def empty_database_url(postgres_url: str) -> AsyncIterator[str]:
    """A database of the test's own, without any table."""
    async with new_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
async def migrated(postgres_url: str) -> AsyncIterator[str]:
    """The name of a database with all tables, for `new_database` to make others like it: nobody connects to it."""
    async with new_database(postgres_url) as url:
        await migrate.upgrade(url)
        yield url.rsplit("/", 1)[1]


@pytest.fixture(scope="module")
async def database_url(postgres_url: str, migrated: str) -> AsyncIterator[str]:
    """The module's own database with all tables.

    No two modules share one: a worker takes on whatever is due, and would take on what is another test's.
    """
    async with new_database(postgres_url, migrated) as url:
        yield url


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    """The module's own database. Its tests keep apart by customers of their own.

    Its time limits are those of a busy machine; `storage.test_database` is about the limits.
    """
    database = Database(database_url, statement_timeout=60.0, connect_timeout=30.0)
    yield database
    await database.close()
