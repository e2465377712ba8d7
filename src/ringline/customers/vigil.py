"""Revoked credentials are refused within a second, also while nothing is heard from PostgreSQL's notifications.

Mirrors follow notifications on one connection (``storage.listener``), which proves four times a second that it still
hears. When it does not, the credentials are read again by other connections until it does. While PostgreSQL itself
is away nobody can revoke anything there either: the last known credentials stay in force, and calls and requests go
on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from ringline.storage import Database, DatabaseUnavailable, Mirror

log = structlog.get_logger(__name__)

DOUBT_SECONDS = 0.5
"""How old the last proof may be."""
LOOK_SECONDS = 0.2
SAY_SECONDS = 3.0
_SHARE = 4
"""Reading takes a quarter of the time at most, however many credentials there are."""


class Vigil:
    """Watches the listener of ``database`` on behalf of ``mirrors``."""

    def __init__(
        self,
        database: Database,
        mirrors: Sequence[Mirror[Any]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = database.listener
        self._mirrors = mirrors
        self._now = now
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="credentials-vigil")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        doubted, said, pause = 0.0, False, LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = LOOK_SECONDS
            began = self._now()
            if began - self._listener.proved <= DOUBT_SECONDS:
                doubted, said = 0.0, False
                continue
            doubted = doubted or began
            # on a busy machine an answer may be late now and then
            if not said and began - doubted > SAY_SECONDS:
                log.warning("credentials_polled", why="PostgreSQL's notifications are not heard")
                said = True
            with contextlib.suppress(DatabaseUnavailable):
                for mirror in self._mirrors:
                    await mirror.look()
            pause = max(LOOK_SECONDS, _SHARE * (self._now() - began) - (self._now() - began))
