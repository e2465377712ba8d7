"""Files that are the same for everybody: read once, served with an entity tag."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

PAGES: Final = Path(__file__).parent / "pages"
_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".txt": "text/plain",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def file(path: Path, headers: Mapping[str, str]) -> Handler:
    """A handler that serves ``path``, whose suffix says its type, with ``headers`` besides its own."""
    return fixed(path.read_bytes(), _TYPES[path.suffix], headers)


def fixed(body: bytes, content_type: str, headers: Mapping[str, str]) -> Handler:
    """A handler that serves ``body``, or 304 to whoever has it."""
    etag = hashlib.sha256(body).hexdigest()[:16]
    sent = {"Cache-Control": "no-cache", **headers}

    async def serve(request: web.Request) -> web.StreamResponse:
        known = request.if_none_match
        fresh = known is not None and any(tag.value == etag for tag in known)
        response = (
            web.Response(status=304, headers=sent)
            if fresh
            else web.Response(body=body, content_type=content_type, charset="utf-8", headers=sent)
        )
        response.etag = etag
        return response

    return serve
