"""One of the client's sockets, kept up for ever: connects, watches that the other side lives, reconnects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from .backoff import Backoff
from .codec import loads
from .connection import Connection
from .errors import AriError, ConnectionLost, RequestTimeout, Unauthorized
from .pending import PendingRequests, Request, Settlement

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT = 5.0
PING_AFTER = 3.0
"""Seconds without a byte from Asterisk before it is asked for a sign of life."""
PING_TIMEOUT = 4.0
"""Seconds it has to give one. With PING_AFTER and the tick: a stopped Asterisk is noticed in under 8 s."""
BUSY_TIMEOUT = 15.0
"""The same for a socket that Asterisk may be busy serving a request of: it answers pings only in between."""
PROBE_AFTER = 3.0
"""Seconds without an answer to a request before one is sent to see whether requests are served at all. Asterisk
hands answers out through the application, and a session that it buries late (one that we gave up while it stood
still, say) takes the application away from the connection that followed: pings go on, events and answers do not."""
SETTLE_SECONDS = 0.5
"""How long Asterisk gets to bury the connection that we gave up, before its successor is asked to serve."""
CONFIRM_TIMEOUT = 2.0
"""Seconds that the successor has for its answer."""
SETTLED_AFTER = 5.0
"""A connection that lasted this many seconds was a good one: the next reconnect starts without waiting
long."""

Prepare = Callable[["Link"], Awaitable[None]]
OnEvent = Callable[[dict[str, Any]], None]


class Link:
    """A socket of one application name.

    ``prepare`` runs after each handshake, before the link counts as up. ``on_event`` gets every message
    that is not an answer. ``on_down`` is told the reason when a link that was up is gone.
    """

    def __init__(
        self,
        url: str,
        application: str,
        authorization: str,
        settlement: Settlement,
        *,
        prepare: Prepare,
        on_event: OnEvent,
        on_up: Callable[[Link], None],
        on_down: Callable[[Link, str], None],
        patient: bool = False,
    ) -> None:
        self.application = application
        self._url = url
        self._authorization = authorization
        self._settlement = settlement
        self._prepare = prepare
        self._on_event = on_event
        self._on_up = on_up
        self._on_down = on_down
        self._patient = patient
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff()
        self._replaced_backoff = Backoff(5.0, 60.0)
        self._connection: Connection | None = None
        self._pending = PendingRequests(settlement)
        self._ended: asyncio.Future[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._replaced = False
        self._doubtful = False
        self._answered = 0.0
        self._probe: asyncio.Future[Any] | None = None
        self.serves_requests = True
        """Whether this Asterisk serves requests over WebSockets."""
        self.was_silent = False
        """Whether the last connection ended because the other side said nothing any more."""
        self.up = asyncio.Event()
        self.refused: asyncio.Future[AriError] = self._loop.create_future()
        """Holds the error when Asterisk refused the credentials: trying again will not help."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"ari-link-{self.application}")

    async def close(self) -> None:
        """Close the socket and end the task."""
        task, self._task = self._task, None
        if self._connection is not None:
            self._connection.close("the client was closed")
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._pending.fail_all("the client was closed")

    def drop(self, reason: str) -> None:
        """Abort the connection; the link reconnects by itself."""
        self._doubtful = True
        if self._connection is not None:
            self._connection.abort(reason)

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    @property
    def is_up(self) -> bool:
        return self.up.is_set()

    # -- requests ----------------------------------------------------------------------------------

    def send(self, request: Request, body: Any) -> None:
        """Send ``request`` now. Raises ``ConnectionLost`` or ``Overloaded`` without having sent anything."""
        connection = self._connection
        if connection is None or not connection.is_open:
            raise ConnectionLost("not connected to Asterisk", method=request.method, uri=request.uri)
        connection.send(self._pending.frame(request, body))

    # -- watching ----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Called a few times a second: deadlines and signs of life."""
        self._pending.expire(now)
        connection = self._connection
        if connection is None or not connection.is_open:
            return
        if self.is_up and now - self._answered >= PROBE_AFTER:
            self._ask(now, self._patience)
        if connection.ping_sent is None:
            if now - connection.last_received >= PING_AFTER:
                connection.ping()
            return
        if now - connection.ping_sent >= self._patience:
            self.was_silent = True
            self.drop(f"Asterisk has been silent for {now - connection.last_received:.1f} s")

    @property
    def _patience(self) -> float:
        return BUSY_TIMEOUT if self._patient and self._pending else PING_TIMEOUT

    def _ask(self, now: float, timeout: float) -> None:
        """See whether requests are served; a link that serves none is of no use however alive it is."""
        if self._probe is not None or not self.serves_requests:
            return
        probe: asyncio.Future[Any] = self._loop.create_future()
        with contextlib.suppress(AriError):
            self.send(Request("GET", "asterisk/ping", probe, started=now, timeout=timeout), None)
            self._probe = probe
            probe.add_done_callback(self._asked)

    def _asked(self, probe: asyncio.Future[Any]) -> None:
        self._probe = None
        if not probe.cancelled() and isinstance(probe.exception(), RequestTimeout):
            self.drop("Asterisk answers pings but no requests: the application was taken from the connection")

    async def _confirm(self) -> None:
        """After a connection that we gave up ourselves: see that its end does not take this one along."""
        if not self._doubtful:
            return
        await asyncio.sleep(SETTLE_SECONDS)
        if self.serves_requests:
            self._ask(self._loop.time(), CONFIRM_TIMEOUT)
            if self._probe is not None:
                await asyncio.wait({self._probe})
        self._doubtful = self._connection is None or not self._connection.is_open

    async def alive(self, timeout: float) -> bool:  # noqa: ASYNC109 - polls, does not wait for one thing
        """Whether a ping is answered within ``timeout`` seconds."""
        connection = self._connection
        if connection is None:
            return False
        connection.ping()
        for _ in range(max(1, int(timeout / 0.05))):
            if connection.ping_sent is None:
                return True
            await asyncio.sleep(0.05)
        return False

    # -- the task ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            started = self._loop.time()
            reason = await self._session()
            if self._loop.time() - started > SETTLED_AFTER:
                self._backoff.reset()
            if self._replaced:
                self._replaced = False
                delay = self._replaced_backoff.next()
            else:
                delay = self._backoff.next()
            log.info("ari_reconnecting", application=self.application, reason=reason, seconds=round(delay, 2))
            await asyncio.sleep(delay)

    async def _session(self) -> str:
        """One connection from its beginning to its end; returns why it ended."""
        ended: asyncio.Future[str] = self._loop.create_future()
        self._ended = ended
        self.was_silent = False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                self._connection = await Connection.open(
                    self._url, self._authorization, self._message, self._lost
                )
            self._answered = self._loop.time()
            await self._until(self._prepare(self), ended)
            await self._until(self._confirm(), ended)
            self.up.set()
            self._on_up(self)
            return await ended
        except Unauthorized as error:
            log.error("ari_refused", application=self.application, error=str(error))
            if not self.refused.done():
                self.refused.set_result(error)
            return str(error)
        except AriError as error:
            return str(error)
        except TimeoutError:
            self._doubtful = True
            return f"no WebSocket handshake within {CONNECT_TIMEOUT} s"
        except Exception as error:
            # Whatever it is: the next connection may do, and without this task there would be none.
            log.exception("ari_session_failed", application=self.application)
            return repr(error)
        finally:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close("the session ended")

    async def _until(self, work: Awaitable[None], ended: asyncio.Future[str]) -> None:
        """``work``, given up as soon as the connection ends."""
        task = asyncio.ensure_future(work)
        either: set[asyncio.Future[Any]] = {task, ended}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            if ended.done():
                raise ConnectionLost(ended.result())
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, AriError):
                    await task

    # -- called by the connection ------------------------------------------------------------------

    def _message(self, data: bytes) -> None:
        message = loads(data)
        kind = message.get("type")
        if kind == "RESTResponse":
            self._answered = self._loop.time()
            if not self._pending.answer(message):
                log.debug("ari_late_answer", uri=message.get("uri"), status=message.get("status_code"))
            return
        if kind == "ApplicationReplaced" and message.get("application", self.application) == self.application:
            self._replaced = True
            self._settlement.stats.replaced += 1
            log.error(
                "ari_application_replaced",
                application=self.application,
                hint="another program connected to Asterisk with this application name; two of them take "
                "the events away from each other",
            )
        self._on_event(message)
        if self._replaced and self._connection is not None:
            # Asterisk leaves the old socket open, without events: closing it is our part.
            self._connection.close("the application was taken over by another connection")

    def _lost(self, reason: str) -> None:
        was_up = self.up.is_set()
        self.up.clear()
        self._pending.fail_all(reason)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)
        if was_up:
            self._on_down(self, reason)
