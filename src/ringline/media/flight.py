"""Single flight: work that several ask for at once is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from .errors import MediaFailed, Reason

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs one task per key. A waiter that is cancelled leaves the task to the others, and to the cache."""

    def __init__(self, closed_reason: Reason = "SPEECH_FAILED") -> None:
        self._closed_reason: Reason = closed_reason
        self._tasks: dict[str, asyncio.Task[T]] = {}

    async def run(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """The result of the task of ``key``, started with ``work`` when none runs. Its exception reaches
        all.
        """
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(self._work(key, work), name="media flight")
            task.add_done_callback(_retrieve)
            self._tasks[key] = task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if task.cancelled() and me is not None and not me.cancelling():
                raise MediaFailed("the media library is closing", reason=self._closed_reason) from None
            raise

    async def close(self) -> None:
        """Cancel what runs and wait for it to end."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        finally:
            del self._tasks[key]


def _retrieve(task: asyncio.Task[T]) -> None:
    """When every waiter has gone nobody else looks at the exception, and asyncio would complain."""
    if not task.cancelled():
        task.exception()
