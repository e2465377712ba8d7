"""The page ``/phone``: a telephone in the browser, SIP over WebSocket (RFC 7118) to Kamailio.

JsSIP, which speaks SIP for the page, is no part of this package: the image's build brings it along, and a process
elsewhere serves the page without it, which then says so.
"""

from __future__ import annotations

import re
from typing import Final

import orjson
from aiohttp import web

from ringline.http import static
from ringline.http.endpoint import JSON
from ringline.settings import Settings

LIBRARY: Final = "jssip.js"
LICENCES: Final = "licences.txt"
# The first customer's label and telephone, which every installation begins with.
LABEL: Final = "test"
EXTENSION: Final = "test11"

# A host as it may stand in a source of a Content-Security-Policy: the client says it, so nothing else passes.
_HOST: Final = re.compile(r"([0-9A-Za-z.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")


def phone_routes(settings: Settings) -> list[web.RouteDef]:
    """Routes that serve the page, its settings and the library. The files are read once."""

    def headers(request: web.Request) -> dict[str, str]:
        servers = " ".join(_servers(request, settings).values())
        return {
            "Content-Security-Policy": (
                f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {servers}; "
                "media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
            "Cache-Control": "no-cache",
        }

    document = (static.PAGES / "phone.html").read_bytes()

    async def page(request: web.Request) -> web.Response:
        return web.Response(
            body=document, content_type="text/html", charset="utf-8", headers=headers(request)
        )

    async def describe(request: web.Request) -> web.Response:
        body = {
            "servers": _servers(request, settings),
            "domain": f"{LABEL}.{settings.sip_domain}",
            "user": EXTENSION,
        }
        return web.Response(body=orjson.dumps(body), content_type=JSON, headers={"Cache-Control": "no-cache"})

    async def absent(_: web.Request) -> web.Response:
        return web.Response(
            status=404,
            text="JsSIP is not here: it comes with the image that 'make up' builds.\n",
            headers={"Cache-Control": "no-cache"},
        )

    def brought(name: str) -> static.Handler:
        path = settings.phone_library_dir / name
        return static.file(path, {}) if path.is_file() else absent

    return [
        web.get("/phone", page),
        web.get("/phone/phone.css", static.file(static.PAGES / "phone.css", {})),
        web.get("/phone/phone.js", static.file(static.PAGES / "phone.js", {})),
        web.get("/phone/settings.json", describe),
        web.get(f"/phone/{LIBRARY}", brought(LIBRARY)),
        web.get(f"/phone/{LICENCES}", brought(LICENCES)),
    ]


def _servers(request: web.Request, settings: Settings) -> dict[str, str]:
    """The WebSocket addresses that the page may use, by scheme: one that was set, else Kamailio's two ports on the
    host that the page itself came from."""
    if settings.websocket_url:
        return {settings.websocket_url.partition(":")[0]: settings.websocket_url}
    match = _HOST.fullmatch(request.host)
    host = match.group(1) if match else "127.0.0.1"
    return {
        "wss": f"wss://{host}:{settings.kamailio_wss_port}",
        "ws": f"ws://{host}:{settings.kamailio_ws_port}",
    }
