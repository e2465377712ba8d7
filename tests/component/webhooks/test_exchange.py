"""Exchanges with a real server on loopback: what comes back, what is refused, how many at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from ipaddress import ip_network
from uuid import UUID

import pytest
from aiohttp import web

from ringline.media.address_guard import AddressGuard
from ringline.media.outbound import OutboundClient
from ringline.webhooks.exchange import Answer, ExchangeFailed, HttpExchanges, Request

ALLOWED = ip_network("127.0.0.2/32")
ONE, OTHER = UUID(int=1), UUID(int=2)


class Site:
    def __init__(self) -> None:
        self.port = 0
        self.requests: list[tuple[str, str, bytes, str]] = []
        self.running = self.most = 0
        self.gate = asyncio.Event()

    def url(self, path: str, host: str = "127.0.0.2") -> str:
        return f"http://{host}:{self.port}/{path}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.method, request.path, body, request.headers.get("Webhook-Id", "")))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            match request.path:
                case "/held":
                    await self.gate.wait()
                case "/away":
                    raise web.HTTPTemporaryRedirect(self.url("there", "127.0.0.1"))
                case "/long":
                    return web.Response(body=b"x" * 100_000)
                case "/packed":
                    return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
            return web.json_response({"path": request.path}, status=201)
        finally:
            self.running -= 1


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.2", 0).start()
    found.port = runner.addresses[0][1]
    await web.TCPSite(runner, "127.0.0.1", found.port).start()
    yield found
    found.gate.set()
    await runner.cleanup()


@contextlib.asynccontextmanager
async def exchanges(per_customer: int = 50) -> AsyncIterator[HttpExchanges]:
    found = HttpExchanges(OutboundClient(AddressGuard([ALLOWED])), per_customer=per_customer)
    yield found
    await found.close()
    assert found._places == {}


async def failure(made: HttpExchanges, request: Request, *, seconds: float = 30.0) -> ExchangeFailed:
    with pytest.raises(ExchangeFailed) as raised:
        await made.run(request, max_bytes=1000, seconds=seconds)
    return raised.value


async def test_method_body_and_headers_arrive_and_the_answer_comes_back(site: Site) -> None:
    async with exchanges() as made:
        request = Request(ONE, "PUT", site.url("a?secret=1"), {"Webhook-Id": "7"}, b"body")
        assert await made.run(request, max_bytes=1000) == Answer(201, b'{"path": "/a"}')
    assert site.requests == [("PUT", "/a", b"body", "7")]


async def test_a_body_that_is_too_long_fails_or_is_cut(site: Site) -> None:
    async with exchanges() as made:
        request = Request(ONE, "GET", site.url("long"))
        assert (await failure(made, request)).reason == "TOO_LARGE"
        answer = await made.run(request, max_bytes=10, cut=True)
        assert (answer.body, answer.whole) == (b"x" * 10, False)
        packed = await made.run(Request(ONE, "GET", site.url("packed")), max_bytes=10, cut=True)
        assert (packed.body, packed.whole) == (b"", False)


@pytest.mark.parametrize("path", ["away", "direct"])
async def test_private_addresses_are_refused_also_behind_a_redirect(site: Site, path: str) -> None:
    url = site.url(path, "127.0.0.1" if path == "direct" else "127.0.0.2") + "?secret=1"
    async with exchanges() as made:
        error = await failure(made, Request(ONE, "POST", url, {}, b"x"))
    assert error.reason == "FORBIDDEN"
    assert "127.0.0.1 is not a public address" in error.message
    assert "secret" not in error.message
    assert "/there" not in [seen for _, seen, _, _ in site.requests]


async def test_a_server_that_is_not_there_has_seen_nothing_and_one_that_is_silent_may_have(
    site: Site,
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.2", 0))
        nobody = f"http://127.0.0.2:{closed.getsockname()[1]}/"
    async with exchanges() as made:
        refused = await failure(made, Request(ONE, "POST", nobody))
        assert (refused.reason, refused.unsent) == ("FAILED", True)
        began = time.monotonic()
        silent = await failure(made, Request(ONE, "POST", site.url("held")), seconds=0.3)
        assert (silent.reason, silent.unsent) == ("TIMEOUT", False)
        assert time.monotonic() - began < 15


async def test_one_customers_silent_servers_take_only_that_customers_places(site: Site) -> None:
    async with exchanges(per_customer=3) as made:
        held = [
            asyncio.create_task(made.run(Request(ONE, "GET", site.url("held")), max_bytes=100))
            for _ in range(5)
        ]
        while site.running < 3:
            await asyncio.sleep(0.01)
        waiting = await failure(made, Request(ONE, "GET", site.url("a")), seconds=0.2)
        assert (waiting.reason, waiting.unsent) == ("TIMEOUT", True)
        assert (await made.run(Request(OTHER, "GET", site.url("b")), max_bytes=100)).status == 201
        site.gate.set()
        assert [answer.status for answer in await asyncio.gather(*held)] == [201] * 5
        assert site.most == 4
