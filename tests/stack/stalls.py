"""A clock for what was promised in seconds: it stands still while the machine does."""

from __future__ import annotations

import asyncio
import time

_TICK = 0.02
_JITTER = 0.03
"""A turn of an event loop that has something to do takes as long without any stall."""


class Stalls:
    """``async with Stalls() as stalls``: ``stalls.seconds()``, and what lies between two calls of
    ``stalls.now()``, is the time in which this process could go on.

    A machine that stands still, or has too much to do, holds this process up like those that it measures.
    """

    def __init__(self) -> None:
        self._lost = 0.0
        self._began = self._slept = time.monotonic()
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Stalls:
        self._began = self._slept = time.monotonic()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._watching is not None
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        self._lost += self._late()
        self._watching = None

    def now(self) -> float:
        """Seconds, as ``time.monotonic`` has them, less the stalls so far."""
        # one that ends at this moment is not in the sum yet
        return time.monotonic() - self._lost - self._late()

    def seconds(self, until: float | None = None) -> float:
        """From the beginning to now, or to a moment of ``time.monotonic``, less the stalls so far."""
        return (time.monotonic() if until is None else until) - self._began - self._lost - self._late()

    def _late(self) -> float:
        if self._watching is None:
            return 0.0
        late = time.monotonic() - self._slept - _TICK
        return late if late > _JITTER else 0.0

    async def _watch(self) -> None:
        while True:
            self._slept = time.monotonic()
            await asyncio.sleep(_TICK)
            self._lost += self._late()
