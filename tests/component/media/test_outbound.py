"""The guarded client against real sockets: no name, redirect or rebinding leads where it must not."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from ringline.media.address_guard import AddressForbidden, AddressGuard
from ringline.media.outbound import (
    BodyTooLarge,
    GuardedConnector,
    Lookup,
    OutboundClient,
    OutboundFailed,
    OutboundTimeout,
)

ALLOWED = ip_network("127.0.0.1/32")


class Site:
    """A server on 127.0.0.1 and, on the same port, on 127.0.0.2, which the guard of these tests forbids."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.hosts: list[str] = []
        self.location = ""
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        assert request.transport is not None
        self.hosts.append(request.transport.get_extra_info("sockname")[0])
        if request.path == "/redirect":
            return web.Response(
                status=int(request.query.get("status", 302)), headers={"Location": self.location}
            )
        if request.path == "/loop":
            return web.Response(status=302, headers={"Location": "/loop"})
        if request.path == "/packed":
            return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})
        return web.Response(text=f"{request.method} {request.path}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    first = web.TCPSite(runner, "127.0.0.1", 0)
    await first.start()
    found.port = runner.addresses[0][1]
    await web.TCPSite(runner, "127.0.0.2", found.port).start()
    yield found
    await runner.cleanup()


@contextlib.asynccontextmanager
async def client(lookup: Lookup | None = None) -> AsyncIterator[OutboundClient]:
    outbound = OutboundClient(AddressGuard([ALLOWED]), lookup=lookup)
    try:
        yield outbound
    finally:
        await outbound.close()


async def get(outbound: OutboundClient, url: str, *, method: str = "GET", **options: object) -> str:
    async with outbound.open(method, url, timeout_seconds=30, **options) as response:  # type: ignore[arg-type]
        return (await outbound.read(response, 10_000)).decode()


def answers(*addresses: str) -> Lookup:
    """Each look-up takes the next group of addresses (separated by spaces), the last one for ever."""
    left = list(addresses)

    def lookup(host: str, port: int, family: int) -> list[tuple[int, str]]:
        group = left.pop(0) if len(left) > 1 else left[0]
        return [(10 if ":" in address else 2, address) for address in group.split()]

    return lookup


async def test_an_allowed_address_answers(site: Site) -> None:
    async with client() as outbound:
        assert await get(outbound, f"{site.url}/a?b=c") == "GET /a"
        assert "Ringline" in site.requests[0].headers["User-Agent"]
        assert site.requests[0].headers["Accept-Encoding"] == "identity"


async def test_a_name_is_judged_by_what_it_resolves_to(site: Site) -> None:
    async with client(answers("127.0.0.2")) as outbound:
        with pytest.raises(AddressForbidden):
            await get(outbound, f"http://innocent.example:{site.port}/")
    assert site.requests == []


async def test_one_forbidden_answer_spoils_the_name(site: Site) -> None:
    async with client(answers("127.0.0.1 127.0.0.2")) as outbound:
        with pytest.raises(AddressForbidden):
            await get(outbound, f"http://mixed.example:{site.port}/")
    assert site.requests == []


async def test_rebinding_between_two_requests_does_not_win(site: Site) -> None:
    async with client(answers("127.0.0.1", "127.0.0.2")) as outbound:
        url = f"http://rebinding.example:{site.port}/"
        assert await get(outbound, url) == "GET /"
        with pytest.raises(AddressForbidden):
            await get(outbound, url)
    assert site.hosts == ["127.0.0.1"]


async def test_rebinding_between_redirects_does_not_win(site: Site) -> None:
    site.location = "/again"
    async with client(answers("127.0.0.1", "127.0.0.2")) as outbound:
        with pytest.raises(AddressForbidden):
            await get(outbound, f"http://rebinding.example:{site.port}/redirect")
    assert site.hosts == ["127.0.0.1"]


class Liar(AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.2", port=port, family=2, proto=0, flags=0)]

    async def close(self) -> None:
        return


@pytest.mark.parametrize("host", ["127.0.0.2", "lie.example"])
async def test_the_socket_itself_is_guarded_whatever_the_resolver_says(site: Site, host: str) -> None:
    connector = GuardedConnector(AddressGuard([ALLOWED]))
    await connector._resolver.close()
    connector._resolver = Liar()
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises((AddressForbidden, aiohttp.ClientError)):
            await session.get(f"http://{host}:{site.port}/")
    assert site.requests == []


@pytest.mark.parametrize("host", ["2130706434", "0x7f000002", "127.2", "0177.0.0.2", "127.0.0.2."])
async def test_other_spellings_of_a_forbidden_address(site: Site, host: str) -> None:
    async with client() as outbound:
        with pytest.raises((AddressForbidden, OutboundFailed)):
            await get(outbound, f"http://{host}:{site.port}/")
    assert "127.0.0.2" not in site.hosts


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "//127.0.0.2:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://user:password@127.0.0.1:{port}/",
    ],
)
async def test_a_redirect_is_checked_like_the_first_url(site: Site, location: str) -> None:
    site.location = location.format(port=site.port)
    async with client() as outbound:
        with pytest.raises(AddressForbidden):
            await get(outbound, f"{site.url}/redirect")
    assert site.hosts == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("status", "method", "arrived"), [(302, "GET", "GET"), (303, "POST", "GET"), (307, "POST", "POST")]
)
async def test_redirects_are_followed(site: Site, status: int, method: str, arrived: str) -> None:
    site.location = "there?x=1"
    async with client() as outbound:
        answer = await get(outbound, f"{site.url}/redirect?status={status}", method=method, body=b"content")
    assert answer == f"{arrived} /there"


