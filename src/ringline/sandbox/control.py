"""The carrier's control interface over HTTP on loopback: health, calls from it, and the API of ``vendor``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import structlog
from aiohttp import web
from pydantic import ValidationError

from ringline.sandbox.carrier import Carrier
from ringline.sandbox.dial import DialRequest
from ringline.sandbox.vendor import VendorApi

log = structlog.get_logger(__name__)

MAX_BODY = 64 * 1024


class Control:
    """``GET /healthz``; ``POST /dial``, which answers with a JSON line per step of the call; the vendor's routes."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._vendor = VendorApi(carrier.settings)
        self._runner: web.AppRunner | None = None
        self._dials: set[asyncio.Task[Any]] = set()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/healthz", self._health)
        app.router.add_post("/dial", self._dial)
        app.router.add_routes(self._vendor.routes())
        return app

    async def start(self) -> None:
        """Listen; ``OSError`` where the port is taken or the vendor's state cannot be kept."""
        settings = self._carrier.settings
        await self._vendor.start()
        self._runner = web.AppRunner(
            self.application(),
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=2,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, str(settings.control_host), settings.control_port).start()

    async def close(self) -> None:
        """End running dials and stop listening."""
        for task in list(self._dials):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._vendor.close()

    async def _health(self, _: web.Request) -> web.Response:
        carrier = self._carrier
        sip = await carrier.agent.answers()
        return web.json_response(
            {
                "status": "ok" if sip else "the SIP socket does not answer",
                "calls": carrier.calls,
                "dials": len(self._dials),
                "rtp_ports_used": carrier.ports.used,
                "rtp_ports_total": carrier.ports.total,
                "lines_written": carrier.journal.lines,
                "lines_failed": carrier.journal.failures,
                "datagrams_refused": carrier.agent.counters.refused_source,
                "messages_malformed": carrier.agent.counters.malformed,
            },
            status=200 if sip else 503,
        )

    async def _dial(self, request: web.Request) -> web.StreamResponse:
        # A web page can post text to loopback without asking; it cannot post this type.
        if request.content_type != "application/json":
            return _error(415, "send the body as application/json")
        try:
            wanted = DialRequest.model_validate_json(await request.read())
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
            return _error(400, "; ".join(faults)[:1000])
        if len(self._dials) >= self._carrier.settings.max_dials:
            return _error(429, f"at most {self._carrier.settings.max_dials} calls at once")
        task = asyncio.current_task()
        if task is not None:
            self._dials.add(task)
            task.add_done_callback(self._dials.discard)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        events = self._carrier.dial(wanted).events()
        try:
            async for event in events:
                await response.write(json.dumps(event).encode() + b"\n")
        finally:
            await events.aclose()  # type: ignore[attr-defined]  # an async generator
        await response.write_eof()
        return response


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
