"""The process that carries audio between Asterisk's WebSockets and those of customers' servers.

It takes orders from the controller as lines of JSON on standard input and reports on standard output; it ends when
standard input does, which is when the controller is gone. It holds no secret of ours. Both of its ends are clients:
Asterisk's waits for a connection with an id that only the controller knows, the customer's is dialled under the
address guard, so that the very address that is connected to was checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from ipaddress import ip_network
from typing import Any, Final

import aiohttp
import uvloop

from ringline.media.address_guard import AddressForbidden, AddressGuard
from ringline.media.outbound import GuardedConnector

CONNECT_SECONDS: Final = 5.0
SEND_SECONDS: Final = 5.0
"""A side that takes nothing for so long is given up."""
HEARTBEAT_SECONDS: Final = 20.0
CLOSE_SECONDS: Final = 1.0
MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_COMMAND_BYTES: Final = 256
RATE_BYTES: Final = 160 * 1024
"""Per second, of what a server sends: five times the widest format. More waits, in the server's own buffers."""
BURST_BYTES: Final = 1024 * 1024
MESSAGE_BYTES: Final = 160
"""What a message counts at least."""
COMMANDS: Final = frozenset(
    {
        "ANSWER",
        "CONTINUE_MEDIA",
        "FLUSH_MEDIA",
        "GET_STATUS",
        "HANGUP",
        "MARK_MEDIA",
        "PAUSE_MEDIA",
        "REPORT_QUEUE_DRAINED",
        "START_MEDIA_BUFFERING",
        "STOP_MEDIA_BUFFERING",
    }
)
"""What a server may tell Asterisk's channel (chan_websocket); anything else is left out."""
_OWN_NAMES = re.compile(r"\b(connection_id|channel|channel_id):\S*")

Json = dict[str, Any]


