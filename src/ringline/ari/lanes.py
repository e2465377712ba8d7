"""Queues of coroutines by key: one after another within a key, independent between keys."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

log = structlog.get_logger(__name__)

Job = tuple[Callable[..., Awaitable[Any]], tuple[Any, ...]]


class Lanes:
    """A queue per key, made with its first job and gone after its last.

    ``size`` bounds the jobs that wait in one queue. A job that raises is logged and the next one runs.
    """

    def __init__(self, size: int, on_failed: Callable[[], None]) -> None:
        self._size = size
        self._on_failed = on_failed
        self._queues: dict[str, deque[Job]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0

    def __len__(self) -> int:
        """Keys that have a queue now."""
        return len(self._queues)

    @property
    def waiting(self) -> int:
        """Jobs in all queues, those that run now not counted."""
        return self._waiting

    def put(self, key: str, job: Callable[..., Awaitable[Any]], *args: Any) -> bool:
        """Queue ``job(*args)``; False, and nothing queued, when the queue of ``key`` is full."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque(((job, args),))
            task = asyncio.create_task(self._drain(key, queue), name=f"ari-lane-{key}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif len(queue) >= self._size:
            return False
        else:
            queue.append((job, args))
        self._waiting += 1
        return True

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - a grace period, then cancellation
        """Let running jobs end for ``timeout`` seconds, then cancel them; what still waits is dropped."""
        for queue in self._queues.values():
            self._waiting -= len(queue)
            queue.clear()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=timeout)
        for task in late:
            log.warning("ari_handler_cancelled", lane=task.get_name())
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _drain(self, key: str, queue: deque[Job]) -> None:
        try:
            while queue:
                job, args = queue.popleft()
                self._waiting -= 1
                try:
                    await job(*args)
                except Exception:
                    self._on_failed()
                    log.exception(
                        "ari_handler_failed", handler=getattr(job, "__qualname__", repr(job)), lane=key
                    )
        finally:
            self._waiting -= len(queue)
            if self._queues.get(key) is queue:
                del self._queues[key]
