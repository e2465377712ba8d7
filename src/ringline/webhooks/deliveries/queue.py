"""What waits for one endpoint, in memory: a bounded part of its deliveries, a lane for each resource."""

from __future__ import annotations

import heapq
from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from ringline.webhooks.deliveries.circuit import Circuit

WINDOW: Final = 2000
"""Deliveries of one endpoint in memory."""
WINDOW_BYTES: Final = 8 * 1024 * 1024
MAX_BLOCKED: Final = 20_000
"""Lanes of one endpoint that wait for another attempt; with more nothing new of it is begun."""
PIECE: Final = 50
"""Deliveries of a lane that are read at once after it was held up."""
MEMORY_BYTES: Final = 128 * 1024 * 1024
"""Deliveries of all endpoints in the memory of one process; beyond that each has a ``PIECE`` at most."""
_ROW_BYTES: Final = 700
"""About what a delivery takes besides its body."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to send; ``secrets`` sign, those that are about to end until ``former_expire``."""

    id: UUID
    customer_id: UUID
    uri: str
    method: str
    secret: bytes
    former: bytes | None = None
    tm_former_expire: datetime | None = None
    tm_failing: datetime | None = None

    def secrets(self, now: datetime) -> list[bytes]:
        """What signs at this moment, the newest first."""
        if self.former is None or self.tm_former_expire is None or self.tm_former_expire <= now:
            return [self.secret]
        return [self.secret, self.former]


@dataclass(slots=True, eq=False)
class Delivery:
    """An event on its way. ``published`` is its place; ``due`` when it may be tried (the event loop's time)."""

    id: UUID
    published: int
    resource_id: UUID
    event_id: str
    body: bytes
    tries: int
    tm_expire: datetime
    tm_create: datetime
    due: float = 0.0

    def __lt__(self, other: Delivery) -> bool:
        return self.published < other.published


@dataclass(slots=True, eq=False)
class Lane:
    """Deliveries about one resource, one after the other.

    ``partial``: there may be more of it in the database, in front of the queue's cursor. ``due``: held up until then.
    """

    resource_id: UUID
    waiting: list[Delivery] = field(default_factory=list)
    running: bool = False
    partial: bool = False
    listed: bool = False
    due: float = 0.0
    released: bool = False
    """Its first is tried as soon as it is read, whenever it is due."""


class Budget:
    """What all queues of a process have in memory together, in bytes."""

    def __init__(self, most: int = MEMORY_BYTES) -> None:
        self.most = most
        self.used = 0

    @property
    def spent(self) -> bool:
        return self.used >= self.most


