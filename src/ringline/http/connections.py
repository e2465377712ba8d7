"""Connections of one address: not more than so many at once, so that nobody can have all there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from prometheus_client import Counter as Metric

from ringline.http import answers
from ringline.http.client_address import Network, network_of
from ringline.metrics import registry

refused_total = Metric(
    "ringline_http_connections_refused_total",
    "Connections that were closed at once: their address had too many.",
    registry=registry,
)
unreadable_total = Metric(
    "ringline_http_unreadable_requests_total",
    "HTTP requests whose first lines could not be read, such as those with too long headers.",
    registry=registry,
)


class Crowd:
    """How many connections each address has. ``most`` of 0 is no limit; ``free`` are not counted (proxies)."""

    def __init__(self, most: int, free: Sequence[Network] = ()) -> None:
        self._most = most
        self._free = free
        self._present: Counter[str] = Counter()

    def enter(self, remote: str) -> str | None:
        """The name to leave by, ``""`` for one that is not counted, ``None`` where there is no room."""
        if not self._most or self._is_free(remote):
            return ""
        name = network_of(remote)
        if self._present[name] >= self._most:
            return None
        self._present[name] += 1
        return name

    def leave(self, name: str) -> None:
        """One of those that entered by this name is gone."""
        self._present[name] -= 1
        if self._present[name] <= 0:
            del self._present[name]

    def _is_free(self, remote: str) -> bool:
        if not self._free:
            return False
        try:
            address = ip_address(remote)
        except ValueError:
            return False
        return any(address in network for network in self._free)


class Connection(RequestHandler):
    """A connection that is counted, and refused with 429 where its address has too many.

    What cannot be read as a request is answered as failures of requests are.
    """

    __slots__ = ("_crowd", "_entered")

    def __init__(self, manager: web.Server, crowd: Crowd, **options: Any) -> None:
        super().__init__(manager, **options)
        self._crowd = crowd
        self._entered: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._entered = self._crowd.enter(str(peer[0]) if peer else "")
        if self._entered is not None:
            super().connection_made(transport)
            return
        refused_total.inc()
        refused = cast("asyncio.Transport", transport)
        refused.write(answers.crowded())
        refused.close()

    def data_received(self, data: bytes) -> None:
        if self._entered is not None:
            super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp says by itself; it also tells the log and sees whether something can be answered at all."""
        super().handle_error(request, status, exc, message)
        if isinstance(exc, HttpProcessingError):
            unreadable_total.inc()
        answer = answers.unread(exc, status)
        answer.force_close()
        return answer

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._entered is None:
            return
        if self._entered:
            self._crowd.leave(self._entered)
        super().connection_lost(exc)


class Site(web.TCPSite):
    """Listens for connections that are counted. ``options`` are those of each connection."""

    def __init__(
        self,
        runner: web.AppRunner,
        crowd: Crowd,
        host: str,
        port: int,
        options: Mapping[str, Any],
        **more: Any,
    ) -> None:
        super().__init__(runner, host, port, **more)
        self._crowd = crowd
        self._options = options

    async def start(self) -> None:
        await web.BaseSite.start(self)
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None  # noqa: S101 - the runner was set up

        def connection() -> Connection:
            return Connection(server, self._crowd, loop=loop, **self._options)

        self._server = await loop.create_server(
            connection, self._host, self._port, backlog=self._backlog, reuse_address=self._reuse_address
        )
