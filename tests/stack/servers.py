"""Servers of a customer, on the address that the test instance may contact: actions, webhooks, audio."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from aiohttp import WSMsgType, web

from tests.stack.audio import RATE, Samples
from tests.stack.rtp import HEADER, linear

Json = dict[str, Any]
FRAME = 160


def mulaw(sound: Samples) -> bytes:
    """PCMU of samples between -1 and 1 (ITU-T G.711)."""
    samples = np.clip(sound * 32767, -32635, 32635).astype(int)
    sign = np.where(samples < 0, 0x80, 0)
    biased = np.abs(samples) + 132
    exponent = np.floor(np.log2(biased)).astype(int) - 7
    mantissa = (biased >> (exponent + 3)) & 0x0F
    return cast("bytes", (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8).tobytes())


def tone(frequency: float, seconds: float, loudness: float = 0.3) -> Samples:
    return loudness * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)


def strength(sound: Samples, frequency: float) -> float:
    """How much of the sound's energy is at a frequency (0 to 1)."""
    if sound.size < RATE // 10:
        return 0.0
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size))) ** 2
    bins = np.fft.rfftfreq(sound.size, 1 / RATE)
    return float(spectrum[np.abs(bins - frequency) < 15].sum() / max(spectrum.sum(), 1e-9))


@dataclass
class Talker:
    """One WebSocket of a call: what was heard on it; ``say`` is repeated in real time until it ends."""

    headers: dict[str, str]
    say: bytes = b""
    heard: bytearray = field(default_factory=bytearray)
    texts: list[str] = field(default_factory=list)
    code: int | None = None
    socket: web.WebSocketResponse | None = None

    @property
    def sound(self) -> Samples:
        return linear(bytes(self.heard)) / 32768

    @property
    def ended(self) -> bool:
        return self.code is not None

    async def close(self, code: int = 1000) -> None:
        assert self.socket is not None
        await self.socket.close(code=code)


class Servers:
    """One web server. ``answers`` maps a path to what is answered: JSON, or a function of the request."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.port = 0
        self.answers: dict[str, Any] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.talkers: list[Talker] = []
        self.say = b""
        self._runner: web.AppRunner | None = None

    async def start(self) -> Servers:
        app = web.Application()
        app.router.add_get("/audio", self._audio)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address, 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def url(self, path: str, scheme: str = "http", host: str = "") -> str:
        return f"{scheme}://{host or self.address}:{self.port}/{path}"

    def seen(self, path: str) -> list[tuple[str, dict[str, str], bytes]]:
        """Requests to a path: method, headers, body."""
        return [(method, headers, body) for method, found, headers, body in self.requests if found == path]

    def bodies(self, path: str) -> list[Json]:
        return [json.loads(body) for _, _, body in self.seen(path)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.method, request.path, dict(request.headers), body))
        answer = self.answers.get(request.path)
        if answer == "never":
            await asyncio.Event().wait()
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = answer(request)
        if answer is None:
            raise web.HTTPNotFound
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.json_response(answer)

    async def _audio(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["media"])
        await socket.prepare(request)
        talker = Talker(dict(request.headers), self.say, socket=socket)
        self.talkers.append(talker)
        speaking = asyncio.create_task(self._speak(talker))
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    talker.heard += message.data
                elif message.type is WSMsgType.TEXT:
                    talker.texts.append(message.data)
        finally:
            speaking.cancel()
            talker.code = socket.close_code or -1
        return socket

    async def _speak(self, talker: Talker) -> None:
        assert talker.socket is not None
        began, sent = time.monotonic(), 0
        while talker.say:
            at = sent * FRAME % len(talker.say)
            with contextlib.suppress(ConnectionError):
                await talker.socket.send_bytes(talker.say[at : at + FRAME])
            sent += 1
            await asyncio.sleep(max(0.0, began + sent * 0.02 - time.monotonic()))


class RtpPeer(asyncio.DatagramProtocol):
    """An RTP host: hears what comes, and says ``say`` in real time to wherever that came from."""

    def __init__(self) -> None:
        self.address = ("", 0)
        self.say = b""
        self.heard = bytearray()
        self.types: set[int] = set()
        self.last = 0.0
        self._transport: asyncio.DatagramTransport | None = None
        self._speaking: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, host: str) -> RtpPeer:
        _, peer = await asyncio.get_running_loop().create_datagram_endpoint(cls, local_addr=(host, 0))
        return peer

    @property
    def host(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def sound(self) -> Samples:
        return linear(bytes(self.heard)) / 32768

    def close(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) < HEADER.size or not 0x80 <= data[0] < 0xC0:
            return
        self.types.add(data[1] & 0x7F)
        self.heard += data[HEADER.size :]
        self.last = time.monotonic()
        if self._speaking is None and self.say:
            self._speaking = asyncio.create_task(self._speak(addr))

    async def _speak(self, to: tuple[str, int]) -> None:
        assert self._transport is not None
        began, sent = time.monotonic(), 0
        while True:
            at = sent * FRAME % len(self.say)
            head = struct.pack("!BBHII", 0x80, 0, sent & 0xFFFF, sent * FRAME & 0xFFFFFFFF, 0xBEEF)
            self._transport.sendto(head + self.say[at : at + FRAME], to)
            sent += 1
            await asyncio.sleep(max(0.0, began + sent * 0.02 - time.monotonic()))
