"""One attempt: a request to an endpoint over a connection that is kept, and what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import Final

import aiohttp
from yarl import URL

from ringline.media.address_guard import AddressForbidden, AddressGuard
from ringline.media.outbound import GuardedConnector, sentence
from ringline.webhooks.deliveries.schedule import retry_after
from ringline.webhooks.signing import sign

SECONDS: Final = 5.0
"""For everything: the name's look-up, connecting, the answer with its body as far as it is read."""
SHOWN_BYTES: Final = 500
"""Of an answer's body, kept to be shown."""
READ_BYTES: Final = 64 * 1024
"""Of an answer's body; a connection on which more comes is closed."""
KEPT_SECONDS: Final = 30.0
GONE: Final = 410
USER_AGENT: Final = "Ringline-Webhooks/1"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a request. ``status`` is 0 where there was no answer, and ``error`` says why.

    ``milliseconds`` until the answer, ``answer`` its first bytes as text, ``retry_after`` the seconds it asks for.
    """

    tm: datetime
    status: int
    milliseconds: int
    error: str = ""
    answer: str = ""
    retry_after: float | None = None

    @property
    def arrived(self) -> bool:
        return 200 <= self.status < 300

    def shown(self) -> dict[str, object]:
        """As it is stored with the delivery."""
        return {
            "tm": self.tm.isoformat(),
            "status": self.status,
            "ms": self.milliseconds,
            "error": _storable(self.error),
            "answer": _storable(self.answer),
        }


class Poster:
    """Sends webhooks; to addresses that the guard allows, checked as they are connected to."""

    def __init__(self, guard: AddressGuard, *, seconds: float = SECONDS) -> None:
        self._guard = guard
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None
        # an address is read and judged once, and again each time that it is connected to
        self._target = lru_cache(4096)(guard.check_url)

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(
        self, method: str, uri: str, message_id: str, body: bytes, secrets: Sequence[bytes], now: datetime
    ) -> Attempt:
        """One attempt, signed now. Redirects are not followed: they are no 2xx."""
        seconds = int(now.timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": sign(secrets, message_id, seconds, body),
        }
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                target = self._target(uri)
                kept: set[str] = set()
                try:
                    status, answer, wait = await self._send(method, target, headers, body, now, kept)
                except aiohttp.ServerDisconnectedError:
                    if not kept:
                        raise
                    # a kept connection may have been closed by its server just then: once more, on another one
                    status, answer, wait = await self._send(method, target, headers, body, now, kept)
        except TimeoutError:
            return Attempt(now, 0, _since(began), f"no answer within {self._seconds:g} s")
        except AddressForbidden as error:
            return Attempt(now, 0, _since(began), str(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            words = sentence(error) if isinstance(error, aiohttp.ClientError) else type(error).__name__
            return Attempt(now, 0, _since(began), words)
        why = "" if 200 <= status < 300 else f"answered {status}"
        return Attempt(now, status, _since(began), why, answer, wait)

    async def _send(
        self,
        method: str,
        uri: URL,
        headers: Mapping[str, str],
        body: bytes,
        now: datetime,
        kept: set[str],
    ) -> tuple[int, str, float | None]:
        async with self._open_session().request(
            method, uri, headers=headers, data=body, allow_redirects=False, trace_request_ctx=kept
        ) as response:
            shown = await _beginning(response)
            return response.status, shown, retry_after(response.headers.get("Retry-After"), now)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            tracing = aiohttp.TraceConfig()
            tracing.on_connection_reuseconn.append(_reused)
            self._session = aiohttp.ClientSession(
                trace_configs=[tracing],
                connector=GuardedConnector(self._guard, limit=0, keep=KEPT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "Accept": "*/*"},
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None),
                max_line_size=8190,
                max_field_size=8190,
            )
        return self._session


async def _reused(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.add("kept")


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """The first of the body as text; the rest is read away while it is little."""
    if response.content_length == 0 or response.content.at_eof():
        return ""
    first = b""
    total = 0
    async for chunk in response.content.iter_any():
        if len(first) < SHOWN_BYTES:
            first += chunk[: SHOWN_BYTES - len(first)]
        total += len(chunk)
        if total > READ_BYTES:
            response.close()
            break
    return first.decode("utf-8", "replace")


def _storable(text: str) -> str:
    """What an endpoint said as PostgreSQL can keep it: without U+0000 and halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
