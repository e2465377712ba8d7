"""Where requests go: over which socket, or over HTTP, and that those of one key stay in order."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from .codec import Query, subject, with_query
from .errors import AriError, ConnectionLost
from .lanes import Lanes
from .link import Link
from .pending import Convert, Request, Settlement, fail
from .rest import Rest

log = structlog.get_logger(__name__)

HTTP_QUEUE = 1000
COLLECTIONS = frozenset(
    {
        "applications",
        "asterisk/modules",
        "bridges",
        "channels",
        "deviceStates",
        "endpoints",
        "mailboxes",
        "playbacks",
        "recordings/stored",
        "sounds",
    }
)
"""Lists of everything, which go over HTTP: Asterisk 22 puts a whole WebSocket frame on the stack of a thread that has
half a megabyte (``alloca`` in ``res_http_websocket``), so that the list of some 700 channels ends the process.
"""


class Transport:
    """Sends requests over ``links`` (request sockets) and ``main`` (the socket of the events)."""

    def __init__(self, settlement: Settlement, rest: Rest, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._settlement = settlement
        self._rest = rest
        self._timeout = timeout
        self._http_lanes = Lanes(HTTP_QUEUE, lambda: None)
        self.main: Link | None = None
        self.links: list[Link] = []
        self.http_only = False

    @property
    def in_flight(self) -> int:
        """Requests without an answer yet."""
        links = sum(link.in_flight for link in self.links)
        return links + (self.main.in_flight if self.main else 0) + self._http_lanes.waiting

    def send(
        self,
        method: str,
        uri: str,
        *,
        query: Query | None = None,
        body: Any = None,
        key: str = "",
        timeout: float | None = None,
        convert: Convert | None = None,
    ) -> asyncio.Future[Any]:
        """Send now; the future ends with the answer or an ``AriError``."""
        stats = self._settlement.stats
        stats.requests += 1
        full_uri = with_query(uri, query)
        future: asyncio.Future[Any] = self._loop.create_future()
        now = self._loop.time()
        request = Request(
            method, full_uri, future, started=now, timeout=timeout or self._timeout, convert=convert
        )
        key = key or subject(uri)
        if self.http_only or (method == "GET" and uri in COLLECTIONS):
            if not self._http_lanes.put(key, self._by_http, request, body):
                stats.requests_failed += 1
                fail(future, ConnectionLost("too many requests wait", method=method, uri=full_uri))
            return future
        try:
            self._link(key).send(request, body)
        except AriError as error:
            stats.requests_failed += 1
            fail(future, error)
        return future

    def _link(self, key: str) -> Link:
        """All requests of one key on one socket: Asterisk serves those of a socket one after another."""
        if self.links:
            link = self.links[hash(key) % len(self.links)]
            if link.is_up:
                return link
        if self.main is None:
            raise ConnectionLost("the client was not started")
        return self.main

    async def _by_http(self, request: Request, body: Any) -> None:
        remaining = request.deadline - self._loop.time()
        try:
            status, answer = await self._rest.call(request.method, request.uri, body, max(remaining, 0.001))
        except AriError as error:
            self._settlement.failed(request, error, self._loop.time())
        else:
            self._settlement.answered(request, status, answer, self._loop.time())

    async def close(self) -> None:
        await self._http_lanes.close(1.0)
