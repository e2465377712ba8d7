"""Looks after handlers of objects whose end nobody told: after a gap in the events, and now and then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from .codec import quote
from .errors import AriError, NotFound
from .objects import ObjectHandlers

if TYPE_CHECKING:
    from .client import Client

log = structlog.get_logger(__name__)

EVERY_SECONDS = 600.0
GRACE_SECONDS = 60.0
"""Handlers younger than this are left alone: their object may not have been made yet."""
MOST_AT_ONCE = 500

_LISTED = {"channel": "channels", "bridge": "bridges"}
_SINGLE = {"playback": "playbacks", "recording": "recordings/live"}


class Audit:
    """Compares the objects that have handlers with those that Asterisk has."""

    def __init__(self, client: Client, handlers: ObjectHandlers) -> None:
        self._client = client
        self._handlers = handlers
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None
        self._connected_once = False
        self._after_gap = False

    def connected(self) -> None:
        """A connection is there: if not the first, events may have been missed."""
        if self._connected_once:
            # Once now for the old ones, and once more when all handlers of that time are old enough.
            self._after_gap = True
            self._due = asyncio.get_running_loop().time() + 1.0
        else:
            self._connected_once = True
            self._due = asyncio.get_running_loop().time() + EVERY_SECONDS

    def tick(self, now: float) -> None:
        if now < self._due or not self._connected_once or not self._client.connected:
            return
        self._due = now + (GRACE_SECONDS + 10.0 if self._after_gap else EVERY_SECONDS)
        self._after_gap = False
        if len(self._handlers) and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name="ari-audit")

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            for kind, uri in _LISTED.items():
                names = self._handlers.older_than(kind, GRACE_SECONDS)
                if names:
                    present = {entry["id"] for entry in await self._client.request("GET", uri)}
                    self._forget(kind, [name for name in names if name not in present])
            for kind, uri in _SINGLE.items():
                for name in self._handlers.older_than(kind, GRACE_SECONDS)[:MOST_AT_ONCE]:
                    try:
                        await self._client.request("GET", f"{uri}/{quote(name)}")
                    except NotFound:
                        self._forget(kind, [name])
        except AriError as error:
            log.warning("ari_audit_failed", error=str(error))

    def _forget(self, kind: str, names: list[str]) -> None:
        for name in names:
            self._handlers.forget(kind, name)
        if names:
            log.info("ari_handlers_forgotten", kind=kind, count=len(names))
