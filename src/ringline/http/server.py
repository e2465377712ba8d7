"""Listening, and ending without cutting requests off."""

from __future__ import annotations

import logging
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ringline.http.answers import LONGEST_LINE, MOST_HEADERS
from ringline.http.connections import Crowd, Site

log = structlog.get_logger(__name__)

# An idle connection, and one whose request line and headers trickle in, is closed after this many seconds.
_IDLE = 15.0
_LINGER = 5.0
_BACKLOG = 512


class _NotHttp(logging.Filter):
    """Logs no traceback for each thing that is not HTTP: anybody can send any amount of it. It is counted."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_server_log = logging.getLogger("ringline.http.aiohttp")
_server_log.addFilter(_NotHttp())


class Server:
    """Serves ``app`` on one address. Requests in progress get ``grace`` seconds when it closes.

    ``crowd`` bounds the connections of each address.
    """

    def __init__(
        self, app: web.Application, host: str, port: int, *, grace: float = 10.0, crowd: Crowd | None = None
    ) -> None:
        self._options: dict[str, Any] = {
            "access_log": None,
            "logger": _server_log,
            "keepalive_timeout": _IDLE,
            "lingering_time": _LINGER,
            "max_line_size": LONGEST_LINE,
            "max_field_size": LONGEST_LINE,
            "max_headers": MOST_HEADERS,
        }
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=grace, **self._options)
        self._crowd = crowd or Crowd(0)
        self._host = host
        self._port = port

    @property
    def port(self) -> int:
        """The port that is listened on: the chosen one when 0 was asked for. 0 before ``start``."""
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else 0

    async def start(self) -> None:
        """Bind and serve. Raises ``OSError`` when the address cannot be had."""
        await self._runner.setup()
        await Site(
            self._runner,
            self._crowd,
            self._host,
            self._port,
            self._options,
            backlog=_BACKLOG,
            reuse_address=True,
        ).start()
        log.info("http_listening", host=self._host, port=self.port)

    async def close(self) -> None:
        """Accept nothing new, let requests in progress end, then end them."""
        await self._runner.cleanup()
