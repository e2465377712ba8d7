"""The client's WebSockets together: one for events, a few for requests, and the state they amount to."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import structlog

from .codec import quote
from .errors import AriError, RequestTimeout
from .events import Event, Subscription
from .lanes import Lanes
from .link import Link
from .pending import Request, Settlement
from .rest import Rest
from .state import State
from .transport import Transport

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.5
PROBE_SECONDS = 3.0
"""How long Asterisk may take for its first answer over the WebSocket before it counts as one that cannot."""
SOCKETS_SECONDS = 3.0
"""How long request sockets may take after that of the events, before ``connected`` is said without them."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where Asterisk is and who we are there. ``base`` ends with ``/ari``; ``allowed`` None is every event."""

    base: str
    authorization: str
    application: str
    request_sockets: int
    allowed: Sequence[str] | None


class Sockets:
    """Keeps ``transport`` supplied with links, watches them, and tells ``on_state`` handlers what happened.

    ``on_ready`` runs after each connect, before ``connected`` is said; ``on_tick`` twice a second.
    """

    def __init__(
        self,
        address: Address,
        transport: Transport,
        rest: Rest,
        settlement: Settlement,
        *,
        on_event: Callable[[Event], None],
        on_ready: Callable[[], Awaitable[None]],
        on_tick: Callable[[float], None],
    ) -> None:
        self._address = address
        self._transport = transport
        self._rest = rest
        self._settlement = settlement
        self._on_event = on_event
        self._on_ready = on_ready
        self._on_tick = on_tick
        self._loop = asyncio.get_running_loop()
        self._handlers: list[Callable[[State, str], Any]] = []
        self._lane = Lanes(1000, self._handler_failed)
        self._main = transport.main = self._link(address.application, self._prepare)
        self._announcing: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._last_tick = 0.0
        self._was_connected = False
        self._closed = False
        self.connected = asyncio.Event()

    def start(self) -> None:
        self._main.start()
        self._last_tick = self._loop.time()
        self._ticker = self._loop.call_later(TICK_SECONDS, self._tick)

    async def wait(self, timeout: float | None) -> None:  # noqa: ASYNC109 - the end of it is an error of ours
        """Until connected. Raises ``RequestTimeout``, or ``Unauthorized`` as soon as Asterisk refuses us."""
        connected = asyncio.ensure_future(self.connected.wait())
        either: set[asyncio.Future[Any]] = {connected, self._main.refused}
        try:
            await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connected.cancel()
        if self.connected.is_set():
            return
        if self._main.refused.done():
            raise self._main.refused.result()
        raise RequestTimeout(f"no ARI at {self._address.base} within {timeout} s")

    async def close(self, grace: float) -> None:
        """Close every socket; coroutine handlers of states get ``grace`` seconds to end."""
        self._closed = True
        self.connected.clear()
        if self._ticker is not None:
            self._ticker.cancel()
        if self._announcing is not None:
            self._announcing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._announcing
        await asyncio.gather(*(link.close() for link in (*self._transport.links, self._main)))
        await self._lane.close(grace)

    # -- states -----------------------------------------------------------------------------------------------

    def on_state(self, handler: Callable[[State, str], Any]) -> Subscription:
        self._handlers.append(handler)
        return Subscription(lambda: self._handlers.remove(handler))

    def _notify(self, state: State, detail: str) -> None:
        for handler in tuple(self._handlers):
            try:
                result = handler(state, detail)
            except Exception:
                self._handler_failed()
                log.exception("ari_state_handler_failed", state=state)
                continue
            if inspect.iscoroutine(result):
                self._lane.put("state", _await, result)

    def _handler_failed(self) -> None:
        self._settlement.stats.handlers_failed += 1

    # -- links ------------------------------------------------------------------------------------------------

    def _link(
        self, application: str, prepare: Callable[[Link], Awaitable[None]], *, patient: bool = False
    ) -> Link:
        query = urlencode({"app": application, "subscribeAll": "false"})
        return Link(
            f"ws{self._address.base.removeprefix('http')}/events?{query}",
            application,
            self._address.authorization,
            self._settlement,
            prepare=prepare,
            on_event=self._event,
            on_up=self._up,
            on_down=self._down,
            patient=patient,
        )

    async def _prepare(self, link: Link) -> None:
        await self._filter()
        link.serves_requests = await self._serves_rest(link)
        self._transport.http_only = not link.serves_requests
        if self._transport.http_only:
            log.warning(
                "ari_over_http", hint="this Asterisk serves no REST over WebSocket: requests go by HTTP"
            )

    async def _filter(self) -> None:
        """Ask for the wanted events only; by HTTP, as a filter left behind may hide the answer here."""
        allowed = self._address.allowed or ()
        uri = f"applications/{quote(self._address.application)}/eventFilter"
        body = {"allowed": [{"type": name} for name in allowed], "disallowed": []}
        try:
            status, answer = await self._rest.call("PUT", uri, body, PROBE_SECONDS)
        except AriError as error:
            status, answer = error.status, error.message
        if not 200 <= status < 300:
            log.warning("ari_event_filter_failed", uri=uri, status=status, error=answer)

    async def _serves_rest(self, link: Link) -> bool:
        """Whether this Asterisk answers requests over the WebSocket (20.14, 21.9, 22.4 and later do)."""
        future: asyncio.Future[Any] = self._loop.create_future()
        now = self._loop.time()
        link.send(Request("GET", "asterisk/ping", future, started=now, timeout=PROBE_SECONDS), None)
        await asyncio.wait({future}, timeout=PROBE_SECONDS)
        if future.done():
            error = future.exception()
            if error is None or (isinstance(error, AriError) and error.status):
                return True
            if not isinstance(error, RequestTimeout):
                raise error
        # No answer: an Asterisk that cannot, or one that is stuck. Only the former answers a ping.
        if not await link.alive(PROBE_SECONDS):
            link.drop("Asterisk answers neither a request nor a ping")
        return False

    async def _no_preparation(self, link: Link) -> None:
        """Applications of request sockets get no events, as nothing is subscribed to them."""

    def _up(self, link: Link) -> None:
        if link is not self._main:
            return
        if not self._transport.http_only and not self._transport.links:
            for number in range(1, self._address.request_sockets + 1):
                name = f"{self._address.application}-req-{number}"
                request_link = self._link(name, self._no_preparation, patient=True)
                self._transport.links.append(request_link)
                request_link.start()
        self._announcing = asyncio.create_task(self._announce(), name="ari-announce")

    async def _announce(self) -> None:
        """Say ``connected`` once the request sockets are there too, or have had their time."""
        waits = [] if self._transport.http_only else [link.up.wait() for link in self._transport.links]
        try:
            async with asyncio.timeout(SOCKETS_SECONDS):
                await asyncio.gather(*waits)
        except TimeoutError:
            log.warning("ari_request_sockets_missing", application=self._address.application)
        await self._on_ready()
        again, self._was_connected = self._was_connected, True
        self.connected.set()
        log.info("ari_connected", application=self._address.application, url=self._address.base, again=again)
        self._notify(State.CONNECTED, self._address.base)
        if again:
            self._settlement.stats.reconnects += 1
            self._settlement.observer.reconnected(self._address.application)
            self._notify(State.GAP, "events may have been missed")

    def _down(self, link: Link, reason: str) -> None:
        if self._closed:
            return
        log.warning("ari_connection_lost", application=link.application, reason=reason)
        if link is not self._main:
            return
        if self._announcing is not None:
            self._announcing.cancel()
        if link.was_silent:
            for request_link in self._transport.links:
                request_link.drop(reason)
        if self.connected.is_set():
            self.connected.clear()
            self._notify(State.LOST, reason)

    def _event(self, event: Event) -> None:
        if event.get("type") == "ApplicationReplaced":
            self._notify(State.REPLACED, str(event.get("application", "")))
        self._on_event(event)

    def _tick(self) -> None:
        now = self._loop.time()
        held_up = now - self._last_tick > 2 * TICK_SECONDS + 0.5
        self._last_tick = now
        self._ticker = self._loop.call_later(TICK_SECONDS, self._tick)
        self._on_tick(now)
        if held_up:
            # We ourselves stood still: what Asterisk said meanwhile may lie unread. Judge next time.
            return
        for link in (self._main, *self._transport.links):
            link.tick(now)


async def _await(result: Any) -> None:
    await result
