"""One clock for everything that is sent: a tick each 20 ms over all streams that have something to say."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

TICK = 0.02
MAX_CATCH_UP = 10


class Stream(Protocol):
    """Something that sends 20 ms of audio at each tick."""

    def tick(self) -> None:
        """Send the next packet."""


class Pacer:
    """Ticks while there are streams, and not otherwise. A late tick is made up for, up to 200 ms."""

    def __init__(self) -> None:
        self._streams: dict[Stream, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def add(self, stream: Stream) -> None:
        """Tick this stream from now on; adding it twice changes nothing."""
        self._streams[stream] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._due = loop.time() + TICK
            self._timer = loop.call_at(self._due, self._run)

    def remove(self, stream: Stream) -> None:
        """Do not tick it any more."""
        self._streams.pop(stream, None)

    def close(self) -> None:
        """Stop for good."""
        self._streams.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        behind = 0
        while self._due <= loop.time() and behind < MAX_CATCH_UP:
            for stream in list(self._streams):
                try:
                    stream.tick()
                except Exception:
                    log.exception("carrier_stream_failed")
                    self.remove(stream)
            self._due += TICK
            behind += 1
        if not self._streams:
            self._timer = None
            return
        self._due = max(self._due, loop.time() - MAX_CATCH_UP * TICK)
        self._timer = loop.call_at(self._due, self._run)
