"""One HTTP exchange with a customer's server: guarded, timed, its answer bounded, so many at once per customer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

import aiohttp

from ringline.media.address_guard import AddressForbidden, loggable
from ringline.media.outbound import BodyTooLarge, OutboundClient, OutboundFailed, OutboundTimeout

TOTAL_SECONDS: Final = 10.0
"""For a whole exchange: waiting for a place, the name's look-up, connecting (5 s at most), the answer."""
MAX_PER_CUSTOMER: Final = 50
"""Exchanges of one customer's flows at once; more wait, within their time."""
_CHUNK_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent. ``url`` is checked as it is connected to; ``headers`` hold no secrets of ours."""

    customer_id: UUID
    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is what was asked for of it, ``whole`` whether that is all."""

    status: int
    body: bytes = b""
    whole: bool = True
    charset: str = "utf-8"


class ExchangeFailed(Exception):
    """There is no answer. ``reason`` is FORBIDDEN, TIMEOUT, TOO_LARGE or FAILED; ``message`` a sentence.

    ``unsent``: no connection came about, so that the server has seen nothing of the request.
    """

    def __init__(self, reason: str, message: str, *, unsent: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.unsent = unsent


class Exchanges(Protocol):
    """Who talks with the servers of customers (``HttpExchanges``)."""

    async def run(
        self, request: Request, *, max_bytes: int, cut: bool = False, seconds: float = TOTAL_SECONDS
    ) -> Answer: ...


class HttpExchanges:
    """Exchanges over an ``OutboundClient``, which it closes."""

    def __init__(self, client: OutboundClient, *, per_customer: int = MAX_PER_CUSTOMER) -> None:
        self._client = client
        self._per_customer = per_customer
        self._places: dict[UUID, _Places] = {}

    async def close(self) -> None:
        await self._client.close()

    async def run(
        self, request: Request, *, max_bytes: int, cut: bool = False, seconds: float = TOTAL_SECONDS
    ) -> Answer:
        """The answer with its body, of which at most ``max_bytes``: what has more fails, or is ``cut`` there.

        Raises ``ExchangeFailed``.
        """
        shown = loggable(request.url)
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                await self._enter(request.customer_id)
        except TimeoutError:
            raise ExchangeFailed(
                "TIMEOUT",
                f"{shown}: {self._per_customer} requests of yours were under way for all of {seconds:g} s",
                unsent=True,
            ) from None
        try:
            left = max(0.01, deadline - asyncio.get_running_loop().time())
            return await self._run(request, left, max_bytes, cut=cut)
        except AddressForbidden as error:
            raise ExchangeFailed("FORBIDDEN", f"{shown}: {error}", unsent=True) from error
        except BodyTooLarge as error:
            raise ExchangeFailed("TOO_LARGE", f"{shown}: {error}") from error
        except OutboundTimeout as error:
            raise ExchangeFailed("TIMEOUT", f"{shown}: {error}", unsent=_unsent(error)) from error
        except OutboundFailed as error:
            raise ExchangeFailed("FAILED", f"{shown}: {error}", unsent=_unsent(error)) from error
        finally:
            self._leave(request.customer_id)

    async def _run(self, request: Request, seconds: float, max_bytes: int, *, cut: bool) -> Answer:
        async with self._client.open(
            request.method, request.url, timeout_seconds=seconds, headers=request.headers, body=request.body
        ) as response:
            whole = True
            if cut:
                body, whole = await _beginning(response, max_bytes)
            else:
                body = await self._client.read(response, max_bytes)
            return Answer(response.status, body, whole, _charset(response))

    async def _enter(self, customer_id: UUID) -> None:
        places = self._places.get(customer_id)
        if places is None:
            places = self._places[customer_id] = _Places(self._per_customer)
        places.users += 1
        try:
            await places.free.acquire()
        except BaseException:
            self._forget(customer_id, places)
            raise

    def _leave(self, customer_id: UUID) -> None:
        places = self._places[customer_id]
        places.free.release()
        self._forget(customer_id, places)

    def _forget(self, customer_id: UUID, places: _Places) -> None:
        places.users -= 1
        if not places.users:
            del self._places[customer_id]


class _Places:
    """A customer's share; ``users`` hold one or wait for one."""

    __slots__ = ("free", "users")

    def __init__(self, count: int) -> None:
        self.free = asyncio.Semaphore(count)
        self.users = 0


async def _beginning(response: aiohttp.ClientResponse, max_bytes: int) -> tuple[bytes, bool]:
    """The first ``max_bytes`` of a body, and whether that is all; nothing of one that is compressed unasked."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"identity", ""}:
        return b"", False
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            return bytes(body[:max_bytes]), False
    return bytes(body), True


def _charset(response: aiohttp.ClientResponse) -> str:
    return (response.charset or "utf-8")[:40]


def _unsent(error: OutboundFailed) -> bool:
    """Whether it failed before there was a connection."""
    cause = error.__cause__ or error.__context__
    return isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
