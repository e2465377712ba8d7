"""Redis, where the state of live calls is kept for other processes to see."""

from __future__ import annotations

import asyncio

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from ringline.errors import Unavailable


class LiveUnavailable(Unavailable):
    """503: Redis does not answer now."""


class Live:
    """A client with limits: ``timeout`` (seconds) on connecting and on each command, one quick retry.

    ``client`` is redis-py's own; it reconnects by itself with the next command after a restart of the server.
    Values are bytes. Commands raise ``redis.exceptions.RedisError``.
    """

    def __init__(self, url: str, *, timeout: float = 2.0, max_connections: int = 32) -> None:
        self.url = url
        self.client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            socket_keepalive=True,
            max_connections=max_connections,
            health_check_interval=0,
            retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 1),
            client_name="ringline",
        )

    async def ping(self, timeout: float = 2.0) -> None:  # noqa: ASYNC109
        """Raise ``LiveUnavailable`` unless Redis answers within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self.client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            raise LiveUnavailable(f"Redis gave no answer: {error or 'timeout'}") from error

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()
