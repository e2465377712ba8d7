"""All WebSockets of this process: how many there may be, whose they are, and when they end.

How many one customer has counts over all processes, as far as they have told (``cluster.census``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

import structlog
from aiohttp import web

from ringline.errors import ResourceExhausted, Unavailable
from ringline.events import reader
from ringline.events.models import Published
from ringline.events.sockets import frames, metrics, reading
from ringline.events.sockets.feed import Feed
from ringline.events.sockets.socket import GOING_AWAY, Bounds, Socket
from ringline.http import Principal
from ringline.storage import Database

log = structlog.get_logger(__name__)

MAX_SOCKETS: Final = 10_000
_PASTS_AT_ONCE: Final = 4
"""Of the pool's connections, however many readers come back at once after a restart."""
_CHECK_SECONDS = 1.0
_FAREWELL_SECONDS = 5.0
_LONGEST_REASON = 123
"""Bytes of a close frame's reason (RFC 6455, section 5.5)."""


class Sockets:
    """Opens, feeds, watches and closes them."""

    def __init__(self, database: Database, *, per_customer: int, bounds: Bounds | None = None) -> None:
        self._database = database
        self._bounds = bounds or Bounds()
        self.per_customer = per_customer
        self._open: dict[UUID, set[Socket]] = {}
        self._elsewhere: dict[str, int] = {}
        self._feed = Feed(database, self._open)
        self._watch: asyncio.Task[None] | None = None
        self._count = 0
        self._closing = False
        self._reading = asyncio.Semaphore(_PASTS_AT_ONCE)
        self._empty = asyncio.Event()
        self._empty.set()

    async def admit(self, customer_id: UUID) -> None:
        """Raises ``ResourceExhausted`` or ``Unavailable`` where there can be no further one."""
        if self._closing:
            raise Unavailable("This process is being stopped; connect again.")
        if self._count >= MAX_SOCKETS:
            raise Unavailable("There are too many WebSockets here; connect again later.")
        if self.count(customer_id) >= self.per_customer:
            raise ResourceExhausted(
                f"You have {self.per_customer} WebSockets here, the most that one customer may have; one of them can"
                " have many topics.",
                details=[{"retry_after": 5}],
            )
        await self._feed.start()

    def count(self, customer_id: UUID) -> int:
        """How many a customer has, those of other processes included."""
        here = len(self._open.get(customer_id, ()))
        return here + self._elsewhere.get(str(customer_id), 0) if self._elsewhere else here

    def mine(self) -> dict[str, list[int]]:
        """How many of each customer are in this process."""
        return {str(customer_id): [len(sockets)] for customer_id, sockets in self._open.items()}

    def heard(self, counts: Iterable[Mapping[str, Sequence[int]]]) -> None:
        """How many all other processes have, each by customer."""
        sums: Counter[str] = Counter()
        for one in counts:
            for customer_id, (count,) in one.items():
                sums[customer_id] += count
        self._elsewhere = dict(sums)

    async def serve(
        self, raw: web.BaseRequest, principal: Principal, again: Callable[[], Principal]
    ) -> web.StreamResponse:
        """Take the handshake and serve until either side ends it."""
        bounds = self._bounds
        ws = web.WebSocketResponse(
            heartbeat=bounds.heartbeat,
            timeout=_FAREWELL_SECONDS,
            max_msg_size=bounds.frame_bytes,
            compress=False,
            writer_limit=bounds.write_buffer,
        )
        await ws.prepare(raw)
        socket = Socket(ws, principal, again, self, bounds)
        self._enter(principal.customer_id, socket)
        try:
            socket.tell(
                frames.told(
                    "connected",
                    customer_id=str(principal.customer_id),
                    agent_id=None if principal.agent_id is None else str(principal.agent_id),
                    heartbeat=bounds.heartbeat,
                )
            )
            if self._closing:
                socket.drop(GOING_AWAY, "this process is being stopped; connect again")
            code, reason = await socket.run()
        finally:
            self._leave(principal.customer_id, socket)
        metrics.closed.labels(str(code)).inc()
        log.info("event_socket_closed", customer_id=str(principal.customer_id), code=code, reason=reason)
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await ws.close(code=code, message=reason.encode()[:_LONGEST_REASON])
                return ws
        # it does not even take the farewell
        if raw.transport is not None:
            raw.transport.abort()
        return ws

    async def close(self) -> None:
        """Say farewell to everybody. Idempotent."""
        self._closing = True
        for sockets in list(self._open.values()):
            for socket in sockets:
                socket.drop(GOING_AWAY, "this process is being stopped; connect again")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._empty.wait()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        await self._feed.close()

    def _enter(self, customer_id: UUID, socket: Socket) -> None:
        self._open.setdefault(customer_id, set()).add(socket)
        self._count += 1
        self._empty.clear()
        metrics.open_sockets.inc()
        if self._watch is None:
            self._watch = asyncio.create_task(self._keep_watching(), name="event-sockets-watch")

    def _leave(self, customer_id: UUID, socket: Socket) -> None:
        sockets = self._open[customer_id]
        sockets.remove(socket)
        if not sockets:
            del self._open[customer_id]
        self._count -= 1
        metrics.open_sockets.dec()
        if not self._count:
            self._empty.set()

    async def _keep_watching(self) -> None:
        """Look whether their credentials are still good: keys are revoked and customers frozen meanwhile."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            for sockets in list(self._open.values()):
                for socket in tuple(sockets):
                    socket.check()

    # ``socket.Past``

    async def last(self, customer_id: UUID) -> Published | None:
        async with self._reading, self._database.connect() as connection:
            return await reading.last(connection, customer_id)

    async def by_id(self, customer_id: UUID, event_id: UUID) -> Published | None:
        async with self._reading, self._database.connect() as connection:
            return await reader.by_id(connection, customer_id, event_id)

    async def kept_after(self, customer_id: UUID, event_id: UUID) -> Published | None:
        async with self._reading, self._database.connect() as connection:
            return await reading.kept_after(connection, customer_id, event_id)

    async def page(
        self, customer_id: UUID, published: int, limit: int, resources: frozenset[str]
    ) -> list[Published]:
        async with self._reading, self._database.connect() as connection:
            return await reading.of_customers(connection, [customer_id], published, limit, resources)
