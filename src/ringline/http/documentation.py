"""``/openapi.json``, and a page at ``/docs`` that shows it and tries it out, served from here alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from ringline.http.endpoint import JSON

_PAGES: Final = Path(__file__).parent / "pages"
_TYPES: Final = {"docs.html": "text/html", "docs.css": "text/css", "docs.js": "text/javascript"}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def documentation_routes(document: dict[str, Any]) -> list[web.RouteDef]:
    """Routes that serve ``document`` and the page. The files are read once."""
    return [
        web.get("/openapi.json", _fixed(orjson.dumps(document), JSON)),
        web.get("/", _redirect),
        web.get("/docs", _page("docs.html")),
        web.get("/docs/docs.css", _page("docs.css")),
        web.get("/docs/docs.js", _page("docs.js")),
    ]


async def _redirect(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/docs"})


def _page(name: str) -> Any:
    return _fixed((_PAGES / name).read_bytes(), _TYPES[name])


def _fixed(body: bytes, content_type: str) -> Any:
    etag = hashlib.sha256(body).hexdigest()[:16]
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}

    async def serve(request: web.Request) -> web.Response:
        known = request.if_none_match
        fresh = known is not None and any(tag.value == etag for tag in known)
        response = (
            web.Response(status=304, headers=headers)
            if fresh
            else web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)
        )
        response.etag = etag
        return response

    return serve
