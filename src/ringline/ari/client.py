"""The client: a socket for events, a few for requests, and what a program sees of them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

import structlog

from .codec import Query, quote
from .errors import AriError, RequestTimeout
from .events import Event, Events, Handler, Subscription
from .lanes import Lanes
from .link import Link
from .pending import Convert, Request, Settlement
from .rest import Rest
from .state import ALWAYS, RINGLINE_EVENTS, State
from .stats import Observer, Stats
from .transport import Transport

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.5
PROBE_SECONDS = 3.0
"""How long Asterisk may take for its first answer over the WebSocket before it counts as one that cannot."""
SOCKETS_SECONDS = 3.0
"""How long the request sockets may take after the events socket, before ``connected`` is said without them.
"""
CLOSE_SECONDS = 2.0
DOWNLOAD_BYTES = 100 * 1024 * 1024


class Client:
    """Asterisk's REST Interface for asyncio.

    ``url`` is Asterisk's HTTP address (``http://127.0.0.1:8088``), ``application`` the name by which the
    dialplan's ``Stasis()`` finds this program. ``request_sockets`` further WebSockets (applications
    ``<application>-req-1..``) carry the requests, because Asterisk serves those of one socket one after
    another; 0 uses the events' own. ``allowed_events`` are the types of event that Asterisk shall send,
    None for all. ``request_timeout`` is in seconds. ``queue_size`` bounds the events that wait for
    coroutine handlers of one channel.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        application: str,
        *,
        request_sockets: int = 4,
        allowed_events: Iterable[str] | None = RINGLINE_EVENTS,
        request_timeout: float = 10.0,
        queue_size: int = 1000,
        describe: bool = True,
        observer: Observer | None = None,
    ) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is no address of Asterisk's HTTP server: http://host:port is expected")
        path = parts.path.rstrip("/").removesuffix("/ari")
        self._base = f"{parts.scheme}://{parts.netloc}{path}/ari"
        self._authorization = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        self.application = application
        self._request_sockets = request_sockets
        self._allowed = None if allowed_events is None else sorted({*allowed_events, *ALWAYS})
        self._request_timeout = request_timeout
        self._describe = describe
        self._observer = observer
        self.stats = Stats()
        self._events = Events(self.stats, observer, queue_size)
        self._state_handlers: list[Callable[[State, str], Any]] = []
        self._state_lane = Lanes(1000, self._handler_failed)
        self._transport: Transport | None = None
        self._rest = Rest(self._base, self._authorization)
        self._settlement = Settlement(self.stats, observer)
        self._main: Link | None = None
        self._connected = asyncio.Event()
        self._was_connected = False
        self._announcing: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._last_tick = 0.0
        self._closed = False

    # -- life --------------------------------------------------------------------------------------

    async def start(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - 0 means: do not wait
        """Connect, and keep connected until ``close()``.

        Returns when events flow: after at most ``timeout`` seconds (None: however long it takes; 0: at
        once, without waiting). Raises ``RequestTimeout`` when Asterisk was not reached in time (the client
        goes on trying) and ``Unauthorized`` when it refuses the password.
        """
        if self._main is not None:
            raise RuntimeError("the client was started already")
        self._transport = Transport(self._settlement, self._rest, self._request_timeout)
        self._main = self._transport.main = self._link(self.application, self._prepare_main)
        self._main.start()
        loop = asyncio.get_running_loop()
        self._last_tick = loop.time()
        self._ticker = loop.call_later(TICK_SECONDS, self._tick)
        if timeout == 0:
            return
        connected = asyncio.ensure_future(self._connected.wait())
        either: set[asyncio.Future[Any]] = {connected, self._main.refused}
        try:
            await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connected.cancel()
        if self._connected.is_set():
            return
        if self._main.refused.done():
            raise self._main.refused.result()
        raise RequestTimeout(f"no ARI at {self._base} within {timeout} s")

    async def close(self) -> None:
        """Close all sockets and end all tasks. Requests in flight fail; handlers that run get 2 s to end."""
        if self._closed:
            return
        self._closed = True
        if self._ticker is not None:
            self._ticker.cancel()
        if self._announcing is not None:
            self._announcing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._announcing
        if self._transport is not None:
            await asyncio.gather(*(link.close() for link in self._transport.links))
            if self._main is not None:
                await self._main.close()
            await self._transport.close()
        await self._events.lanes.close(CLOSE_SECONDS)
        await self._state_lane.close(CLOSE_SECONDS)
        await self._rest.close()
        self._connected.clear()

    async def __aenter__(self) -> Client:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        """Whether events flow now."""
        return self._connected.is_set()

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answer."""
        return self._transport.in_flight if self._transport else 0

    @property
    def queued(self) -> int:
        """Events that wait for coroutine handlers."""
        return self._events.lanes.waiting

    # -- requests ----------------------------------------------------------------------------------

    def send(
        self,
        method: str,
        uri: str,
        *,
        query: Query | None = None,
        body: Any = None,
        key: str = "",
        timeout: float | None = None,
        convert: Convert | None = None,
    ) -> asyncio.Future[Any]:
        """Send a request now and return the future of its answer: decoded JSON, or None for 204.

        ``uri`` has no leading slash and its parts are quoted (``channels/1.2/play``). Requests with one
        ``key`` are served in the order of these calls, without waiting for each other's answers; without a
        key the object in the URI is the key. ``convert`` turns the decoded answer into the result. The
        future fails with an ``AriError``; nobody is obliged to look at it.
        """
        if self._transport is None:
            raise RuntimeError("start() the client first")
        return self._transport.send(
            method, uri, query=query, body=body, key=key, timeout=timeout, convert=convert
        )

    async def request(
        self,
        method: str,
        uri: str,
        *,
        query: Query | None = None,
        body: Any = None,
        key: str = "",
        timeout: float | None = None,  # noqa: ASYNC109 - travels with the request
    ) -> Any:
        """``send()``, awaited. Cancelling it does not take the request back."""
        return await self.send(method, uri, query=query, body=body, key=key, timeout=timeout)

    def tell(
        self,
        method: str,
        uri: str,
        *,
        query: Query | None = None,
        body: Any = None,
        key: str = "",
        ignore: Iterable[int] = (404,),
    ) -> None:
        """Send and forget. A failure is logged as a warning, unless its status is in ``ignore``."""
        allowed = frozenset(ignore)

        def report(future: asyncio.Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if isinstance(error, AriError) and error.status not in allowed:
                log.warning(
                    "ari_request_failed", method=method, uri=uri, status=error.status, error=error.message
                )

        self.send(method, uri, query=query, body=body, key=key).add_done_callback(report)

    async def download(
        self,
        uri: str,
        *,
        max_bytes: int = DOWNLOAD_BYTES,
        timeout: float = 60.0,  # noqa: ASYNC109
    ) -> bytes:
        """A binary answer (``recordings/stored/NAME/file``), which Asterisk gives by HTTP only."""
        return await self._rest.download(uri, max_bytes, timeout)

    # -- events ------------------------------------------------------------------------------------

    def on_event(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(event)`` for events of this type, ``"*"`` for all.

        A plain function is called inline, in the order of the socket, and must not block; a coroutine
        function is queued per channel.
        """
        return self._events.on(event_type, handler)

    def on_state(self, handler: Callable[[State, str], Any]) -> Subscription:
        """``handler(state, detail)`` for each change of the connection; coroutine functions run one after
        another."""
        self._state_handlers.append(handler)
        return Subscription(lambda: self._state_handlers.remove(handler))

    def _notify(self, state: State, detail: str) -> None:
        for handler in tuple(self._state_handlers):
            try:
                result = handler(state, detail)
            except Exception:
                self._handler_failed()
                log.exception("ari_state_handler_failed", state=state)
                continue
            if inspect.iscoroutine(result):
                self._state_lane.put("state", _identity, result)

    def _handler_failed(self) -> None:
        self.stats.handlers_failed += 1

    # -- sockets -----------------------------------------------------------------------------------

    def _link(self, application: str, prepare: Callable[[Link], Any], *, patient: bool = False) -> Link:
        query = urlencode({"app": application, "subscribeAll": "false"})
        return Link(
            f"ws{self._base.removeprefix('http')}/events?{query}",
            application,
            self._authorization,
            self._settlement,
            prepare=prepare,
            on_event=self._event,
            on_up=self._up,
            on_down=self._down,
            patient=patient,
        )

    async def _prepare_main(self, link: Link) -> None:
        await self._filter(link.application)
        assert self._transport is not None  # noqa: S101 - a link is made after it
        self._transport.http_only = not await self._serves_rest(link)
        if self._transport.http_only:
            log.warning(
                "ari_over_http", hint="this Asterisk serves no REST over WebSocket: requests go by HTTP"
            )

    async def _prepare_request_link(self, link: Link) -> None:
        """Applications of request sockets get no events: nothing is subscribed to them."""

    async def _filter(self, application: str) -> None:
        """Ask for the wanted events only; by HTTP, as a filter left behind may hide the answer here."""
        allowed = [] if self._allowed is None else [{"type": name} for name in self._allowed]
        uri = f"applications/{quote(application)}/eventFilter"
        body = {"allowed": allowed, "disallowed": []}
        try:
            status, answer = await self._rest.call("PUT", uri, body, self._request_timeout)
        except AriError as error:
            log.warning("ari_event_filter_failed", application=application, error=str(error))
            return
        if status >= 400:
            log.warning("ari_event_filter_failed", application=application, status=status, error=answer)

    async def _serves_rest(self, link: Link) -> bool:
        """Whether this Asterisk answers requests over the WebSocket (20.14, 21.9, 22.4 and later do)."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        now = asyncio.get_running_loop().time()
        link.send(Request("GET", "asterisk/ping", future, started=now, timeout=PROBE_SECONDS), None)
        await asyncio.wait({future}, timeout=PROBE_SECONDS)
        if future.done() and not isinstance(error := future.exception(), RequestTimeout):
            if error is None or (isinstance(error, AriError) and error.status):
                return True
            raise error
        # No answer: an Asterisk that cannot, or one that is stuck. Only the former answers a ping.
        if not await link.alive(PROBE_SECONDS):
            link.drop("Asterisk neither answers a request nor a ping")
        return False

    def _up(self, link: Link) -> None:
        if link is not self._main:
            if self._was_connected:
                self.stats.reconnects += 1
                if self._observer is not None:
                    self._observer.reconnected(link.application)
            return
        assert self._transport is not None  # noqa: S101 - a link is made after it
        if not self._transport.http_only and not self._transport.links:
            for number in range(1, self._request_sockets + 1):
                name = f"{self.application}-req-{number}"
                request_link = self._link(name, self._prepare_request_link, patient=True)
                self._transport.links.append(request_link)
                request_link.start()
        self._announcing = asyncio.create_task(self._announce(), name="ari-announce")

    async def _announce(self) -> None:
        """Say ``connected`` once the request sockets are there too, or have had their time."""
        assert self._transport is not None  # noqa: S101
        waits = [] if self._transport.http_only else [link.up.wait() for link in self._transport.links]
        try:
            async with asyncio.timeout(SOCKETS_SECONDS):
                await asyncio.gather(*waits)
        except TimeoutError:
            log.warning("ari_request_sockets_missing", application=self.application)
        again, self._was_connected = self._was_connected, True
        self._connected.set()
        log.info("ari_connected", application=self.application, url=self._base, again=again)
        self._notify(State.CONNECTED, self._base)
        if again:
            self.stats.reconnects += 1
            if self._observer is not None:
                self._observer.reconnected(self.application)
            self._notify(State.GAP, "events may have been missed")

    def _down(self, link: Link, reason: str) -> None:
        if self._closed:
            return
        log.warning("ari_connection_lost", application=link.application, reason=reason)
        if link is not self._main:
            return
        if self._announcing is not None:
            self._announcing.cancel()
        if "silent" in reason and self._transport is not None:
            for request_link in self._transport.links:
                request_link.drop(reason)
        if self._connected.is_set():
            self._connected.clear()
            self._notify(State.LOST, reason)

    def _event(self, event: Event) -> None:
        if event.get("type") == "ApplicationReplaced":
            self._notify(State.REPLACED, str(event.get("application", "")))
        self._events.dispatch(event)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = now - self._last_tick > 2 * TICK_SECONDS + 0.5
        self._last_tick = now
        self._ticker = loop.call_later(TICK_SECONDS, self._tick)
        self._events.tick(now)
        if late or self._transport is None or self._main is None:
            # We ourselves were held up: what Asterisk said meanwhile may lie unread. Judge next time.
            return
        for link in (self._main, *self._transport.links):
            link.tick(now)


async def _identity(result: Any) -> None:
    await result