async def test_redirects_end(site: Site) -> None:
    async with client() as outbound:
        with pytest.raises(OutboundFailed, match="more than 3 redirects"):
            await get(outbound, f"{site.url}/loop")
    assert len(site.requests) == 4


async def test_credentials_do_not_follow_to_another_origin(site: Site) -> None:
    async with client(answers("127.0.0.1")) as outbound:
        headers = {"Authorization": "Bearer secret", "X-Other": "kept"}
        site.location = f"http://other.example:{site.port}/there"
        await get(outbound, f"{site.url}/redirect", headers=headers)
        assert "Authorization" not in site.requests[-1].headers
        assert site.requests[-1].headers["X-Other"] == "kept"
        site.location = "/here"
        await get(outbound, f"{site.url}/redirect", headers=headers)
        assert site.requests[-1].headers["Authorization"] == "Bearer secret"


async def test_a_compressed_body_is_not_unpacked(site: Site) -> None:
    async with client() as outbound:
        with pytest.raises(OutboundFailed, match="compressed"):
            await get(outbound, f"{site.url}/packed")


async def test_a_slow_name_server_is_a_timeout_and_stops_nobody(site: Site) -> None:
    over = threading.Event()

    def lookup(host: str, port: int, family: int) -> list[tuple[int, str]]:
        if host == "slow.example":
            over.wait(60)
        return [(2, "127.0.0.1")]

    async with client(lookup) as outbound:

        async def slow() -> None:
            async with outbound.open("GET", f"http://slow.example:{site.port}/", timeout_seconds=0.2):
                pytest.fail("it answered")

        waiting = asyncio.create_task(slow())
        assert await get(outbound, f"http://quick.example:{site.port}/q") == "GET /q"
        with pytest.raises(OutboundTimeout):
            await waiting
        assert not over.is_set(), "neither waited for the name server"
        over.set()


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "..", "no-such-host.invalid"])
async def test_names_that_do_not_exist(host: str) -> None:
    async with client() as outbound:
        with pytest.raises((OutboundFailed, AddressForbidden)) as caught:
            await get(outbound, f"http://{host}/")
    assert len(str(caught.value)) < 400


async def raw_server(handle: Callable[[asyncio.StreamWriter], object]) -> tuple[asyncio.Server, str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            await handle(writer)  # type: ignore[misc]
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[bad\r\n\r\n",
    ],
)
async def test_broken_answers_are_failures(answer: bytes) -> None:
    async def handle(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    server, url = await raw_server(handle)
    async with server, client() as outbound:
        with pytest.raises((OutboundFailed, AddressForbidden)):
            await get(outbound, url)


async def test_bodies_are_bounded_by_what_is_said_and_by_what_comes() -> None:
    async def application(request: web.Request) -> web.StreamResponse:
        if request.path == "/said":
            return web.Response(body=b"x" * 200)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * 50)
        return response

    app = web.Application()
    app.router.add_get("/{path}", application)
    async with TestServer(app, host="127.0.0.1") as server, client() as outbound:
        for path, words in (("/said", "has 200 bytes"), ("/endless", "more than 100 bytes")):
            with pytest.raises(BodyTooLarge, match=words):
                async with outbound.open("GET", str(server.make_url(path)), timeout_seconds=30) as response:
                    await outbound.read(response, 100)


async def test_one_slow_host_does_not_use_up_all_connections(site: Site) -> None:
    over, asked = asyncio.Event(), 0

    async def hang(writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await over.wait()

    server, url = await raw_server(hang)
    outbound = OutboundClient(AddressGuard([ALLOWED]), limit=8)

    async def wait_for_nothing() -> None:
        with pytest.raises(OutboundFailed):
            async with outbound.open("GET", url, timeout_seconds=90):
                pass

    async with server:
        slow = [asyncio.create_task(wait_for_nothing()) for _ in range(20)]
        async with asyncio.timeout(30):
            while not asked:
                await asyncio.sleep(0.01)
        assert await get(outbound, f"{site.url}/quick") == "GET /quick"
        assert not any(task.done() for task in slow)
        over.set()
        await asyncio.gather(*slow)
        await outbound.close()