class Queue:
    """The deliveries of an endpoint. It decides what may leave now; who sends them tells it how that went."""

    def __init__(self, endpoint: Endpoint, budget: Budget) -> None:
        self.endpoint = endpoint
        self._budget = budget
        self.circuit = Circuit()
        self.cursor = 0
        """What was published up to here is in memory, done, or in a lane that is partial."""
        self.more = True
        """Something may wait behind the cursor."""
        self.stopped = False
        self.disabled = False
        """Its endpoint was disabled: whoever enables it again gets another queue."""
        self.running = 0
        self.listed = False
        self.idle_since = 0.0
        self._lanes: dict[UUID, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._blocked: list[tuple[float, int, Lane]] = []
        self._blocked_count = 0
        self._count = 0
        self._reading: dict[UUID, Lane] = {}
        # by place among all events: whether it is to be tried again
        self._known: dict[int, bool] = {}
        # of what was written while a read is under way: that read may still show it as it was
        self._written: dict[int, bool] | None = None
        self._from_start = False
        self._bytes = 0

    @property
    def room(self) -> int:
        """How many more deliveries may be read."""
        if self._bytes >= WINDOW_BYTES or self._blocked_count >= MAX_BLOCKED or self.circuit.open:
            # an endpoint that is down needs no more than something to probe it with
            busy = self._ready or self._blocked_count or self._reading
            return 0 if busy else max(min(PIECE, WINDOW - len(self._known)), 0)
        return max((PIECE if self._budget.spent else WINDOW) - len(self._known), 0)

    @property
    def idle(self) -> bool:
        """Nothing is under way, waits or has yet to be written."""
        return not (self._lanes or self._known or self.more or self.running)

    @property
    def wants_more(self) -> bool:
        """Whether it is time to read: much at once, or because nothing is left."""
        if self.stopped:
            return False
        enough = WINDOW // 4 if self.running or self._ready else 1
        return (self.more and self.room >= enough) or (bool(self._reading) and bool(self._unread_now()))

    @property
    def depth(self) -> int:
        """Deliveries in memory."""
        return len(self._known)

    def begin_reading(self) -> None:
        """What is given to ``add`` and ``read`` until ``end_reading`` is read from now on."""
        self._written, self._from_start = {}, False

    def end_reading(self) -> None:
        """All that was read has been given."""
        self._written = None
        if self._from_start:
            # what waits again may have been too late for that read, and its cursor is behind it
            self._from_start = False
            self.cursor, self.more = 0, True

    def again(self, now: float) -> None:
        """Read from the beginning: deliveries of the past wait again, and what is held up is looked at now."""
        self.cursor, self.more = 0, True
        self._from_start = self._written is not None
        self._release(now)
        self.circuit.probe(now)

    def moved(self, endpoint: Endpoint, now: float) -> None:
        """It is another server now: what is known of the former one says nothing of it."""
        self.endpoint = endpoint
        self.circuit = Circuit()
        self._release(now, at_once=True)

    def discard(self) -> None:
        """It is this process's no more, and its memory is others'."""
        self.stopped = True
        self._budget.used -= self._bytes
        self._budget = Budget()

    def add(self, delivery: Delivery, now: float) -> None:
        """One that was read from behind the cursor, in order."""
        self.cursor = max(self.cursor, delivery.published)
        lane = self._lanes.get(delivery.resource_id)
        if lane is None:
            lane = self._lanes[delivery.resource_id] = Lane(delivery.resource_id)
        if lane.partial or delivery.published in self._known or self._was_written(delivery):
            self._forget(lane)
            return
        if delivery.due > now and not lane.waiting and not lane.running:
            self._hold(lane, delivery.due)
            return
        self._put(lane, delivery)
        self._list(lane)

    def unread(self, now: float) -> list[UUID]:
        """Lanes that go on now and have to be read first."""
        while self._blocked and self._blocked[0][0] <= now:
            due, _, lane = heapq.heappop(self._blocked)
            if lane.due == due:
                lane.due = 0.0
                self._blocked_count -= 1
                self._reading[lane.resource_id] = lane
        return self._unread_now()

    def read(self, resource_ids: Iterable[UUID], found: Iterable[Delivery], now: float) -> None:
        """Deliveries of lanes of ``unread``: of each the first ``PIECE``."""
        pieces: dict[UUID, list[Delivery]] = {resource_id: [] for resource_id in resource_ids}
        for delivery in found:
            pieces[delivery.resource_id].append(delivery)
        for resource_id, piece in pieces.items():
            lane = self._reading.pop(resource_id)
            # what is known has been sent, and how that went is not written yet, or was not when this was read
            if any(self._waits_again(delivery) for delivery in piece):
                self._hold(lane, now + 0.5)
                continue
            lane.partial = len(piece) == PIECE
            new = [
                delivery
                for delivery in piece
                if delivery.published not in self._known and not self._was_written(delivery)
            ]
            released, lane.released = lane.released, False
            if new and new[0].due > now and not released:
                self._hold(lane, new[0].due)
                continue
            for delivery in new:
                self._put(lane, delivery)
            if not new and lane.partial:
                self._hold(lane, now + 0.5)
                continue
            self._list(lane)
            self._forget(lane)

    def take(self, now: float) -> Delivery | None:
        """The next to be sent, if one may leave now."""
        if self.stopped or not self._ready or not self.circuit.may_send(self.running, now):
            return None
        lane = self._ready.popleft()
        lane.listed, lane.running = False, True
        self.running += 1
        return lane.waiting[0]

    def delivered(self, delivery: Delivery, now: float) -> None:
        """It has arrived. Where it was the first after many failures, all lanes go on."""
        lane = self._finish(delivery)
        if self.circuit.succeeded():
            self._release(now, at_once=True)
        self._next(lane)

    def failed(self, delivery: Delivery, due: float | None, now: float) -> None:
        """It has not arrived: to be tried at ``due``, which holds up its lane; ``None``: it has been given up."""
        lane = self._finish(delivery)
        self.circuit.failed(delivery.resource_id, now)
        if due is None:
            self._next(lane)
            return
        for waiting in lane.waiting:
            self._drop(waiting)
        lane.waiting.clear()
        self._known[delivery.published] = True
        self._hold(lane, due)

    def put_back(self, delivery: Delivery) -> None:
        """It was not sent after all."""
        lane = self._lanes[delivery.resource_id]
        lane.running = False
        self.running -= 1
        self._list(lane)

    def written(self, delivery: Delivery) -> None:
        """How it went is in the database."""
        if self._written is not None:
            self._written[delivery.published] = self._known.get(delivery.published, False)
        self._drop(delivery)

    def _unread_now(self) -> list[UUID]:
        if self.circuit.open:
            return [] if self._ready else list(self._reading)[:1]
        return list(self._reading)[: max(WINDOW - len(self._known), 0) // PIECE]

    def next_due(self) -> float | None:
        """When something may leave that may not now, if nothing else happens."""
        first = self._blocked[0][0] if self._blocked else None
        if not self.circuit.open:
            return first
        if self._ready or self._reading:
            return self.circuit.closed_until
        return None if first is None else max(first, self.circuit.closed_until)

    def _finish(self, delivery: Delivery) -> Lane:
        lane = self._lanes[delivery.resource_id]
        lane.running = False
        self.running -= 1
        lane.waiting.remove(delivery)
        return lane

    def _next(self, lane: Lane) -> None:
        if not lane.waiting and lane.partial:
            self._reading[lane.resource_id] = lane
        self._list(lane)
        self._forget(lane)

    def _put(self, lane: Lane, delivery: Delivery) -> None:
        if lane.running:
            # the first is under way: nothing comes before it
            first, *rest = lane.waiting
            insort(rest, delivery)
            lane.waiting = [first, *rest]
        else:
            insort(lane.waiting, delivery)
        self._known[delivery.published] = False
        self._count_bytes(len(delivery.body) + _ROW_BYTES)

    def _drop(self, delivery: Delivery) -> None:
        if self._known.pop(delivery.published, None) is not None:
            self._count_bytes(-len(delivery.body) - _ROW_BYTES)

    def _count_bytes(self, more: int) -> None:
        self._bytes += more
        self._budget.used += more

    def _was_written(self, delivery: Delivery) -> bool:
        return self._written is not None and delivery.published in self._written

    def _waits_again(self, delivery: Delivery) -> bool:
        place = delivery.published
        return bool(self._known.get(place) or (self._written is not None and self._written.get(place)))

    def _hold(self, lane: Lane, due: float) -> None:
        lane.partial, lane.due = True, due
        self._count += 1
        self._blocked_count += 1
        heapq.heappush(self._blocked, (due, self._count, lane))

    def _release(self, now: float, *, at_once: bool = False) -> None:
        lanes = [lane for due, _, lane in self._blocked if lane.due == due]
        self._blocked.clear()
        self._blocked_count = 0
        for lane in lanes:
            lane.released = lane.released or at_once
            self._hold(lane, now)
        if at_once:
            for lane in self._reading.values():
                lane.released = True

    def _list(self, lane: Lane) -> None:
        if lane.waiting and not lane.running and not lane.listed:
            lane.listed = True
            self._ready.append(lane)

    def _forget(self, lane: Lane) -> None:
        if not lane.waiting and not lane.running and not lane.partial:
            self._lanes.pop(lane.resource_id, None)
