"""Entries for streams: what is posted while others are on their way goes with the next lot, over one connection."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from redis.exceptions import RedisError

from ringline.cluster.tasks import ended
from ringline.storage import Live

BATCH: Final = 200
MAX_ENTRIES: Final = 2000
"""Of a stream that nobody reads."""
KEPT_SECONDS: Final = 120
"""How long a stream lasts that nobody writes to any more."""


class Mailbox:
    """Writes entries to streams in Redis."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._waiting: list[tuple[str, dict[Any, Any], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def post(self, stream: str, entry: dict[Any, Any]) -> None:
        """Return when it is in the stream. Raises ``RedisError`` or ``OSError``: whether it is nobody knows."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((stream, entry, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="mailbox")
        await done

    async def close(self) -> None:
        """Stop; what waits is not written."""
        await ended(self._task)
        for _, _, done in self._waiting:
            done.cancel()

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                pipe = self._live.client.pipeline(transaction=False)
                for stream, entry, _ in batch:
                    pipe.xadd(stream, entry, maxlen=MAX_ENTRIES)
                for stream in {stream for stream, _, _ in batch}:
                    pipe.expire(stream, KEPT_SECONDS)
                await pipe.execute()
            except (RedisError, OSError) as error:
                for _, _, done in batch:
                    if not done.done():
                        done.set_exception(error)
            else:
                for _, _, done in batch:
                    if not done.done():
                        done.set_result(None)
