"""A worker's rounds: what is stored and due is done, again and again, and at once when somebody wakes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)


class Rounds:
    """``once`` does or begins what is due and returns after how many seconds to come again.

    When it fails, which the log tells under ``name``, it is tried again after ``retry`` seconds.
    """

    def __init__(self, name: str, once: Callable[[], Awaitable[float]], *, retry: float) -> None:
        self._name = name
        self._once = once
        self._retry = retry
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether this process makes any."""
        return self._task is not None

    def start(self) -> None:
        """Begin with the first round, in the background."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """Break off. Idempotent."""
        if (task := self._task) is not None:
            self._task = None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def wake(self) -> None:
        """There may be something new to do."""
        self._awake.set()

    async def _run(self) -> None:
        while True:
            # before the round: what comes while it looks may be what it has not seen
            self._awake.clear()
            try:
                seconds = await self._once()
            except Exception as error:  # noqa: BLE001 - what is stored stays to be done
                log.warning("round_failed", worker=self._name, error=repr(error))
                seconds = self._retry
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._awake.wait()
