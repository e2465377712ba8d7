"""HTTP to where customers point: addresses checked as they are connected to, redirects by hand, bodies
bounded.

Knows nothing of media: webhooks and ``fetch`` use it, too.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from .address_guard import AddressGuard

DNS_SECONDS = 5.0
CONNECT_SECONDS = 5.0
MAX_REDIRECTS = 3
CHUNK_BYTES = 65_536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What a redirect to another origin must not take along.
_PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})

Lookup = Callable[[str, int, int], list[tuple[int, str]]]


class OutboundFailed(Exception):
    """The exchange failed: no connection, a broken answer, too many redirects."""


class OutboundTimeout(OutboundFailed):
    """It took longer than it may."""


class BodyTooLarge(OutboundFailed):
    """The body is, or says it is, larger than the limit."""


class GuardedResolver(AbstractResolver):
    """DNS in threads of its own (a slow name server must not stop other work); one forbidden answer spoils
    all.
    """

    def __init__(self, guard: AddressGuard, lookup: Lookup | None = None) -> None:
        self._guard = guard
        self._lookup = lookup or _getaddrinfo
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="outbound-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DNS_SECONDS):
            answers = await loop.run_in_executor(self._threads, self._lookup, host, port, family)
        for _, address in answers:
            self._guard.check(address)
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=found, proto=0, flags=socket.AI_NUMERICHOST
            )
            for found, address in answers
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class GuardedConnector(aiohttp.TCPConnector):
    """Checks the very address each socket is made for, so that no name, redirect or rebinding leads around
    it.

    Connections are not kept unless ``keep`` says for how many seconds: the next request resolves and checks again.
    """

    def __init__(
        self, guard: AddressGuard, *, limit: int = 64, lookup: Lookup | None = None, keep: float = 0.0
    ) -> None:
        self._guard = guard
        kept: dict[str, Any] = {"keepalive_timeout": keep} if keep else {"force_close": True}
        super().__init__(
            resolver=GuardedResolver(guard, lookup),
            use_dns_cache=False,
            limit=limit,
            # one slow host must not use up all
            limit_per_host=max(1, limit // 4) if limit else 0,
            socket_factory=self._socket,
            **kept,
        )

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, where = address
        self._guard.check(str(where[0]))
        return socket.socket(family, kind, protocol)


class OutboundClient:
    """A session that sends no cookies, follows no proxy variables and unpacks no compressed bodies by
    itself.
    """

    def __init__(
        self,
        guard: AddressGuard,
        *,
        user_agent: str = "Ringline",
        limit: int = 64,
        lookup: Lookup | None = None,
    ) -> None:
        self._guard = guard
        self._limit = limit
        self._lookup = lookup
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the session. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        max_redirects: int = MAX_REDIRECTS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request, its body unread; everything inside the block shares ``timeout_seconds``.

        Raises `AddressForbidden`, `OutboundTimeout` or `OutboundFailed`, also for what the block itself
        awaits of the response. Statuses are the caller's to judge.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                response = await self._follow(method, url, dict(headers or {}), body, max_redirects)
                try:
                    yield response
                finally:
                    response.close()
        except TimeoutError:
            raise OutboundTimeout(f"no complete answer within {timeout_seconds:g} s") from None
        except aiohttp.ClientError as error:
            raise OutboundFailed(sentence(error)) from error

    async def read(self, response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
        """The whole body. Raises `BodyTooLarge`, on what the header says or what really comes."""
        return b"".join([chunk async for chunk in self.chunks(response, max_bytes)])

    async def chunks(self, response: aiohttp.ClientResponse, max_bytes: int) -> AsyncIterator[bytes]:
        """The body piece by piece, at most ``max_bytes`` of it. Raises `BodyTooLarge`."""
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"identity", ""}:
            raise OutboundFailed(f"the answer is compressed ({encoding[:20]}), which was not asked for")
        if (response.content_length or 0) > max_bytes:
            raise BodyTooLarge(f"the body has {response.content_length} bytes; at most {max_bytes} are read")
        total = 0
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            total += len(chunk)
            if total > max_bytes:
                raise BodyTooLarge(f"the body has more than {max_bytes} bytes")
            yield chunk

    async def _follow(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, max_redirects: int
    ) -> aiohttp.ClientResponse:
        target = self._guard.check_url(url)
        for _ in range(max_redirects + 1):
            response = await self._request(method, target, headers, body)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response
            response.close()
            following = self._guard.check_url(_join(target, location))
            if following.origin() != target.origin():
                headers = {
                    name: value for name, value in headers.items() if name.lower() not in _PRIVATE_HEADERS
                }
            if response.status == 303 and method != "HEAD":
                method, body = "GET", None
            target = following
        raise OutboundFailed(f"more than {max_redirects} redirects")

    async def _request(
        self, method: str, url: URL, headers: dict[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        return await self._open_session().request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            max_line_size=8190,
            max_field_size=8190,
        )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=GuardedConnector(self._guard, limit=self._limit, lookup=self._lookup),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            )
        return self._session


def _getaddrinfo(host: str, port: int, family: int) -> list[tuple[int, str]]:
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise OSError(f"{host[:80]!r} is not a host name") from error
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [(int(entry[0]), str(entry[4][0])) for entry in found]


def _join(base: URL, location: str) -> str:
    try:
        return str(base.join(URL(location)))
    except ValueError:
        raise OutboundFailed("the redirect's target is not a URL") from None


def sentence(error: aiohttp.ClientError) -> str:
    """What went wrong, without what may be secret in a URL."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of {error.host} is not valid"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host}:{error.port} does not accept the connection"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    # aiohttp's own words may hold the whole URL, and its query what is secret.
    words = re.sub(r"[?#]\S*", "", " ".join(str(error).split()))
    return f"{type(error).__name__}: {words}"[:300]
