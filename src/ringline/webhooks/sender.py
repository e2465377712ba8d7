"""Webhooks that nobody waits for: a bounded queue in which a server that never answers holds up only itself.

A lane is what one customer sends to one server. Lanes take turns; each has a few requests under way at most, and so
has each customer, so that the rest goes on beside those that hang.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict, deque
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from ringline.errors import ResourceExhausted
from ringline.media.address_guard import loggable
from ringline.webhooks import metrics
from ringline.webhooks.delivery import Delivery
from ringline.webhooks.exchange import Answer, ExchangeFailed, Exchanges

log = structlog.get_logger(__name__)

MAX_RUNNING: Final = 128
MAX_RUNNING_PER_CUSTOMER: Final = 24
MAX_RUNNING_PER_LANE: Final = 8
MAX_WAITING_PER_CUSTOMER: Final = 2000
"""Webhooks of one customer that wait or are under way; with one more the action fails."""
MAX_BYTES: Final = 32 * 1024 * 1024
MAX_BYTES_PER_CUSTOMER: Final = 8 * 1024 * 1024
SHUTDOWN_SECONDS: Final = 3.0
_ANSWER_BYTES: Final = 0


class _Lane:
    __slots__ = ("customer_id", "key", "listed", "running", "waiting")

    def __init__(self, key: tuple[UUID, str]) -> None:
        self.key = key
        self.customer_id = key[0]
        self.waiting: deque[Delivery] = deque()
        self.running = 0
        self.listed = False


class Sender:
    """Sends webhooks in the background, each within ten seconds (``exchange.TOTAL_SECONDS``)."""

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges
        self._lanes: dict[tuple[UUID, str], _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._parked: defaultdict[UUID, list[_Lane]] = defaultdict(list)
        self._running: Counter[UUID] = Counter()
        self._count: Counter[UUID] = Counter()
        self._bytes: Counter[UUID] = Counter()
        self._total_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: dict[Delivery, asyncio.TimerHandle] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = False

    @property
    def depth(self) -> int:
        """Webhooks that wait or are under way."""
        return self._count.total()

    def post(self, delivery: Delivery) -> None:
        """Take a webhook over and return at once. Raises ``ResourceExhausted`` where too much waits already."""
        customer_id, size = delivery.request.customer_id, delivery.size
        if (
            self._closed
            or self._count[customer_id] >= MAX_WAITING_PER_CUSTOMER
            or self._bytes[customer_id] + size > MAX_BYTES_PER_CUSTOMER
            or self._total_bytes + size > MAX_BYTES
        ):
            metrics.deliveries.labels("refused").inc()
            raise ResourceExhausted(
                f"{self._count[customer_id]} webhooks wait to be sent: your servers do not answer fast enough",
                reason="WEBHOOK_QUEUE_FULL",
            )
        self._count[customer_id] += 1
        self._bytes[customer_id] += size
        self._total_bytes += size
        self._empty.clear()
        self._enqueue(delivery)

    async def close(self, grace: float = SHUTDOWN_SECONDS) -> None:
        """Give what waits a moment, then give it up and say how much that was."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._empty.wait()
        if self.depth:
            log.warning("webhooks_given_up", count=self.depth)
        for timer in self._later.values():
            timer.cancel()
        self._lanes.clear()
        self._ready.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _enqueue(self, delivery: Delivery) -> None:
        key = (delivery.request.customer_id, delivery.origin)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key)
        lane.waiting.append(delivery)
        self._list(lane)
        self._pump()

    def _list(self, lane: _Lane) -> None:
        if lane.waiting and not lane.listed and lane.running < MAX_RUNNING_PER_LANE:
            lane.listed = True
            self._ready.append(lane)

    def _pump(self) -> None:
        """Begin what may begin, one from each lane in turn."""
        while self._ready and len(self._tasks) < MAX_RUNNING:
            lane = self._ready.popleft()
            if self._running[lane.customer_id] >= MAX_RUNNING_PER_CUSTOMER:
                self._parked[lane.customer_id].append(lane)
                continue
            lane.listed = False
            delivery = lane.waiting.popleft()
            lane.running += 1
            self._running[lane.customer_id] += 1
            task = asyncio.create_task(self._send(delivery), name=f"webhook-{delivery.id}")
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, lane))
            self._list(lane)

    def _done(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("webhook_crashed", exc_info=error)
        lane.running -= 1
        _less(self._running, lane.customer_id)
        if not lane.waiting and not lane.running:
            self._lanes.pop(lane.key, None)
        self._list(lane)
        self._ready.extend(self._parked.pop(lane.customer_id, ()))
        if not self._closed or self._lanes:
            self._pump()

    async def _send(self, delivery: Delivery) -> None:
        delivery.attempts += 1
        outcome: Answer | ExchangeFailed
        finished = True
        try:
            try:
                outcome = await self._exchanges.run(delivery.request, max_bytes=_ANSWER_BYTES, cut=True)
            except ExchangeFailed as failure:
                outcome = failure
            delay = None if self._closed else delivery.retry_after(outcome)
            if delay is None:
                self._report(delivery, outcome)
            else:
                finished = False
                self._later[delivery] = asyncio.get_running_loop().call_later(delay, self._again, delivery)
        finally:
            if finished:
                self._finish(delivery)

    def _again(self, delivery: Delivery) -> None:
        del self._later[delivery]
        self._enqueue(delivery)

    def _report(self, delivery: Delivery, outcome: Answer | ExchangeFailed) -> None:
        if isinstance(outcome, Answer) and outcome.status < 400:
            metrics.deliveries.labels("delivered").inc()
            return
        metrics.deliveries.labels("failed").inc()
        shown = loggable(delivery.request.url)
        if isinstance(outcome, Answer):
            reason, why = "WEBHOOK_STATUS", f"{shown} answered {outcome.status}"
        else:
            reason, why = f"WEBHOOK_{outcome.reason}", outcome.message
        if delivery.attempts > 1:
            why += f", after {delivery.attempts} attempts"
        log.info(
            "webhook_failed",
            customer_id=str(delivery.request.customer_id),
            webhook_id=str(delivery.id),
            reason=reason,
            why=why,
        )
        delivery.failed(reason, why)

    def _finish(self, delivery: Delivery) -> None:
        customer_id, size = delivery.request.customer_id, delivery.size
        _less(self._count, customer_id)
        _less(self._bytes, customer_id, size)
        self._total_bytes -= size
        if not self._count:
            self._empty.set()


def _less(counter: Counter[UUID], key: UUID, by: int = 1) -> None:
    """Count down, and forget who has nothing left."""
    counter[key] -= by
    if counter[key] <= 0:
        del counter[key]
