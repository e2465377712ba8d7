"""What requests and calls would have to wait for otherwise, made bit by bit while the API serves already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import structlog
from aiohttp import web

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.005
"""Between two of them, so that calls go on; each takes some milliseconds."""


class Preparation:
    """Calls each of ``makers`` once, one after the other, from the application's start on; then, in a thread, each of
    ``aside``, which take longer.

    A request that comes earlier makes what it needs for itself.
    """

    def __init__(
        self, makers: Sequence[Callable[[], object]], aside: Sequence[Callable[[], object]] = ()
    ) -> None:
        self.done = asyncio.Event()
        """All ``makers`` have been called."""
        self._makers = makers
        self._aside = aside

    async def context(self, _: web.Application) -> AsyncIterator[None]:
        """For ``web.Application.cleanup_ctx``."""
        task = asyncio.create_task(self._run(), name="http-preparation")
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        for make in self._makers:
            _attempt(make)
            await asyncio.sleep(PAUSE_SECONDS)
        self.done.set()
        for make in self._aside:
            await asyncio.to_thread(_attempt, make)


def _attempt(make: Callable[[], object]) -> None:
    try:
        make()
    except Exception:
        # what needs it fails in the same way, and says so to whoever asked
        log.exception("http_preparation_failed")
