"""What operators and supervisors ask: is it alive, is it ready, what does it count."""

from __future__ import annotations

import time

import orjson
from aiohttp import web

from ringline import __version__, metrics
from ringline.http.endpoint import JSON
from ringline.http.readiness import Readiness


def operation_routes(readiness: Readiness) -> list[web.RouteDef]:
    """``/healthz`` (the process is alive), ``/readyz`` (so is each part it needs), ``/metrics``."""
    started = time.monotonic()

    async def healthz(_: web.Request) -> web.Response:
        body = {"status": "ok", "version": __version__, "uptime_seconds": round(time.monotonic() - started)}
        return web.Response(body=orjson.dumps(body), content_type=JSON)

    async def readyz(_: web.Request) -> web.Response:
        report = await readiness.report()
        body = {
            "status": "ready" if report.ready else "not_ready",
            "parts": {
                name: {"ok": part.ok, "detail": part.detail, "milliseconds": part.milliseconds}
                for name, part in report.parts.items()
            },
        }
        return web.Response(body=orjson.dumps(body), status=200 if report.ready else 503, content_type=JSON)

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})

    return [
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/metrics", show_metrics),
    ]
