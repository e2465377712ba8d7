"""One attempt is one request, unless a kept connection was closed just then."""

from __future__ import annotations

import asyncio
import ipaddress
from datetime import UTC, datetime

from ringline.media.address_guard import AddressGuard
from ringline.webhooks.deliveries.posting import Attempt, Poster


class Server:
    """Answers the first ``answers`` requests of each connection, and closes it at the next without an answer."""

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for number in range(self.answers + 1):
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                self.requests += 1
                if number < self.answers:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


async def _attempts(server: Server, count: int) -> list[Attempt]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    poster = Poster(AddressGuard([ipaddress.ip_network("127.0.0.1/32")]), seconds=30.0)
    try:
        return [
            await poster.post("POST", f"http://127.0.0.1:{port}/", "1", b"{}", [b"x" * 32], datetime.now(UTC))
            for _ in range(count)
        ]
    finally:
        await poster.close()
        listening.close()


async def test_a_server_that_cuts_the_connection_is_asked_once_with_each_attempt() -> None:
    server = Server(answers=0)
    attempts = await _attempts(server, 2)
    assert [(one.status, one.error) for one in attempts] == [
        (0, "the connection was closed without an answer")
    ] * 2
    assert server.requests == 2


async def test_a_kept_connection_that_is_closed_is_no_failure() -> None:
    server = Server(answers=1)
    attempts = await _attempts(server, 2)
    assert [one.status for one in attempts] == [200, 200]
    assert server.requests == 3
