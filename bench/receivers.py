"""Endpoints that receive webhooks, well or badly: a small HTTP/1.1 server that keeps what came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

ANSWERS: Final = {
    200: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    204: b"HTTP/1.1 204 No Content\r\n\r\n",
    302: b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
    410: b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
    429: b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\nContent-Length: 4\r\n\r\nslow",
    500: b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nsorry",
}
HANG: Final = "hang"
CUT: Final = "cut"


@dataclass(slots=True)
class Arrival:
    """One request as it came, and when (``time.time``)."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.time)


Behaviour = Callable[[Arrival], "int | str | bytes"]
"""What becomes of a request: a status of ``ANSWERS``, ``HANG``, ``CUT``, or the bytes of an answer."""


class Receiver:
    """A server on a port of its own; ``behave`` decides about each request."""

    def __init__(
        self, behave: Behaviour | None = None, keep: Callable[[Arrival], None] | None = None
    ) -> None:
        self.arrivals: list[Arrival] = []
        self.behave: Behaviour = behave or (lambda _: 200)
        self.keep = keep or self.arrivals.append
        self.connections = 0
        self.port = 0
        self.server: asyncio.Server | None = None
        self.transports: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def start(self, port: int = 0) -> Receiver:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port, backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
        for transport in list(self.transports):
            transport.abort()
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none of asyncio's
        self._transport = cast(asyncio.Transport, transport)
        self._receiver.transports.add(self._transport)
        self._receiver.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._receiver.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._one():
            pass

    def _one(self) -> bool:
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return False
        self._buffer = rest[length:]
        method, path, _ = first.split(" ", 2)
        arrival = Arrival(method, path, headers, rest[:length])
        answer = self._receiver.behave(arrival)
        self._receiver.keep(arrival)
        assert self._transport is not None
        if answer == CUT:
            self._transport.abort()
            return False
        if answer == HANG:
            return True
        self._transport.write(answer if isinstance(answer, bytes) else ANSWERS[int(answer)])
        return True
