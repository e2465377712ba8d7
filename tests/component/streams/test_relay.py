"""The relay process between a WebSocket like Asterisk's and servers good and hostile."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import WSMsgType, web

from ringline.streams import relay_process
from ringline.streams.models import StreamFailed
from ringline.streams.relay import Relay

ALLOWED = "127.0.0.2/32"
START = (
    "MEDIA_START connection_id:secret channel:WebSocket/INCOMING/0x55aa channel_id:inner format:ulaw ptime:20"
)


class End:
    """One side's WebSockets: what arrived, by connection."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.port = 0
        self.sockets: list[web.WebSocketResponse] = []
        self.headers: list[dict[str, str]] = []
        self.heard: list[list[str | bytes]] = []
        self.deaf = False
        self._runner: web.AppRunner | None = None

    async def start(self) -> End:
        application = web.Application()
        application.router.add_get("/refused", self._refused)
        application.router.add_get("/never", self._never)
        application.router.add_get("/{path:.*}", self._socket)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def url(self, path: str = "", scheme: str = "ws") -> str:
        return f"{scheme}://{self.address}:{self.port}/{path}"

    async def _refused(self, _: web.Request) -> web.Response:
        return web.Response(status=403)

    async def _never(self, _: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["media"])
        await socket.prepare(request)
        heard: list[str | bytes] = []
        self.sockets.append(socket)
        self.headers.append(dict(request.headers))
        self.heard.append(heard)
        while self.deaf:
            await asyncio.sleep(0.1)
        async for message in socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                heard.append(message.data)  # noqa: PERF401 - looked at while it grows
        return socket


async def until(check: Callable[[], Any], within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        while not check():
            await asyncio.sleep(0.01)


@pytest.fixture
async def server() -> AsyncIterator[End]:
    end = await End("127.0.0.2").start()
    yield end
    await end.close()


@pytest.fixture
async def asterisk() -> AsyncIterator[End]:
    end = await End("127.0.0.1").start()
    yield end
    await end.close()


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    made = Relay([ALLOWED])
    yield made
    await made.close()
    assert made.pid is None


class Carried:
    """A stream that runs, and how it ended."""

    def __init__(self, relay: Relay, server: End, asterisk: End) -> None:
        self.id = str(uuid4())
        self.relay, self.server, self.asterisk = relay, server, asterisk
        self.reports: list[dict[str, Any]] = []

    async def start(self) -> Carried:
        count = len(self.asterisk.sockets)
        await self.relay.open(self.id, self.server.url(), {"X-Test": "1"}, "the-call", self.reports.append)
        self.relay.attach(self.id, self.asterisk.url("media/1", "http"))
        await until(lambda: len(self.asterisk.sockets) > count)
        return self


async def test_audio_and_commands_cross_and_names_of_ours_do_not(
    relay: Relay, server: End, asterisk: End
) -> None:
    stream = await Carried(relay, server, asterisk).start()
    await asterisk.sockets[0].send_str(START)
    await asterisk.sockets[0].send_bytes(b"a" * 160)
    await server.sockets[0].send_bytes(b"b" * 320)
    for text in ("FLUSH_MEDIA", "MARK_MEDIA one", "SET_VARIABLE x", "", '{"command": 1}', "HANGUP" * 100):
        await server.sockets[0].send_str(text)
    await server.sockets[0].send_bytes(b"end")
    await until(lambda: b"end" in asterisk.heard[0] and len(server.heard[0]) == 2)
    assert asterisk.heard[0] == [b"b" * 320, "FLUSH_MEDIA", "MARK_MEDIA one", b"end"]
    assert server.heard[0] == [
        f"MEDIA_START connection_id:{stream.id} channel:ringline channel_id:the-call format:ulaw ptime:20",
        b"a" * 160,
    ]
    assert (server.headers[0]["X-Test"], server.headers[0]["Sec-WebSocket-Protocol"]) == ("1", "media")
    assert "X-Test" not in asterisk.headers[0]
    relay.end(stream.id)
    await until(lambda: server.sockets[0].closed and asterisk.sockets[0].closed)
    assert stream.reports == []


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, ""), (1011, "LOST")])
async def test_a_server_that_closes(relay: Relay, server: End, asterisk: End, code: int, reason: str) -> None:
    stream = await Carried(relay, server, asterisk).start()
    await server.sockets[0].close(code=code)
    await until(lambda: stream.reports)
    assert [(report["by"], report["reason"]) for report in stream.reports] == [("server", reason)]
    await until(lambda: asterisk.sockets[0].closed)


