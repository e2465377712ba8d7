"""The Redis client: limits, and restarts of the server."""

from __future__ import annotations

import time

import pytest
from testcontainers.core.container import DockerContainer
from tests.component.conftest import free_port, until_redis

from ringline.storage import Live, LiveUnavailable


async def test_values_come_back_as_bytes(redis_url: str) -> None:
    live = Live(redis_url)
    try:
        await live.client.set("key", "value", ex=10)
        assert await live.client.get("key") == b"value"
        await live.ping()
    finally:
        await live.close()


async def test_nobody_listening_is_unavailable() -> None:
    live = Live(f"redis://127.0.0.1:{free_port()}/0")
    start = time.monotonic()
    with pytest.raises(LiveUnavailable):
        await live.ping()
    assert time.monotonic() - start < 10
    await live.close()


async def test_the_server_restarts(redis_container: tuple[DockerContainer, str], redis_url: str) -> None:
    container, _ = redis_container
    live = Live(redis_url, timeout=10.0)
    try:
        await live.ping(10.0)
        container.get_wrapped_container().restart(timeout=5)
        until_redis(redis_url)
        await live.ping(10.0)
    finally:
        await live.close()
