"""A stream that one process reads alone: each entry once, from the first, and gone when it was read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import structlog
from redis.exceptions import RedisError

from ringline.cluster.tasks import ended
from ringline.storage import Live

log = structlog.get_logger(__name__)

BLOCK_MILLISECONDS: Final = 1000
BATCH: Final = 64
RETRY_SECONDS: Final = 0.2

Take = Callable[[Mapping[bytes, bytes]], None]


class Inbox:
    """Gives every entry of ``stream`` to ``take`` while it is started."""

    def __init__(self, live: Live, stream: str, take: Take) -> None:
        self._live = live
        self._stream = stream
        self._take = take
        self._last = "0-0"
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"inbox {self._stream}")

    async def close(self) -> None:
        await ended(self._task)

    async def _run(self) -> None:
        while True:
            try:
                await self._read()
            except (RedisError, OSError) as error:
                log.warning("stream_not_read", stream=self._stream, error=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("stream_unreadable", stream=self._stream)
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> None:
        client = self._live.client
        wanted: dict[Any, Any] = {self._stream: self._last}
        found = cast("Any", await client.xread(wanted, count=BATCH, block=BLOCK_MILLISECONDS))
        for _, entries in found:
            for entry_id, fields in entries:
                # known before anything else: whatever is wrong with it, it is not read again
                self._last = entry_id.decode()
                self._take(fields)
            await client.xdel(self._stream, *(entry_id for entry_id, _ in entries))