class Stream:
    """One stream's two WebSockets. Reports ``connected``, then ``attached``, and ``ended`` once, whatever happens."""

    def __init__(self, relay: Relay, order: Json) -> None:
        self.id = str(order["id"])
        self._relay = relay
        self._order = order
        self._media_url: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def attach(self, url: str) -> None:
        """Asterisk's end is there."""
        if not self._media_url.done():
            self._media_url.set_result(url)

    async def run(self) -> None:
        end: Json = {"by": "us", "reason": "", "message": "", "code": 0}
        try:
            end = await self._run()
        except asyncio.CancelledError:
            end["by"] = "controller"
        except AddressForbidden as error:
            end = _failed("FORBIDDEN", str(error))
        except TimeoutError:
            end = _failed("TIMEOUT", f"no WebSocket within {CONNECT_SECONDS:g} s")
        except aiohttp.WSServerHandshakeError as error:
            end = _failed("FAILED", f"the server answered {error.status} and no WebSocket")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            end = _failed("FAILED", f"{type(error).__name__}: {error}"[:200])
        finally:
            self._relay.report(id=self.id, event="ended", **end)

    async def _run(self) -> Json:
        async with asyncio.timeout(CONNECT_SECONDS):
            server = await self._relay.outside.ws_connect(
                self._order["url"],
                headers=self._order["headers"],
                protocols=["media"],
                heartbeat=HEARTBEAT_SECONDS,
                max_msg_size=MAX_MESSAGE_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
            )
        try:
            self._relay.report(id=self.id, event="connected")
            url = await self._media_url
            async with asyncio.timeout(CONNECT_SECONDS):
                media = await self._relay.inside.ws_connect(
                    url,
                    protocols=["media"],
                    max_msg_size=0,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                )
            try:
                self._relay.report(id=self.id, event="attached")
                return await self._both(server, media)
            finally:
                await _close(media)
        finally:
            await _close(server)

    async def _both(
        self, server: aiohttp.ClientWebSocketResponse, media: aiohttp.ClientWebSocketResponse
    ) -> Json:
        to_server = asyncio.create_task(self._to_server(media, server))
        to_media = asyncio.create_task(self._to_media(server, media))
        try:
            done, _ = await asyncio.wait({to_server, to_media}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (to_server, to_media):
                task.cancel()
            await asyncio.gather(to_server, to_media, return_exceptions=True)
        return to_media.result() if to_media in done else to_server.result()

    async def _to_server(
        self, media: aiohttp.ClientWebSocketResponse, server: aiohttp.ClientWebSocketResponse
    ) -> Json:
        try:
            async for message in media:
                async with asyncio.timeout(SEND_SECONDS):
                    if message.type is aiohttp.WSMsgType.BINARY:
                        await server.send_bytes(message.data)
                    elif message.type is aiohttp.WSMsgType.TEXT:
                        await server.send_str(self._shown(message.data))
                    else:
                        break
        except TimeoutError:
            return {
                "by": "server",
                "reason": "STUCK",
                "message": f"took nothing for {SEND_SECONDS:g} s",
                "code": 0,
            }
        except (ConnectionError, aiohttp.ClientError) as error:
            return _lost(error)
        return {"by": "asterisk", "reason": "", "message": "", "code": media.close_code or 0}

    async def _to_media(
        self, server: aiohttp.ClientWebSocketResponse, media: aiohttp.ClientWebSocketResponse
    ) -> Json:
        allowance, last = float(BURST_BYTES), time.monotonic()
        async for message in server:
            if message.type is aiohttp.WSMsgType.ERROR:
                break
            now = time.monotonic()
            allowance = min(BURST_BYTES, allowance + (now - last) * RATE_BYTES)
            last = now
            allowance -= max(MESSAGE_BYTES, len(message.data or b""))
            if allowance < 0:
                await asyncio.sleep(-allowance / RATE_BYTES)
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    if message.type is aiohttp.WSMsgType.BINARY:
                        await media.send_bytes(message.data)
                    elif message.type is aiohttp.WSMsgType.TEXT and _is_command(message.data):
                        await media.send_str(message.data.strip())
            except (TimeoutError, ConnectionError, aiohttp.ClientError):
                return {"by": "asterisk", "reason": "", "message": "", "code": 0}
        code = server.close_code or 0
        if code in (1000, 1001, 1005):
            return {"by": "server", "reason": "", "message": "", "code": code}
        return {
            "by": "server",
            "reason": "LOST",
            "message": f"the WebSocket ended with code {code}",
            "code": code,
        }

    def _shown(self, text: str) -> str:
        """An event of Asterisk's channel, with names of ours in place of those that mean nothing outside."""
        names = {"connection_id": self.id, "channel": "ringline", "channel_id": self._order["call_id"]}
        return _OWN_NAMES.sub(lambda match: f"{match[1]}:{names[match[1]]}", text)


class Relay:
    """Every stream, and the controller's orders."""

    def __init__(self, allowed: list[str]) -> None:
        guard = AddressGuard([ip_network(network) for network in allowed])
        self._guard = guard
        self._streams: dict[str, tuple[Stream, asyncio.Task[None]]] = {}
        self.outside = aiohttp.ClientSession(
            connector=GuardedConnector(guard, limit=8000),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "Ringline"},
            trust_env=False,
        )
        self.inside = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False)

    async def serve(self, orders: asyncio.StreamReader) -> None:
        self.report(event="ready")
        async for line in orders:
            self._obey(json.loads(line))
        for _, task in list(self._streams.values()):
            task.cancel()
        await asyncio.gather(*(task for _, task in self._streams.values()), return_exceptions=True)
        await self.outside.close()
        await self.inside.close()

    def report(self, **event: Any) -> None:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    def _obey(self, order: Json) -> None:
        stream_id = str(order["id"])
        if order["order"] == "open":
            stream = Stream(self, order)
            task = asyncio.create_task(self._guarded(stream, order["url"]))
            self._streams[stream_id] = stream, task
            task.add_done_callback(lambda _: self._streams.pop(stream_id, None))
            return
        known = self._streams.get(stream_id)
        if known is None:
            return
        if order["order"] == "attach":
            known[0].attach(order["url"])
        elif order["order"] == "close":
            known[1].cancel()

    async def _guarded(self, stream: Stream, url: str) -> None:
        try:
            self._guard.check_url(as_http(url))
        except AddressForbidden as error:
            self.report(id=stream.id, event="ended", **_failed("FORBIDDEN", str(error)))
            return
        await stream.run()


def as_http(url: str) -> str:
    """The URL of a WebSocket as the guard knows it."""
    scheme, mark, rest = url.partition("://")
    return {"ws": "http", "wss": "https"}.get(scheme.lower(), scheme) + mark + rest


def _is_command(text: str) -> bool:
    words = text.split(maxsplit=1)
    return len(text) <= MAX_COMMAND_BYTES and bool(words) and words[0] in COMMANDS


def _failed(reason: str, message: str) -> Json:
    return {"by": "server", "reason": reason, "message": message, "code": 0}


def _lost(error: Exception) -> Json:
    return _failed("LOST", f"the WebSocket was lost: {type(error).__name__}")


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_SECONDS):
            await socket.close()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=256 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), os.fdopen(0, "rb"))
    await Relay(sys.argv[1:]).serve(orders)


if __name__ == "__main__":
    uvloop.run(_main())
