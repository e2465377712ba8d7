"""Dealing with events that are stored, until that has worked or a day is over."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, Final

import structlog

from ringline.clock import Clock
from ringline.hooks import metrics, store
from ringline.hooks.codec import KINDS, decode
from ringline.hooks.store import Waiting
from ringline.storage import Database
from ringline.vendors.events import Consumers

log = structlog.get_logger(__name__)

MAX_RUNNING: Final = 16
MAX_TAKEN: Final = 128
"""Events in memory: those beyond ``MAX_RUNNING`` wait for a place."""
FEW_TAKEN: Final = 32
"""More are taken when there are no more than these: a round then ends and takes many with one statement each."""
EVENT_SECONDS: Final = 60.0
"""How long somebody may take for one event."""
LANE_SECONDS: Final = 120.0
"""How long events of one lane are dealt with in one go; what is left is taken again."""
LEASE: Final = timedelta(seconds=10)
"""An event that was taken is free again after that, unless whoever has it says again that it does."""
RENEW_SECONDS: Final = 3.0
PATIENCE: Final = timedelta(minutes=1)
"""How long a failing event holds up those of its lane that came later."""
GIVEN_UP_AFTER: Final = timedelta(days=1)
KEPT: Final = timedelta(days=7)
GIVEN_UP_KEPT: Final = timedelta(days=30)
LOOK_SECONDS: Final = 30.0
FIRST_PAUSE, LAST_PAUSE = 1.0, 600.0
_OUTAGE_SECONDS = 5.0

Consumer = Callable[[str, Any], Awaitable[None]]


class Dealer:
    """Hands stored events to ``consumers``, which may be given later, one after the other.

    Events of one lane go in order and one at a time; lanes go beside each other.
    """

    def __init__(self, database: Database, clock: Clock, consumers: Consumers) -> None:
        self._database = database
        self._clock = clock
        self._consumers = consumers
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._lanes: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(MAX_RUNNING)
        self._taken = 0
        self._done: list[int] = []
        # ids of what is this process's: it waits for a place, is dealt with, or is done and that is not written yet
        self._held: set[int] = set()
        # so that no lease is renewed of what is being put off
        self._leases = asyncio.Lock()

    def wake(self) -> None:
        """Something was stored."""
        self._wake.set()

    async def start(self) -> None:
        """Take up what is stored, in the background."""
        self._task = asyncio.create_task(self._run(), name="hooks-dealer")
        self._renewing = asyncio.create_task(self._renew(), name="hooks-leases")

    async def close(self) -> None:
        """Stop; what is under way is taken up by the next process, at once. Idempotent."""
        await self._stop()
        with contextlib.suppress(Exception):  # they are dealt with again
            await self._finish()
        with contextlib.suppress(Exception):  # their leases run out
            await self._let_go(self._held)

    async def _stop(self) -> None:
        tasks = [*self._lanes, *(task for task in (self._task, self._renewing) if task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._renewing = None

    async def sweep(self) -> None:
        """Delete what ended days ago."""
        now = self._clock.now()
        count = store.SWEEP_ROWS
        while count == store.SWEEP_ROWS:
            async with self._database.connect() as connection:
                count = await store.sweep(
                    connection, done_before=now - KEPT, given_up_before=now - GIVEN_UP_KEPT
                )

    async def _run(self) -> None:
        failing = False
        while True:
            self._wake.clear()
            wait = LOOK_SECONDS
            try:
                wait = await self._round()
                failing = False
            except Exception as error:  # noqa: BLE001 - whatever it is, what is stored stays stored
                if not failing:
                    log.error("vendor_events_not_dealt_with", error=repr(error))
                failing, wait = True, _OUTAGE_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def _renew(self) -> None:
        """Keep what is held: others take it up once nothing is heard of this process."""
        failing = False
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._finish()
                async with self._leases:
                    if self._held:
                        async with self._database.connect() as connection:
                            await store.renew(connection, list(self._held), self._clock.now() + LEASE)
                failing = False
            except Exception as error:  # noqa: BLE001 - others may deal with it then, too
                if not failing:
                    log.warning("vendor_events_not_renewed", error=repr(error), held=len(self._held))
                failing = True

    async def _let_go(self, ids: Iterable[int]) -> None:
        """They are due for whoever comes first."""
        async with self._leases:
            mine = self._held.intersection(ids)
            self._held -= mine
            if mine:
                async with self._database.connect() as connection:
                    await store.put_off(connection, list(mine), self._clock.now())

    async def _round(self) -> float:
        """Begin what may begin. Returns the seconds until something else is due."""
        await self._finish()
        room = MAX_TAKEN - self._taken
        kinds = [kind for kind in KINDS if self._consumer(kind) is not None]
        if room <= 0 or not kinds:
            return LOOK_SECONDS
        now = self._clock.now()
        async with self._database.connect() as connection:
            taken = await store.claim(
                connection, kinds, now=now, young=now - PATIENCE, lost=now + LEASE, most=room
            )
            due = None if len(taken) == room else await store.next_due(connection, kinds, now)
        lanes: defaultdict[tuple[str, str], list[Waiting]] = defaultdict(list)
        for event in taken:
            # after an outage a lease may have run out that nobody else has taken
            if event.id not in self._held:
                lanes[event.vendor, event.lane].append(event)
                self._held.add(event.id)
        for events in lanes.values():
            self._begin(events)
        if due is None:
            return LOOK_SECONDS  # or until a lane ends
        return min(max((due - self._clock.now()).total_seconds(), 0.0), LOOK_SECONDS)

    def _begin(self, events: list[Waiting]) -> None:
        self._taken += len(events)
        metrics.taken.set(self._taken)
        task = asyncio.create_task(self._lane(events), name=f"hooks-{events[0].lane}"[:80])
        self._lanes.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._lanes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("vendor_events_left", error=repr(error))

    async def _lane(self, events: list[Waiting]) -> None:
        ended = True
        try:
            async with self._places:
                await self._deal_with(list(events))
        except asyncio.CancelledError:
            ended = False
            raise
        finally:
            if ended:
                self._held.difference_update({event.id for event in events}.difference(self._done))
            self._taken -= len(events)
            metrics.taken.set(self._taken)
            if self._taken <= FEW_TAKEN:
                self._wake.set()

    async def _deal_with(self, left: list[Waiting]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + LANE_SECONDS
        while left and loop.time() < until:
            event = left.pop(0)
            if not await self._deal(event, left):
                return
        await self._let_go([event.id for event in left])

    async def _deal(self, event: Waiting, later: list[Waiting]) -> bool:
        """Whether those ``later`` in its lane may go on; if not, they wait as long as it does."""
        consumer = self._consumer(event.kind)
        try:
            if consumer is None:
                raise LookupError(f"nobody deals with {event.kind}")
            read = decode(event.kind, event.payload)
            async with asyncio.timeout(EVENT_SECONDS):
                await consumer(event.vendor, read)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            return await self._failed(event, later, error)
        self._done.append(event.id)
        metrics.events.labels(event.vendor, event.kind, "done").inc()
        seconds = (self._clock.now() - event.tm_create).total_seconds()
        metrics.event_seconds.labels(event.kind).observe(max(seconds, 0.0))
        return True

    async def _failed(self, event: Waiting, later: list[Waiting], error: Exception) -> bool:
        now = self._clock.now()
        given_up = now - event.tm_create >= GIVEN_UP_AFTER
        due = now + timedelta(seconds=pause(event.attempts))
        waits = now - event.tm_create < PATIENCE
        outcome = "given_up" if given_up else "failed"
        metrics.events.labels(event.vendor, event.kind, outcome).inc()
        say = log.error if given_up else log.warning
        say(
            f"vendor_event_{outcome}",
            vendor=event.vendor,
            kind=event.kind,
            event_row=event.id,
            attempts=event.attempts,
            error=repr(error)[:500],
        )
        async with self._leases, self._database.begin() as connection:
            self._held.discard(event.id)
            if given_up:
                await store.give_up(connection, event.id, now, repr(error)[:500])
            else:
                await store.put_off(connection, [event.id], due, repr(error)[:500])
            if waits and later:
                self._held.difference_update(one.id for one in later)
                await store.put_off(connection, [one.id for one in later], due)
        return not waits

    async def _finish(self) -> None:
        if not self._done:
            return
        done, self._done = self._done, []
        try:
            async with self._database.connect() as connection:
                await store.finish(connection, done, self._clock.now())
        except BaseException:
            self._done += done
            raise
        self._held.difference_update(done)

    def _consumer(self, kind: str) -> Consumer | None:
        consumer: Consumer | None = getattr(self._consumers, kind)
        return consumer


def pause(attempts: int) -> float:
    """Seconds until the next try."""
    return float(min(FIRST_PAUSE * 2 ** min(attempts - 1, 20), LAST_PAUSE))
