"""Request counts of several processes, put together through Redis ten times a second.

Each process judges requests by buckets of its own and asks nobody. Ten times a second it adds what each bucket gave
to that bucket's count in Redis, and takes off what others gave meanwhile. So N processes may let through, until they
hear of each other, what each of them believed to be left: at most N - 1 times what is given within 0.1 s of the
steady rate, and at most N - 1 bursts once after a pause. What was too much is owed, so that over time the rate is
kept exactly. Without Redis each process counts alone.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from ringline.limits.requests import Bucket, Requests
from ringline.storage import Live

log = structlog.get_logger(__name__)

INTERVAL_SECONDS: Final = 0.1
KEEP_SECONDS: Final = 60
PATIENCE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 2.0


class Sharing:
    """Tells others what the buckets of ``requests`` gave, and the buckets what others gave."""

    def __init__(self, live: Live, requests: Requests) -> None:
        self._live = live
        self._requests = requests
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="requests-sharing")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        well = True
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.share()
                well = True
            except (RedisError, OSError, TimeoutError) as error:
                if well:
                    log.warning("requests_counted_alone", why=str(error) or type(error).__name__)
                well = False
                await asyncio.sleep(_PAUSE_SECONDS)

    async def share(self) -> None:
        """One exchange. Raises ``RedisError``, ``OSError`` or ``TimeoutError``."""
        told = [
            (f"ringline:requests:{name}:{key}", bucket)
            for name, buckets in (
                ("customer", self._requests.customers),
                ("credential", self._requests.credentials),
            )
            for key, bucket in _used(buckets)
        ]
        if not told:
            return
        given = [bucket.taken for _, bucket in told]
        pipe = self._live.client.pipeline(transaction=False)
        for (name, _), count in zip(told, given, strict=True):
            pipe.incrby(name, count)
            pipe.expire(name, KEEP_SECONDS)
        # what is taken while the answers are on their way counts for the next exchange
        for _, bucket in told:
            bucket.taken = 0
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answers: list[Any] = await pipe.execute()
        except BaseException:
            for (_, bucket), count in zip(told, given, strict=True):
                bucket.taken += count
            raise
        now = time.monotonic()
        for (_, bucket), count, total in zip(told, given, answers[::2], strict=True):
            # a count that is new, or was forgotten in between, tells nothing of others
            others = int(total) - bucket.total - count if 0 <= bucket.total < int(total) else 0
            bucket.total = int(total)
            bucket.used_elsewhere(max(0, others), count, now)


def _used(buckets: dict[UUID, Bucket]) -> list[tuple[UUID, Bucket]]:
    return [(key, bucket) for key, bucket in buckets.items() if bucket.taken]
