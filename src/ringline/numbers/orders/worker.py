"""The worker that takes orders on until they have ended, in whatever process they began."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from ringline.clock import Clock
from ringline.numbers import metrics
from ringline.numbers.directory import NumberDirectory
from ringline.numbers.orders import store
from ringline.numbers.orders.models import NumberOrder, order_of
from ringline.numbers.orders.steps import ASKING_SECONDS, LONGER, OrderSteps
from ringline.rounds import Rounds
from ringline.storage import Database
from ringline.vendors.events import OrderChanged
from ringline.vendors.registry import Vendors

log = structlog.get_logger(__name__)

LEASE: Final = timedelta(seconds=ASKING_SECONDS + 30)
"""Nobody else touches an order for so long after whoever works on it has died."""
AT_ONCE: Final = 8
IDLE_SECONDS: Final = 15.0
"""How long an order of another process that has died may lie, besides its lease."""
RETRY_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.02


class NumberOrders:
    """Carries out what is stored in ``number_orders``."""

    def __init__(
        self, database: Database, vendors: Vendors, directory: NumberDirectory, clock: Clock
    ) -> None:
        self._database = database
        self._clock = clock
        self._steps = OrderSteps(database, vendors, directory, clock)
        self._rounds = Rounds("number-orders", self._round, retry=RETRY_SECONDS)
        self._working: set[asyncio.Task[None]] = set()
        self._leased: dict[UUID, NumberOrder] = {}
        self._begins = True
        self.elsewhere: Callable[[], None] = lambda: None
        """Wakes those who work in other processes."""

    async def start(self) -> None:
        """Take up what is open."""
        self._rounds.start()

    async def close(self) -> None:
        """Stop; what was being done is looked up by whoever comes next. Idempotent."""
        await self._rounds.close()
        tasks = list(self._working)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._leased:
            with contextlib.suppress(Exception):
                async with self._database.begin() as connection:
                    for order in self._leased.values():
                        await store.give_back(connection, order)
            self._leased.clear()

    def wake(self) -> None:
        """There may be something new to do."""
        self._rounds.wake()
        if not self._rounds.running:
            self.elsewhere()

    async def attend(self, number_id: UUID, seconds: float) -> None:
        """Take a number's orders on now; returns when nothing is left to do at once, or after ``seconds``."""
        task = self._spawn(self._exhaust(number_id), f"number-orders {number_id}")
        await asyncio.wait({task}, timeout=seconds)

    async def changed(self, vendor: str, event: OrderChanged) -> None:
        """A vendor reports of a purchase (``vendors.events.Consumers.order``)."""
        async with self._database.connect() as connection:
            row = await store.of_report(
                connection, vendor, purchase_id=event.purchase_id, reference=event.order.reference
            )
            if row is None or (event.number and event.number != row.number):
                # the report may be older than the purchase that it seems to be of: the vendor is asked
                if await store.hasten(connection, vendor, event.number, self._clock.now()):
                    self.wake()
                else:
                    metrics.orders.labels(vendor, "buy", "unknown").inc()
                    log.info("number_order_report_unknown", vendor=vendor, event_id=event.event_id)
                return
        order = order_of(row)
        if row.tm_end is not None:
            if event.order.state not in {"pending", row.state}:
                metrics.orders.labels(vendor, "buy", "contradicted").inc()
                log.error(
                    "number_order_contradicted",
                    order_id=str(order.id),
                    number=order.number,
                    vendor=vendor,
                    state=row.state,
                    said=event.order.state,
                )
                if event.order.state == "done" and await self._steps.sold_after_all(order, event.order):
                    self.wake()
            return
        if await self._steps.said(order, event.order):
            self.wake()

    async def read_gauges(self) -> None:
        """Show how much is open."""
        async with self._database.connect() as connection:
            counts = await store.open_counts(connection)
        metrics.orders_open.clear()
        for row in counts:
            metrics.orders_open.labels(row.vendor, row.kind).set(row.orders)
        now = self._clock.now()
        metrics.orders_oldest.set(max(((now - row.tm).total_seconds() for row in counts), default=0.0))

    async def work(self, number_id: UUID | None = None) -> int:
        """Take on what is due, once; how many orders that were."""
        orders = await self._claim(AT_ONCE, number_id)
        await asyncio.gather(*(self._take(order) for order in orders))
        return len(orders)

    async def _exhaust(self, number_id: UUID) -> None:
        while True:
            begun = await self.work(number_id)
            if not begun and all(order.number_id != number_id for order in self._leased.values()):
                return
            if not begun:
                # the loop was faster and is at it
                await asyncio.sleep(_LOOK_SECONDS)

    async def _claim(self, limit: int, number_id: UUID | None = None) -> list[NumberOrder]:
        now = self._clock.now()
        async with self._database.begin() as connection:
            orders = await store.claim(
                connection, now=now, until=now + LEASE, limit=limit, number_id=number_id
            )
        self._leased |= {order.id: order for order in orders}
        return orders

    async def _take(self, order: NumberOrder) -> None:
        try:
            await self._steps.take(order)
        except Exception as error:  # noqa: BLE001 - it is taken up again when the lease is over
            log.error("number_order_failed", order_id=str(order.id), number=order.number, error=repr(error))
        # a cancelled one stays: ``close`` gives it back
        del self._leased[order.id]

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._working.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("number_orders_failed", error=repr(error))
        self.wake()

    async def _try_mended(self) -> None:
        """A start is what comes after a mended setting: who waited for that waits no longer."""
        now = self._clock.now()
        async with self._database.begin() as connection:
            hastened = await store.hasten_mended(connection, now + LONGER, now)
        if hastened:
            log.info("number_orders_hastened", orders=hastened)

    async def _round(self) -> float:
        """Begin what is due; seconds until the next round."""
        if self._begins:
            await self._try_mended()
            self._begins = False
        room = AT_ONCE - len(self._working)
        if room <= 0:
            return IDLE_SECONDS  # whoever ends wakes
        orders = await self._claim(room)
        for order in orders:
            self._spawn(self._take(order), f"number-order {order.id}")
        if orders:
            return 0.0
        async with self._database.connect() as connection:
            due = await store.next_due(connection)
        if due is None:
            return IDLE_SECONDS
        # one that is due and was not to be had waits for another of the same number
        return min(max((due - self._clock.now()).total_seconds(), 0.5), IDLE_SECONDS)
