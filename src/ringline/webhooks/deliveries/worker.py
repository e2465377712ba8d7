"""The worker: which endpoints are this process's, and what of theirs is in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from ringline.clock import Clock
from ringline.storage import Database
from ringline.storage.listener import Following
from ringline.webhooks.deliveries import envelope, metrics, store
from ringline.webhooks.deliveries.dispatch import Disable, Dispatch
from ringline.webhooks.deliveries.leases import RENEW_SECONDS, Leases
from ringline.webhooks.deliveries.posting import Poster
from ringline.webhooks.deliveries.queue import PIECE, Budget, Delivery, Endpoint, Queue
from ringline.webhooks.deliveries.sink import CHANNEL
from ringline.webhooks.signing import Secrets

log = structlog.get_logger(__name__)

MAX_READ: Final = 1000
"""Deliveries that are read at once, of all endpoints; those of further endpoints with the next read."""
POLL_SECONDS: Final = 5.0
"""How often it is looked for endpoints that nobody sees to."""
IDLE_SECONDS: Final = 20.0
"""An endpoint for which nothing comes is given back after that."""
EXPIRY_SECONDS: Final = 60.0
OVERDUE: Final = timedelta(minutes=10)
"""After its day, what an endpoint that is down still has waiting is given up untried."""
_GIVEN_UP_AT_ONCE: Final = 2000
_OUTAGE_SECONDS: Final = 1.0


class Worker:
    """One process's part of all deliveries."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        poster: Poster,
        secrets: Secrets,
        disable: Disable,
        *,
        failing_days: float = 3.0,
    ) -> None:
        """``failing_days``: of nothing but failure, after which an endpoint is disabled; 0 is never."""
        self._database = database
        self._clock = clock
        self._secrets = secrets
        self.leases = Leases(database)
        self.dispatch = Dispatch(
            database,
            clock,
            poster,
            disable,
            allowed=lambda: self.leases.good,
            hungry=self._feed,
            failing=timedelta(days=failing_days),
        )
        self._budget = Budget()
        self._queues: dict[UUID, Queue] = {}
        self._hungry: dict[UUID, Queue] = {}
        self._told: set[UUID] = set()
        self._changed: set[UUID] = set()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._following: Following | None = None

    async def start(self) -> None:
        """Begin, in the background. Raises ``DatabaseUnavailable``."""
        self._following = await self._database.follow(CHANNEL, self._hear, self._missed)
        self.dispatch.start()
        self._tasks = [
            asyncio.create_task(self._every(0.0, self._round), name="webhooks-reading"),
            asyncio.create_task(self._every(RENEW_SECONDS, self._renew), name="webhooks-leases"),
            asyncio.create_task(self._every(POLL_SECONDS, self._look), name="webhooks-looking"),
            asyncio.create_task(self._every(EXPIRY_SECONDS, self._expire), name="webhooks-expiry"),
        ]

    async def close(self) -> None:
        """Let what is under way end, and give everything back. Idempotent."""
        tasks, self._tasks = self._tasks, []
        if self._following is not None:
            await self._database.listener.leave(self._following)
            self._following = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            await self.dispatch.close()
            try:
                await self.leases.release(list(self.leases.held))
            except Exception as error:  # noqa: BLE001 - they run out by themselves
                log.warning("webhook_leases_not_released", error=repr(error))

    async def read_gauges(self) -> None:
        """Count what is in memory."""
        metrics.endpoints.set(len(self._queues))
        metrics.in_memory.set(sum(queue.depth for queue in self._queues.values()))
        metrics.open_circuits.set(sum(queue.circuit.open for queue in self._queues.values()))

    # being told

    def _hear(self, payload: str) -> None:
        what, _, text = payload.rpartition(" ")
        try:
            webhook_id = UUID(text)
        except ValueError:
            return
        queue = self._queues.get(webhook_id)
        if what == "changed":
            self._changed.add(webhook_id)
        elif queue is None:
            self._told.add(webhook_id)
        else:
            if what == "again":
                queue.again(_now())
            queue.more = True
            self._hungry[webhook_id] = queue
        self._wake.set()

    def _feed(self, queue: Queue) -> None:
        if self._queues.get(queue.endpoint.id) is queue:
            self._hungry[queue.endpoint.id] = queue
            self._wake.set()

    async def _missed(self) -> None:
        """Nothing was heard for a while; that something of the past waits again may have been said, too."""
        for webhook_id, queue in self._queues.items():
            queue.again(_now())
            self._hungry[webhook_id] = queue
        self._changed |= self._queues.keys()
        await self._look()

    async def _look(self) -> None:
        """Look for endpoints that nobody sees to."""
        async with self._database.connect() as connection:
            self._told |= set(await store.waiting(connection)) - self._queues.keys()
        self._wake.set()

    # endpoints

    async def _renew(self) -> None:
        for lost in await self.leases.renew():
            log.warning("webhook_lease_lost", webhook_id=str(lost))
            self._drop(lost)
        self.dispatch.pump()
        idle = []
        for webhook_id, queue in self._queues.items():
            if not queue.idle:
                queue.idle_since = _now()
            elif _now() - queue.idle_since > IDLE_SECONDS:
                idle.append(webhook_id)
        for webhook_id in idle:
            self._drop(webhook_id)
        # what is told of them from here on is put to whoever takes them next
        await self.leases.release(idle)

    async def _expire(self) -> None:
        down = [webhook_id for webhook_id, queue in self._queues.items() if queue.circuit.open]
        if down:
            await self._give_up(down, "expired", OVERDUE)

    async def _open(self) -> None:
        """Take the endpoints that this process was told of."""
        told, self._told = self._told - self._queues.keys(), set()
        try:
            got = await self.leases.acquire(told)
            await self._refresh(got | (told & self.leases.held))
        except BaseException:
            self._told |= told
            raise

    async def _refresh(self, ids: set[UUID]) -> None:
        """Read endpoints (again): those that may be used have a queue then, others have nothing waiting."""
        if not ids:
            return
        async with self._database.connect() as connection:
            rows = {row.id: row for row in await store.endpoints(connection, list(ids))}
        for webhook_id in ids:
            row = rows.get(webhook_id)
            if row is None or not row.usable:
                reason = "deleted" if row is None or row.deleted else "disabled"
                self._drop(webhook_id)
                self.dispatch.aside(self._abandon(webhook_id, reason))
                continue
            queue = self._queues.get(webhook_id)
            if queue is not None and queue.disabled:
                # enabled again before it was seen that it had been disabled
                self._drop(webhook_id)
                queue = None
            endpoint = self._endpoint(row)
            if queue is None:
                queue = self._queues[webhook_id] = Queue(endpoint, self._budget)
                queue.idle_since = _now()
            elif (endpoint.uri, endpoint.method) != (queue.endpoint.uri, queue.endpoint.method):
                queue.moved(endpoint, _now())
            else:
                queue.endpoint = endpoint
            self._hungry[webhook_id] = queue
            self.dispatch.offer(queue)

    def _endpoint(self, row: Any) -> Endpoint:
        former = row.former_salt
        return Endpoint(
            id=row.id,
            customer_id=row.customer_id,
            uri=row.uri,
            method=row.method,
            secret=self._secrets.raw(row.salt),
            former=None if former is None else self._secrets.raw(former),
            tm_former_expire=row.tm_former_expire,
            tm_failing=row.tm_failing,
        )

    def _drop(self, webhook_id: UUID) -> None:
        queue = self._queues.pop(webhook_id, None)
        self._hungry.pop(webhook_id, None)
        if queue is not None:
            queue.discard()
            self.dispatch.forget(queue)

    async def _abandon(self, webhook_id: UUID, reason: str) -> None:
        """Give up what waits for an endpoint to which nothing is sent any more, unless it was enabled since."""
        await self._give_up([webhook_id], reason, store.NEVER, unusable=True)
        await self.leases.release([webhook_id])
        if webhook_id in self._queues:
            # opened meanwhile, under the lease that was just given back
            self._drop(webhook_id)
            self._told.add(webhook_id)
            self._wake.set()

    async def _give_up(
        self, ids: Sequence[UUID], reason: str, after: timedelta, *, unusable: bool = False
    ) -> None:
        count = _GIVEN_UP_AT_ONCE
        while count >= _GIVEN_UP_AT_ONCE:
            async with self._database.connect() as connection:
                count = await store.give_up(
                    connection, ids, reason, after=after, most=_GIVEN_UP_AT_ONCE, unusable=unusable
                )
            if count:
                metrics.attempts.labels("given_up").inc(count)
                log.info("webhook_deliveries_given_up", count=count, reason=reason)

    # reading

    async def _round(self) -> None:
        await self._wake.wait()
        self._wake.clear()
        if self._told:
            await self._open()
        if self._changed:
            changed, self._changed = self._changed & self._queues.keys(), set()
            try:
                await self._refresh(changed)
            except BaseException:
                self._changed |= changed
                raise
        if self._hungry:
            await self._read()

    async def _read(self) -> None:
        hungry, self._hungry = self._hungry, {}
        for queue in hungry.values():
            queue.begin_reading()
        try:
            async with self._database.connect() as connection:
                # one after the other: what is read of a lane is then all of it up to the queue's cursor
                lost = await self._read_behind(connection, hungry)
                lost += await self._read_lanes(connection, hungry)
                if lost:
                    await store.lose(connection, lost)
        except BaseException:
            for webhook_id, queue in hungry.items():
                queue.more = True
                if self._queues.get(webhook_id) is queue:
                    self._hungry[webhook_id] = queue
            self._wake.set()
            raise
        finally:
            for queue in hungry.values():
                queue.end_reading()
        for webhook_id, queue in hungry.items():
            if self._queues.get(webhook_id) is queue:
                self.dispatch.offer(queue)
                if queue.wants_more:
                    self._hungry[webhook_id] = queue
                    self._wake.set()

    async def _read_behind(self, connection: Any, hungry: dict[UUID, Queue]) -> list[UUID]:
        wanted: dict[UUID, tuple[int, int]] = {}
        # those that are left out are hungry still, and come behind the others that are by then
        takers = [queue for queue in hungry.values() if queue.more and queue.room > 0][: MAX_READ // PIECE]
        for queue in takers:
            wanted[queue.endpoint.id] = queue.cursor, min(queue.room, max(MAX_READ // len(takers), PIECE))
            # what is told from now on is read the next time
            queue.more = False
        if not wanted:
            return []
        rows = await store.behind(connection, wanted)
        counted: Counter[UUID] = Counter()
        lost: list[UUID] = []
        now, wall = _now(), self._clock.now()
        for row in rows:
            counted[row.webhook_id] += 1
            queue = hungry[row.webhook_id]
            if row.data is None:
                lost.append(row.id)
                queue.cursor = max(queue.cursor, row.published)
            else:
                queue.add(_delivery(row, now, wall), now)
        for webhook_id, (_, room) in wanted.items():
            if counted[webhook_id] >= room:
                hungry[webhook_id].more = True
        return lost

    async def _read_lanes(self, connection: Any, hungry: dict[UUID, Queue]) -> list[UUID]:
        now, wall = _now(), self._clock.now()
        wanted = [
            (webhook_id, resource_id)
            for webhook_id, queue in hungry.items()
            for resource_id in queue.unread(now)
        ][: MAX_READ // PIECE]
        if not wanted:
            return []
        found: dict[UUID, list[Delivery]] = {webhook_id: [] for webhook_id, _ in wanted}
        lost: list[UUID] = []
        for row in await store.lanes(connection, wanted, PIECE):
            if row.data is None:
                lost.append(row.id)
            else:
                found[row.webhook_id].append(_delivery(row, now, wall))
        now = _now()
        for webhook_id, deliveries in found.items():
            lanes = [resource_id for one, resource_id in wanted if one == webhook_id]
            hungry[webhook_id].read(lanes, deliveries, now)
        return lost

    async def _every(self, seconds: float, do: Callable[[], Awaitable[None]]) -> None:
        failing = False
        while True:
            try:
                if seconds:
                    await asyncio.sleep(seconds)
                await do()
                failing = False
            except Exception as error:  # noqa: BLE001 - what is stored stays stored, and is looked at again
                if not failing:
                    log.warning("webhooks_not_delivered", error=repr(error))
                failing = True
                await asyncio.sleep(_OUTAGE_SECONDS)


def _delivery(row: Any, now: float, wall: Any) -> Delivery:
    due = 0.0 if row.tm_next is None else now + (row.tm_next - wall).total_seconds()
    return Delivery(
        id=row.id,
        published=row.published,
        resource_id=row.resource_id,
        event_id=str(row.event_id),
        body=envelope.body(row),
        tries=row.tries,
        tm_expire=row.tm_expire,
        tm_create=row.tm_create,
        due=due,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
