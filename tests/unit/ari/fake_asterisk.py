"""An Asterisk for tests: its HTTP server, its WebSockets for events, REST over them, and ways to misbehave.

The frames are those that Asterisk 22.10 sends (``docs`` and measurements), the behaviour is scripted by the
test: ``route()`` gives the answer of an operation, ``emit()`` sends an event.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import WSMsgType, web

Answer = tuple[int, Any]
Answerer = Callable[["Call"], Answer | Awaitable[Answer]]


@dataclass
class Call:
    """A request as Asterisk understood it. ``socket`` is the application it came over, ``""`` for HTTP."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    socket: str


@dataclass
class FakeAsterisk:
    """``async with FakeAsterisk() as asterisk`` listens on ``asterisk.url``."""

    username: str = "test"
    password: str = "secret"
    rest_over_websocket: bool = True
    requests: list[Call] = field(default_factory=list)
    filters: dict[str, Any] = field(default_factory=dict)
    descriptions: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    port: int = 0

    def __post_init__(self) -> None:
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.connections = 0
        self.silent = False
        self.deaf: set[web.WebSocketResponse] = set()
        self._routes: dict[tuple[str, str], Answerer] = {}
        self._runner: web.AppRunner | None = None
        self.arrived = asyncio.Event()
        self.route("GET", "asterisk/ping", lambda call: (200, {"ping": "pong"}))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> FakeAsterisk:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/ari/events", self._events)
        app.router.add_get("/ari/api-docs/{name}", self._describe)
        app.router.add_route("*", "/ari/{path:.*}", self._http)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """The process ends: every socket is cut."""
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def cut(self, application: str | None = None) -> None:
        """Reset the connections (of one application): no closing handshake."""
        for name, socket in list(self.sockets.items()):
            if application in {None, name}:
                transport = socket._req.transport if socket._req is not None else None
                if transport is not None:
                    transport.abort()

    def fall_silent(self) -> None:
        """Like a stopped process: what is connected stays so, and nothing is answered any more."""
        self.silent = True
        for socket in self.sockets.values():
            socket._autoping = False

    def take_applications(self) -> None:
        """Like a session that is buried late: present connections answer pings, but no requests any more."""
        self.deaf.update(self.sockets.values())

    def speak_again(self) -> None:
        """Serve new connections as before."""
        self.silent = False

    def route(self, method: str, path: str, answer: Answerer) -> None:
        """``answer`` serves requests for exactly this path."""
        self._routes[method, path] = answer

    async def emit(self, event: dict[str, Any], application: str = "app") -> None:
        """Send an event to an application, unless its filter holds it back."""
        allowed = [entry["type"] for entry in self.filters.get(application, {}).get("allowed", [])]
        if allowed and event["type"] not in allowed:
            return
        await self.sockets[application].send_str(json.dumps({"application": application, **event}))

    async def wait_for(self, *applications: str) -> None:
        """Until these applications are connected."""
        async with asyncio.timeout(30):
            while not set(applications) <= set(self.sockets):
                await asyncio.sleep(0.01)

    async def serve(self, call: Call) -> Answer:
        """The answer to ``call``, the same over both transports."""
        self.requests.append(call)
        if call.path.endswith("/eventFilter") and call.method == "PUT":
            name = call.path.split("/")[1]
            if name not in self.sockets:
                return 404, {"message": "Application not found"}
            self.filters[name] = call.body
            return 200, {"name": name}
        answerer = self._routes.get((call.method, call.path))
        if answerer is None:
            return 404, {"message": "Resource not found"}
        answer = answerer(call)
        return answer if isinstance(answer, tuple) else await answer

    # -- HTTP --------------------------------------------------------------------------------------

    def _authorized(self, request: web.Request) -> bool:
        expected = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return request.headers.get("Authorization") == f"Basic {expected}"

    async def _http(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return web.json_response({"message": "Authentication required"}, status=401)
        while self.silent:
            await asyncio.sleep(0.1)
        path = request.raw_path.removeprefix("/ari/").partition("?")[0]
        if path in self.files:
            return web.Response(body=self.files[path], content_type="audio/wav")
        text = await request.text()
        call = Call(request.method, path, dict(request.query), json.loads(text) if text else None, "")
        status, body = await self.serve(call)
        if body is None:
            return web.Response(status=status)
        return web.json_response(body, status=status)

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return web.Response(status=401)
        description = self.descriptions.get(request.match_info["name"])
        if description is None:
            return web.json_response({"message": "Not found"}, status=404)
        return web.json_response(description)

    # -- WebSocket ---------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return web.json_response({"message": "Authentication required"}, status=401)
        name = request.query["app"]
        socket = web.WebSocketResponse(protocols=("ari",), autoping=not self.silent, compress=False)
        await socket.prepare(request)
        self.connections += 1
        previous = self.sockets.get(name)
        if previous is not None and not previous.closed:
            await previous.send_str(json.dumps({"type": "ApplicationReplaced", "application": name}))
        self.sockets[name] = socket
        self.arrived.set()
        try:
            async for message in socket:
                heard = not self.silent and socket not in self.deaf
                if message.type is WSMsgType.TEXT and heard and self.rest_over_websocket:
                    await self._rest(socket, name, message.data)
        finally:
            if self.sockets.get(name) is socket:
                del self.sockets[name]
        return socket

    async def _rest(self, socket: web.WebSocketResponse, name: str, text: str) -> None:
        """One request after another per socket, as Asterisk does it."""
        frame = json.loads(text)
        split = urlsplit(frame["uri"])
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        body = json.loads(frame["message_body"]) if "message_body" in frame else None
        status, answer = await self.serve(Call(frame["method"], split.path, query, body, name))
        response = {
            "type": "RESTResponse",
            "transaction_id": "",
            "request_id": frame.get("request_id", ""),
            "status_code": status,
            "reason_phrase": "OK" if status < 400 else "Error",
            "uri": split.path,
            "application": name,
        }
        if answer is not None:
            response |= {"content_type": "application/json", "message_body": json.dumps(answer)}
        allowed = [entry["type"] for entry in self.filters.get(name, {}).get("allowed", [])]
        if not allowed or "RESTResponse" in allowed:
            await socket.send_str(json.dumps(response))
