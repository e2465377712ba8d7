"""Sending what queues give out, with so many requests at once, and writing how that went.

Endpoints take turns. Sending does not wait for the database: outcomes are written by the hundred a moment later, and
kept while PostgreSQL is away. Of a process that dies in between, the successor sends them again, with the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ringline.clock import Clock
from ringline.storage import Database
from ringline.webhooks.deliveries import metrics, store
from ringline.webhooks.deliveries.circuit import FEW
from ringline.webhooks.deliveries.posting import GONE, Attempt, Poster
from ringline.webhooks.deliveries.queue import Delivery, Queue
from ringline.webhooks.deliveries.schedule import pause

log = structlog.get_logger(__name__)

MAX_RUNNING: Final = 1024
MAX_RUNNING_PER_CUSTOMER: Final = 192
"""Of both the second half is for endpoints that have ``FEW`` under way: those that are slow do not fill it."""
WRITE_SECONDS: Final = 0.02
"""How long outcomes are gathered before they are written."""
MAX_WRITTEN: Final = 500
_SPARSE: Final = 3
"""Failures in a row before it is stored that an endpoint fails."""
_OUTAGE_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 6.0
_ASIDE_SECONDS: Final = 2.0

Disable = Callable[[UUID, str], Awaitable[None]]
"""Disables an endpoint for a reason, and has its customer told (``disabling``)."""


class Dispatch:
    """Requests under way, and their outcomes.

    ``allowed`` says whether the queues are still this process's. ``hungry`` is told of queues that have room again.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        poster: Poster,
        disable: Disable,
        *,
        allowed: Callable[[], bool],
        hungry: Callable[[Queue], None],
        failing: timedelta,
    ) -> None:
        self._database = database
        self._clock = clock
        self._poster = poster
        self._disable = disable
        self._allowed = allowed
        self._hungry = hungry
        self._failing = failing
        self._ready: deque[Queue] = deque()
        self._parked: defaultdict[UUID, list[Queue]] = defaultdict(list)
        self._running: Counter[UUID] = Counter()
        self._sending: set[asyncio.Task[None]] = set()
        self._outcomes: deque[tuple[Queue, Delivery, dict[str, Any]]] = deque()
        # by the delivery that decided it: why its endpoint is to be disabled
        self._doomed: dict[UUID, str] = {}
        self._some = asyncio.Event()
        self._timers: dict[Queue, asyncio.TimerHandle] = {}
        self._asides: set[asyncio.Task[None]] = set()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to write outcomes."""
        self._writer = asyncio.create_task(self._write(), name="webhooks-writing")

    async def close(self) -> None:
        """Let what is under way end, and write it."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        if self._sending:
            await asyncio.wait(self._sending, timeout=_CLOSE_SECONDS)
        tasks = [*self._sending, *self._asides, *([self._writer] if self._writer else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(Exception):  # it is sent again
            while self._outcomes:
                await self._write_some()
        # what was written last may have begun to disable an endpoint
        if self._asides:
            _, late = await asyncio.wait(self._asides, timeout=_ASIDE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def offer(self, queue: Queue) -> None:
        """Something may leave from there."""
        self._arm(queue)
        if not queue.listed:
            queue.listed = True
            self._ready.append(queue)
        self.pump()

    def forget(self, queue: Queue) -> None:
        """Nothing more leaves from there."""
        queue.stopped = True
        if (timer := self._timers.pop(queue, None)) is not None:
            timer.cancel()

    def pump(self) -> None:
        """Send what may leave, one from each queue in turn."""
        if not self._ready or self._closed or not self._allowed():
            return
        now = asyncio.get_running_loop().time()
        while self._ready and len(self._sending) < MAX_RUNNING:
            queue = self._ready.popleft()
            customer_id = queue.endpoint.customer_id
            running = self._running[customer_id]
            if running >= MAX_RUNNING_PER_CUSTOMER:
                self._parked[customer_id].append(queue)
                continue
            scarce = running >= MAX_RUNNING_PER_CUSTOMER // 2 or len(self._sending) >= MAX_RUNNING // 2
            if scarce and queue.running >= FEW:
                # listed again when one of its own has ended
                queue.listed = False
                continue
            delivery = queue.take(now)
            if delivery is None:
                queue.listed = False
                continue
            self._ready.append(queue)
            self._running[customer_id] += 1
            task = asyncio.create_task(self._send(queue, delivery), name="webhook")
            self._sending.add(task)
            task.add_done_callback(partial(self._done, queue))

    def aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done that nobody waits for."""
        task = asyncio.create_task(self._say(work), name="webhooks-aside")
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    async def _say(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - it comes again with the next failure, or the next look
            log.warning("webhook_work_failed", error=repr(error))

    def _arm(self, queue: Queue) -> None:
        """Wake up when something may leave that may not now."""
        loop = asyncio.get_running_loop()
        due = queue.next_due()
        timer = self._timers.pop(queue, None)
        if timer is not None:
            timer.cancel()
        if due is not None and not queue.stopped and not self._closed:
            self._timers[queue] = loop.call_at(max(due, loop.time() + 0.01), self._due, queue)

    def _due(self, queue: Queue) -> None:
        self._timers.pop(queue, None)
        self._hungry(queue)
        self.offer(queue)

    async def _send(self, queue: Queue, delivery: Delivery) -> None:
        endpoint, now = queue.endpoint, self._clock.now()
        try:
            attempt = await self._poster.post(
                endpoint.method, endpoint.uri, delivery.event_id, delivery.body, endpoint.secrets(now), now
            )
        except asyncio.CancelledError:
            queue.put_back(delivery)
            raise
        except Exception:
            log.exception("webhook_not_sent", webhook_id=str(endpoint.id))
            attempt = Attempt(now, 0, 0, "it could not be sent")
        self._account(queue, delivery, attempt)

    def _done(self, queue: Queue, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("webhook_crashed", exc_info=error)
        customer_id = queue.endpoint.customer_id
        self._running[customer_id] -= 1
        if not self._running[customer_id]:
            del self._running[customer_id]
        if (parked := self._parked.pop(customer_id, None)) is not None:
            self._ready.extend(parked)
        if not queue.listed:
            queue.listed = True
            self._ready.append(queue)
        self.pump()

    def _account(self, queue: Queue, delivery: Delivery, attempt: Attempt) -> None:
        now, loop_now = self._clock.now(), asyncio.get_running_loop().time()
        outcome: dict[str, Any] = {
            "id": delivery.id,
            "status": "delivered",
            "reason": "",
            "tries": delivery.tries + 1,
            "tm_next": None,
            "tm": now,
            "attempt": attempt.shown(),
        }
        if attempt.arrived:
            metrics.attempts.labels("delivered").inc()
            if not delivery.tries:
                metrics.latency.observe(max((now - delivery.tm_create).total_seconds(), 0.0))
            was_open = queue.circuit.open
            queue.delivered(delivery, loop_now)
            if queue.endpoint.tm_failing is not None:
                queue.endpoint = replace(queue.endpoint, tm_failing=None)
                self.aside(self._well(queue.endpoint.id))
            if was_open:
                log.info("webhook_circuit_closed", webhook_id=str(queue.endpoint.id))
                self._hungry(queue)
        else:
            self._failed(queue, delivery, attempt, outcome)
        self._outcomes.append((queue, delivery, outcome))
        self._some.set()
        if queue.wants_more:
            self._hungry(queue)

    def _failed(self, queue: Queue, delivery: Delivery, attempt: Attempt, outcome: dict[str, Any]) -> None:
        now, loop_now = self._clock.now(), asyncio.get_running_loop().time()
        left = (delivery.tm_expire - now).total_seconds()
        was_open, due = queue.circuit.open, None
        if attempt.status == GONE:
            outcome |= {"status": "failed", "reason": "gone"}
        elif left <= 0:
            outcome |= {"status": "failed", "reason": "expired"}
        else:
            # the last attempt is at the end of the day
            seconds = min(pause(delivery.tries + 1, attempt.retry_after), left + 1)
            due = loop_now + seconds
            outcome |= {"status": "pending", "tm_next": now + timedelta(seconds=seconds)}
        metrics.attempts.labels("failed" if due else "given_up").inc()
        queue.failed(delivery, due, loop_now)
        self._arm(queue)
        if queue.circuit.open and not was_open:
            log.info("webhook_circuit_opened", webhook_id=str(queue.endpoint.id), error=attempt.error)
        self._consider(queue, delivery, attempt)

    def _consider(self, queue: Queue, delivery: Delivery, attempt: Attempt) -> None:
        """Whether the endpoint is to be disabled: once this outcome is written, because disabling gives up whatever
        waits then, and of this delivery it is known how it ended.
        """
        endpoint, now = queue.endpoint, self._clock.now()
        if queue.stopped:
            return
        if attempt.status == GONE:
            queue.stopped = True
            self._doomed[delivery.id] = "gone"
        elif endpoint.tm_failing is None:
            if queue.circuit.failures >= _SPARSE:
                queue.endpoint = replace(endpoint, tm_failing=now)
                self.aside(self._fails(endpoint.id))
        elif self._failing and now - endpoint.tm_failing >= self._failing:
            queue.stopped = True
            self._doomed[delivery.id] = "failing"

    async def _disable_it(self, queue: Queue, reason: str) -> None:
        try:
            await self._disable(queue.endpoint.id, reason)
            queue.disabled = True
        except BaseException:
            # as it was: the next failure disables it
            queue.stopped = False
            self._hungry(queue)
            raise

    async def _well(self, webhook_id: UUID) -> None:
        async with self._database.connect() as connection:
            await store.well(connection, webhook_id)

    async def _fails(self, webhook_id: UUID) -> None:
        async with self._database.connect() as connection:
            await store.failing(connection, webhook_id)

    async def _write(self) -> None:
        failing = False
        while True:
            await self._some.wait()
            self._some.clear()
            await asyncio.sleep(WRITE_SECONDS)
            try:
                while self._outcomes:
                    await self._write_some()
                failing = False
            except Exception as error:  # noqa: BLE001 - kept, and written when that works
                if not failing:
                    log.warning("webhook_outcomes_not_written", count=len(self._outcomes), error=repr(error))
                failing = True
                self._some.set()
                await asyncio.sleep(_OUTAGE_SECONDS)

    async def _store(self, outcomes: list[dict[str, Any]]) -> None:
        async with self._database.begin() as connection:
            await store.outcomes(connection, outcomes)

    async def _store_singly(self, outcomes: list[dict[str, Any]]) -> None:
        for outcome in outcomes:
            try:
                await self._store([outcome])
            except (SQLAlchemyError, TypeError, ValueError) as error:
                log.error("webhook_outcome_odd", delivery_id=str(outcome["id"]), error=repr(error)[:500])
                bare = {**outcome["attempt"], "error": "it cannot be shown", "answer": ""}
                await self._store([{**outcome, "attempt": bare}])

    async def _write_some(self) -> None:
        # of a delivery there may be two where it was sent again at once: one with each statement
        some: dict[UUID, tuple[Queue, Delivery, dict[str, Any]]] = {}
        while self._outcomes and len(some) < MAX_WRITTEN and self._outcomes[0][1].id not in some:
            entry = self._outcomes.popleft()
            some[entry[1].id] = entry
        outcomes = [outcome for _, _, outcome in some.values()]
        try:
            try:
                await self._store(outcomes)
            except (SQLAlchemyError, TypeError, ValueError):
                # one that cannot be stored as it is keeps no other from it
                await self._store_singly(outcomes)
        except BaseException:
            self._outcomes.extendleft(reversed(some.values()))
            raise
        for queue, delivery, _ in some.values():
            queue.written(delivery)
            if (reason := self._doomed.pop(delivery.id, None)) is not None:
                self.aside(self._disable_it(queue, reason))
            elif queue.wants_more:
                self._hungry(queue)