async def test_a_call_that_ends(relay: Relay, server: End, asterisk: End) -> None:
    stream = await Carried(relay, server, asterisk).start()
    await asterisk.sockets[0].close()
    await until(lambda: stream.reports)
    assert [(report["by"], report["reason"]) for report in stream.reports] == [("asterisk", "")]
    await until(lambda: server.sockets[0].closed)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ws://127.0.0.1:{port}/", "FORBIDDEN"),
        ("ws://localhost:{port}/", "FORBIDDEN"),
        ("ws://[::1]:{port}/", "FORBIDDEN"),
        ("ws://169.254.169.254/", "FORBIDDEN"),
        ("ws://127.0.0.2:{port}/refused", "FAILED"),
        ("ws://127.0.0.2:1/", "FAILED"),
        ("wss://127.0.0.2:{port}/", "FAILED"),
        ("ftp://127.0.0.2:{port}/", "FORBIDDEN"),
    ],
)
async def test_what_may_not_or_cannot_be_connected_to(
    relay: Relay, server: End, asterisk: End, url: str, reason: str
) -> None:
    port = asterisk.port if reason == "FORBIDDEN" else server.port
    with pytest.raises(StreamFailed) as raised:
        await relay.open(str(uuid4()), url.format(port=port), {}, "call", pytest.fail)
    assert raised.value.reason == f"EXTERNAL_MEDIA_{reason}", raised.value.message
    assert asterisk.sockets == []


async def test_a_server_that_never_answers_is_given_up(relay: Relay, server: End) -> None:
    began = time.monotonic()
    with pytest.raises(StreamFailed) as raised:
        await relay.open(str(uuid4()), server.url("never"), {}, "call", pytest.fail)
    assert raised.value.reason == "EXTERNAL_MEDIA_TIMEOUT"
    assert time.monotonic() - began < relay_process.CONNECT_SECONDS + 20


async def test_a_flood_is_slowed_down_and_harms_no_other(relay: Relay, server: End, asterisk: End) -> None:
    flooded = await Carried(relay, server, asterisk).start()
    other = await Carried(relay, server, asterisk).start()

    async def flood() -> None:
        while True:
            await server.sockets[0].send_bytes(b"x" * 32_768)

    task = asyncio.create_task(flood())
    began = time.monotonic()
    await asyncio.sleep(2)
    await server.sockets[1].send_bytes(b"hello")
    await until(lambda: asterisk.heard[1] == [b"hello"])
    taken = sum(len(piece) for piece in asterisk.heard[0])
    task.cancel()
    allowed = relay_process.BURST_BYTES + relay_process.RATE_BYTES * (time.monotonic() - began + 1)
    assert relay_process.BURST_BYTES / 2 < taken < allowed
    relay.end(flooded.id)
    relay.end(other.id)


async def test_a_server_that_takes_nothing_is_given_up(relay: Relay, server: End, asterisk: End) -> None:
    server.deaf = True
    stream = await Carried(relay, server, asterisk).start()

    async def pour() -> None:
        while not stream.reports:
            await asterisk.sockets[0].send_bytes(b"x" * 60_000)

    task = asyncio.create_task(pour())
    await until(lambda: stream.reports)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert stream.reports[0]["reason"] == "STUCK"
    server.deaf = False


async def test_a_message_that_is_too_long_ends_the_stream(relay: Relay, server: End, asterisk: End) -> None:
    stream = await Carried(relay, server, asterisk).start()
    await server.sockets[0].send_bytes(b"x" * (relay_process.MAX_MESSAGE_BYTES + 1))
    await until(lambda: stream.reports)
    assert stream.reports[0]["reason"] == "LOST"
    assert asterisk.heard[0] == []


async def test_when_the_process_dies_every_stream_is_told_and_the_next_has_a_new_one(
    relay: Relay, server: End, asterisk: End
) -> None:
    stream = await Carried(relay, server, asterisk).start()
    old = relay.pid
    assert old is not None
    os.kill(old, signal.SIGKILL)
    await until(lambda: stream.reports)
    assert stream.reports[0]["reason"] == "LOST"
    other = await Carried(relay, server, asterisk).start()
    assert relay.pid not in (None, old)
    await relay.close()
    await until(lambda: server.sockets[1].closed)
    assert other.reports == []


async def test_the_process_ends_with_its_controller(relay: Relay, server: End, asterisk: End) -> None:
    await Carried(relay, server, asterisk).start()
    process = relay._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(30):
        assert await process.wait() == 0


async def test_its_environment_holds_no_secret(
    relay: Relay, server: End, asterisk: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGLINE_ARI_PASSWORD", "hunter2")
    await Carried(relay, server, asterisk).start()
    with open(f"/proc/{relay.pid}/environ", "rb") as file:  # noqa: PTH123
        assert b"hunter2" not in file.read()
