"""Waking workers in other processes: a word on a channel of PostgreSQL, when there is something for them to do.

It only saves time: whoever works looks now and then by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from sqlalchemy import text

from ringline.storage.database import Database
from ringline.storage.listener import Following

log = structlog.get_logger(__name__)


class Bells:
    """``tell``: whether ``ring`` is heard by others; a process that does all of the work wakes itself only."""

    def __init__(self, database: Database, channel: str, *, tell: bool) -> None:
        self._database = database
        self._channel = channel
        self._tell = tell
        self._waiting: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._following: Following | None = None
        self._wakes: Mapping[str, Callable[[], None]] = {}

    async def start(self, wakes: Mapping[str, Callable[[], None]]) -> None:
        """Call these, by the name of what there is to do. Raises ``DatabaseUnavailable``."""
        self._wakes = wakes

        def deliver(name: str) -> None:
            if (wake := self._wakes.get(name)) is not None:
                wake()

        async def catch_up() -> None:
            for wake in self._wakes.values():
                wake()

        self._following = await self._database.follow(self._channel, deliver, catch_up)

    def ring(self, name: str) -> None:
        """There is something to do; what is rung for in one go is told once."""
        if not self._tell:
            return
        self._waiting.add(name)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ring(), name=f"bells {self._channel}")

    async def close(self) -> None:
        """Say what is left to be said, and hear nothing more. Idempotent."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self._following is not None:
            await self._database.listener.leave(self._following)
            self._following = None

    async def _ring(self) -> None:
        while self._waiting:
            names, self._waiting = self._waiting, set()
            try:
                async with self._database.connect() as connection:
                    for name in names:
                        await connection.execute(
                            text("SELECT pg_notify(:channel, :name)"),
                            {"channel": self._channel, "name": name},
                        )
            except Exception as error:  # noqa: BLE001 - they look by themselves a little later
                log.warning("workers_not_woken", names=sorted(names), error=repr(error))
