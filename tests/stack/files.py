"""A web server of sound files, good ones and hostile ones, on the address that the test instance may fetch from."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from aiohttp import web

GIGABYTE = 1 << 30


class Files:
    """``sounds`` maps a name to a file's bytes; ``hits`` counts requests by path."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sounds: dict[str, bytes] = {}
        self.hits: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> Files:
        app = web.Application()
        app.router.add_get("/sounds/{name}", self._sound)
        app.router.add_get("/gigabyte.wav", self._gigabyte)
        app.router.add_get("/endless.wav", self._endless)
        app.router.add_get("/dripping.wav", self._dripping)
        app.router.add_get("/away.wav", self._away)
        app.router.add_get("/loop.wav", self._loop)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address, 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def url(self, path: str, host: str = "") -> str:
        return f"http://{host or self.address}:{self.port}/{path}"

    def add(self, name: str, data: bytes) -> str:
        """Serve ``data``; its URL."""
        self.sounds[name] = data
        return self.url(f"sounds/{name}")

    async def _sound(self, request: web.Request) -> web.Response:
        self.hits[request.path] += 1
        data = self.sounds.get(request.match_info["name"])
        if data is None:
            raise web.HTTPNotFound
        return web.Response(body=data, content_type="application/octet-stream")

    async def _gigabyte(self, request: web.Request) -> web.StreamResponse:
        """Says that it has 1 GB, and would send it."""
        return await self._pour(request, GIGABYTE, 0.0, length=GIGABYTE)

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        """Never says how long it is, and never ends."""
        return await self._pour(request, 1 << 62, 0.0)

    async def _dripping(self, request: web.Request) -> web.StreamResponse:
        """A few bytes now and then, for ever."""
        return await self._pour(request, 1 << 62, 0.5, piece=64)

    async def _away(self, request: web.Request) -> web.StreamResponse:
        """To the same port of an address that is forbidden."""
        self.hits[request.path] += 1
        raise web.HTTPFound(request.query["to"])

    async def _loop(self, request: web.Request) -> web.Response:
        """To itself."""
        self.hits[request.path] += 1
        raise web.HTTPFound(request.path)

    async def _pour(
        self,
        request: web.Request,
        total: int,
        pause: float,
        *,
        length: int | None = None,
        piece: int = 1 << 16,
    ) -> web.StreamResponse:
        self.hits[request.path] += 1
        response = web.StreamResponse(headers={"Content-Type": "audio/wav"})
        response.content_length = length
        await response.prepare(request)
        data = b"\0" * piece
        try:
            while self.sent[request.path] < total:
                await response.write(data)
                self.sent[request.path] += len(data)
                await asyncio.sleep(pause)
        except (ConnectionError, asyncio.CancelledError):
            pass
        return response


def allowed_address(env: Mapping[str, str]) -> str:
    """The loopback address that the test instance is allowed to fetch from (``scripts/env.sh``)."""
    network = env["RINGLINE_FETCH_ALLOWED_NETWORKS"].split(",")[0]
    assert network.startswith("127.") and network.endswith("/32"), network
    return network.removesuffix("/32")
