"""What is done now and then: reading gauges, sweeping what has expired."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0


@dataclass(slots=True)
class Chore:
    """Something to do every ``every`` seconds. It may fail: it is done again the next time."""

    name: str
    every: float
    do: Callable[[], Awaitable[None]]
    due: float = 0.0


class Housekeeper:
    """Does chores in turn on one task; ``on_lag`` is told how late the event loop woke it up, in seconds."""

    def __init__(self, chores: list[Chore], on_lag: Callable[[float], None]) -> None:
        self._chores = chores
        self._on_lag = on_lag
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="housekeeper")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wake = loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._on_lag(max(loop.time() - wake, 0.0))
            for chore in self._chores:
                if loop.time() >= chore.due:
                    chore.due = loop.time() + chore.every
                    await self._do(chore)

    async def _do(self, chore: Chore) -> None:
        try:
            await chore.do()
        except Exception as error:  # noqa: BLE001 - said, and done again the next time
            log.warning("chore_failed", chore=chore.name, error=repr(error))
