"""ARI over plain HTTP: for what the WebSocket cannot carry, and for an Asterisk that serves no REST over
it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
from yarl import URL

from .codec import dumps, loads
from .errors import AriError, ConnectionLost, RequestTimeout, error_for

KEEPALIVE_SECONDS = 10
"""Shorter than Asterisk's 15, so that no request meets a connection that is just being closed."""
MAX_JSON = 16 * 1024 * 1024


class Rest:
    """An HTTP session with one Asterisk. ``base`` ends with ``/ari``."""

    def __init__(self, base: str, authorization: str) -> None:
        self._base = base
        self._headers = {"Authorization": authorization}
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=16, keepalive_timeout=KEEPALIVE_SECONDS),
            )
        return self._session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(self, method: str, uri: str, body: Any, seconds: float) -> tuple[int, Any]:
        """Status and decoded body of one request. Raises ``ConnectionLost`` or ``RequestTimeout``."""
        status, data, content_type = await self._exchange(method, uri, body, seconds, MAX_JSON)
        decoded: Any = data.decode(errors="replace") or None
        if data and "json" in content_type:
            with contextlib.suppress(ValueError):
                decoded = loads(data)
        return status, decoded

    async def download(self, uri: str, max_bytes: int, seconds: float) -> bytes:
        """The body of a GET as bytes. Raises ``AriError`` for a status of 400 and up and for too long a
        body."""
        status, data, _ = await self._exchange("GET", uri, None, seconds, max_bytes)
        if status >= 400:
            message = data[:500].decode(errors="replace")
            with contextlib.suppress(ValueError, AttributeError):
                message = str(loads(data).get("message", message))
            raise error_for(status, message, method="GET", uri=uri)
        return data

    async def _exchange(
        self,
        method: str,
        uri: str,
        body: Any,
        seconds: float,
        max_bytes: int,
    ) -> tuple[int, bytes, str]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(seconds),
                self._open().request(
                    method,
                    URL(f"{self._base}/{uri}", encoded=True),
                    data=None if body is None else dumps(body),
                    headers=headers,
                    allow_redirects=False,
                ) as response,
            ):
                chunks: list[bytes] = []
                size = 0
                async for chunk in response.content.iter_chunked(65536):
                    size += len(chunk)
                    if size > max_bytes:
                        raise AriError(f"the answer is larger than {max_bytes} bytes", method=method, uri=uri)
                    chunks.append(chunk)
                return response.status, b"".join(chunks), response.headers.get("Content-Type", "")
        except TimeoutError as error:
            raise RequestTimeout(f"no answer in {seconds:.1f} s", method=method, uri=uri) from error
        except aiohttp.ClientError as error:
            raise ConnectionLost(str(error) or type(error).__name__, method=method, uri=uri) from error
