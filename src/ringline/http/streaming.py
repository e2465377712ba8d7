"""Answers that are made while they are sent: constant memory, at the pace of whoever reads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

log = structlog.get_logger(__name__)

STALL_SECONDS: Final = 30.0
"""A client that takes nothing for so long has gone, or holds us up on purpose."""


class Streamed(web.StreamResponse):
    """Sends ``chunks`` one after the other; the next is made when the connection has room again.

    When the client goes, or nothing can be sent for ``STALL_SECONDS``, the chunks are closed and nothing more is
    made. When making one fails, the connection is cut: the client's library says that the body is incomplete.
    Each is made ``within`` what the request was handled in (``storage.tenancy``).
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        headers: Mapping[str, str],
        within: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        super().__init__(headers=dict(headers))
        self._chunks = chunks
        self._within = within
        self._request: web.BaseRequest | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self._request = request
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Called by aiohttp once the headers are prepared."""
        request = self._request
        try:
            if request is not None and request.method != "HEAD":
                while (chunk := await self._next()) is not None:
                    async with asyncio.timeout(STALL_SECONDS):
                        await self.write(chunk)
            await super().write_eof(data)
        except (ConnectionError, TimeoutError) as error:
            log.info("stream_given_up", error=repr(error))
            self._cut()
        except Exception:
            log.exception("stream_failed")
            self._cut()
        finally:
            await _closed(self._chunks)

    async def _next(self) -> bytes | None:
        with self._within():
            return await anext(self._chunks, None)

    def _cut(self) -> None:
        if self._request is not None and (transport := self._request.transport) is not None:
            transport.abort()


async def _closed(chunks: Any) -> None:
    """End a generator now, not when it is collected: what it holds (a connection) is free again."""
    close = getattr(chunks, "aclose", None)
    if close is not None:
        with contextlib.suppress(Exception):
            await close()
