"""``/openapi.json``, and a page at ``/docs`` that shows it and tries it out, served from here alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import orjson
from aiohttp import web

from ringline.http import static
from ringline.http.endpoint import JSON
from ringline.http.route import Route

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}


class Document:
    """The OpenAPI document of ``routes``, made when it is first asked for: it takes half a second.

    ``prepared`` is set once the models of all routes are made. The document is put together in a thread, so that
    calls do not wait for it, and pydantic does not make one model in two threads.
    """

    def __init__(self, routes: Sequence[Route], prepared: asyncio.Event) -> None:
        self._routes = routes
        self._prepared = prepared
        self._making: asyncio.Task[static.Handler] | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler. What several ask for at once is made once."""
        if self._making is None or (self._making.done() and self._making.exception() is not None):
            self._making = asyncio.create_task(self._make(), name="openapi-document")
        # somebody who goes away does not take it from the others
        return await (await asyncio.shield(self._making))(request)

    async def _make(self) -> static.Handler:
        await self._prepared.wait()
        return static.fixed(await asyncio.to_thread(_document, self._routes), JSON, _HEADERS)


def _document(routes: Sequence[Route]) -> bytes:
    from ringline.http.openapi import openapi_document  # noqa: PLC0415 - not before somebody asks

    return orjson.dumps(openapi_document(routes))


def documentation_routes(document: Document) -> list[web.RouteDef]:
    """Routes that serve ``document`` and the page. The files are read once."""
    return [
        web.get("/openapi.json", document.serve),
        web.get("/", _redirect),
        web.get("/docs", static.file(static.PAGES / "docs.html", _HEADERS)),
        web.get("/docs/docs.css", static.file(static.PAGES / "docs.css", _HEADERS)),
        web.get("/docs/docs.js", static.file(static.PAGES / "docs.js", _HEADERS)),
    ]


async def _redirect(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/docs"})
