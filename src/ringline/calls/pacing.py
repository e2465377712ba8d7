"""Calls that wait until their customer's pace lets them be placed: in order, and fair between customers.

A request may ask for more calls than may be placed within a second, or at once; what goes beyond that waits here.
The calls are stored, so that a successor of this controller goes on with them; while one waits it has neither a
channel nor a flow. What it asks for is judged again when it is its turn: a customer that was frozen, a number that
was given back. That it is its turn is stored first (``waiting_store.claim``), so that nobody is called twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.calls import metrics, waiting_store
from ringline.calls.call import ZERO, Call
from ringline.calls.journal import Journal
from ringline.calls.limits import RETRY_SECONDS, LimitReached, Limits
from ringline.calls.states import Status
from ringline.calls.waiting import UNSEEN, Batch, Waiting, batch_of
from ringline.clock import Clock
from ringline.errors import RinglineError
from ringline.sip.cause import Cause
from ringline.storage import Database

log = structlog.get_logger(__name__)

AT_ONCE = 100
"""Calls of one request that are placed before it is answered; more would hold up other calls."""
SHARE = 10
"""Calls of one customer that are placed in one turn, before another customer's and other work; and as many may wait
for Asterisk to say that it has them: what becomes of those nobody sees who dies now."""
POLL_SECONDS = 0.25
"""How long a turn waits that nothing wakes: for room among the calls at once, for Asterisk."""
SHORTEST_PAUSE = 0.004
TAKEN_SECONDS = 0.02
"""How long a turn waits for Asterisk to have what it was asked for."""
STALE_SECONDS = 1.0
"""How old a claim may be at the placing. A process that stood still for longer may have lost its calls (a lease of an
Asterisk lasts two seconds)."""
FORGET_SECONDS = 0.5
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Of the actions of one customer's waiting calls, each batch counted once."""


@dataclass(slots=True, eq=False)
class _Queue:
    """One customer's."""

    calls: OrderedDict[UUID, Waiting] = field(default_factory=OrderedDict)
    last: int = 0
    size: int = 0


class Pacing:
    """The queues of all customers. Synchronous but for ``insert`` and its own tasks; looks only into memory."""

    def __init__(
        self,
        database: Database,
        limits: Limits,
        journal: Journal,
        clock: Clock,
        *,
        bound: Callable[[UUID], int],
        owner: str = "",
    ) -> None:
        """``bound``: how many calls of a customer may wait. ``owner``: whose calls a start goes on with."""
        self._database = database
        self._limits = limits
        self._journal = journal
        self._clock = clock
        self._bound = bound
        self._owner = owner
        self._queues: dict[UUID, _Queue] = {}
        self._waiting: dict[UUID, Waiting] = {}
        self._coming: Counter[UUID] = Counter()
        self._done: dict[UUID, Batch] = {}
        self._sent: dict[UUID, list[Call]] = {}
        self._unseen: dict[UUID, bool] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.place: Callable[[Waiting], None]
        """Dials a call whose turn it is. Raises ``RinglineError`` where it cannot be placed."""
        self.resume: Callable[[Waiting], None]
        """Gives a call its flow that a former controller had placed."""
        self.ready: Callable[[], bool] = lambda: True
        self.taken: Callable[[Call], bool] = lambda _: True
        """Whether Asterisk has the call (or had it), by what it said."""
        self.kept: Callable[[], bool] = lambda: True
        """Puts down now what a successor has to know (``LiveState.write``); whether that can be done."""
        limits.waiting = self.behind

    # looking

    def __len__(self) -> int:
        return len(self._waiting)

    def bound(self, customer_id: UUID) -> int:
        """How many calls of the customer may wait."""
        return self._bound(customer_id)

    def waiting(self, customer_id: UUID) -> int:
        """How many calls of the customer wait, those that are being stored included."""
        queue = self._queues.get(customer_id)
        return self._coming[customer_id] + (0 if queue is None else len(queue.calls))

    def lengths(self) -> dict[UUID, int]:
        """``waiting`` of every customer of whom any do."""
        return {customer_id: self.waiting(customer_id) for customer_id in self._queues.keys() | self._coming}

    def behind(self, customer_id: UUID) -> bool:
        """Whether a call of the customer would have to queue up."""
        return customer_id in self._queues or customer_id in self._coming

    def call(self, call_id: UUID) -> Call | None:
        """The call while it waits."""
        found = self._waiting.get(call_id)
        return None if found is None else found.call

    def position(self, call_id: UUID) -> int:
        """At which place of its customer's queue a call is, 1 for the next one; 0 for one that does not wait.

        Calls before it that were hung up count until the queue has moved past them.
        """
        found = self._waiting.get(call_id)
        if found is None:
            return 0
        queue = self._queues[found.batch.customer_id].calls
        return found.number - next(iter(queue.values())).number + 1

    # queueing

    @contextlib.contextmanager
    def admit(self, customer_id: UUID, calls: int, size: int) -> Iterator[int]:
        """For the time in which a request is stored: how many of its ``calls`` may be placed at once.

        The others are to wait (``add``). Raises ``LimitReached`` where they would be too many, and takes nothing; nor
        does a request take anything that fails meanwhile.
        """
        now = 0 if self.behind(customer_id) else self._limits.grant(customer_id, min(calls, AT_ONCE))
        later = calls - now
        try:
            if later:
                self._check(customer_id, later, size)
        except LimitReached:
            self._limits.give_back(customer_id, now)
            raise
        if later:
            self._coming[customer_id] += later
        try:
            with self._limits.hold(customer_id, now):
                yield now
        except BaseException:  # cancelled, too: what was not stored is not placed
            self._limits.give_back(customer_id, now)
            raise
        finally:
            if later:
                self._coming[customer_id] -= later
                if not self._coming[customer_id]:
                    del self._coming[customer_id]

    def _check(self, customer_id: UUID, calls: int, size: int) -> None:
        bound = self._bound(customer_id)
        waiting = self.waiting(customer_id) + self._limits.others.waiting(customer_id)
        if waiting + calls > bound:
            raise self._limits.reached(
                "waiting_calls",
                bound,
                f"{bound} calls of yours may wait to be placed (waiting_calls); {waiting} do now and {calls} more"
                " are asked for. Place them later.",
                max(RETRY_SECONDS, round(self._limits.seconds(customer_id, waiting + calls - bound) + 0.5)),
            )
        queue = self._queues.get(customer_id)
        if queue is not None and queue.size + size > MAX_WAITING_BYTES:
            raise self._limits.reached(
                "waiting_bytes",
                MAX_WAITING_BYTES,
                f"The actions of your waiting calls may have {MAX_WAITING_BYTES} bytes together. Store them as a flow"
                " (POST /v1.0/flows) and name its id, or place the calls later.",
                RETRY_SECONDS,
            )

    async def insert(self, connection: AsyncConnection, batch: Batch, calls: Sequence[Call]) -> None:
        """Store that these calls wait; their rows are the caller's to insert, before."""
        rows = [{"id": call.id, "batch_id": batch.id, "index": index} for index, call in enumerate(calls)]
        await waiting_store.insert(connection, batch.row(self._clock.now(), self._owner), rows)

    def add(self, batch: Batch, calls: Iterable[Call]) -> None:
        """Queue up calls that are stored."""
        queue = self._queues.setdefault(batch.customer_id, _Queue())
        queue.size += batch.recipe.size
        for call in calls:
            queue.last += 1
            batch.left += 1
            self._waiting[call.id] = queue.calls[call.id] = Waiting(call, batch, queue.last)
        self._wake.set()

    def withdraw(self, call: Call) -> bool:
        """End a call that waits; ``False`` where it does not."""
        found = self._waiting.get(call.id)
        if found is None:
            return False
        self._remove(found)
        now = self._clock.now()
        call.advance(Status.CANCELING, now)
        call.end(Cause.NORMAL_CLEARING, now)
        self._finish(call)
        return True

    def call_ended(self, call: Call) -> None:
        """A call has ended: where one waits for its room it is its turn (``Switchboard.watchers``)."""
        if call.customer_id in self._queues:
            self._wake.set()

    # life

    async def load(self, connection: AsyncConnection, kept: Mapping[UUID, Any]) -> dict[UUID, Call]:
        """Take over what waited in a former controller, by id. Those in ``kept`` were placed, or have ended.

        What that controller had claimed, and nobody knows more of, waits until ``settle`` says what becomes of it.
        """
        rows = await waiting_store.load(connection, self._owner)
        if not rows:
            return {}
        batches = {
            UUID(str(row.id)): batch_of(row) for row in await waiting_store.batches(connection, self._owner)
        }
        taken: dict[UUID, Call] = {}
        for row in rows:
            batch = batches[UUID(str(row.batch_id))]
            call = Call.from_row(row._asdict())
            if call.id in kept or call.ended or call.activeflow_id != ZERO:
                self._done[call.id] = batch
                continue
            taken[call.id] = call
            fresh = not batch.left
            self.add(batch, [call])
            if not fresh:
                self._queues[batch.customer_id].size -= batch.recipe.size
            if call.tm_dialing is not None:
                self._waiting[call.id].claimed = call.tm_dialing
                # see ``claim``: the row changed besides where nothing else could be kept of it
                self._unseen[call.id] = call.tm_update is None
        log.info(
            "waiting_calls_taken_over",
            calls=len(taken),
            claimed=len(self._unseen),
            placed_before=len(rows) - len(taken),
        )
        return taken

    def settle(self, channels: Container[str], *, sure: bool) -> list[Call]:
        """What becomes of calls that a former controller had claimed, and had kept nothing else of.

        Those that have a channel are returned, with their flows, and wait no more. The others keep their place where
        that controller cannot have asked for them (it keeps a call before it does that, and ``sure``: what it kept
        was found), else they end: nobody is called twice.
        """
        there: list[Call] = []
        unseen, self._unseen = self._unseen, {}
        for call_id, kept in unseen.items():
            waiting = self._waiting.get(call_id)
            if waiting is None:
                continue  # hung up meanwhile
            call = waiting.call
            if call.channel_id in channels:
                self._remove(waiting)
                self.resume(waiting)
                there.append(call)
            elif kept and sure:
                call.tm_dialing = None
            else:
                self._remove(waiting)
                self._break(call, UNSEEN)
        if unseen:
            log.info("claimed_calls_settled", calls=len(unseen), there=len(there), sure=sure)
        return there

    async def start(self) -> None:
        """Begin to place calls."""
        self._tasks = [
            asyncio.create_task(self._run(), name="pacing"),
            asyncio.create_task(self._keep_forgetting(), name="pacing-forget"),
        ]

    async def close(self) -> None:
        """Place no more; what waits is the next controller's."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(RinglineError):
            await self._forget()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            while self._queues or self._sent:
                self._wake.clear()
                pause = await self._turn() if self.ready() else POLL_SECONDS
                if pause:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._wake.wait()
                else:
                    await asyncio.sleep(0)
            self._wake.clear()

    async def _turn(self) -> float:
        """Place what may be placed now, a few of each customer; how long to wait for the next turn."""
        if self._unseen:
            # Asterisk was not there when it was to be asked
            self.settle((), sure=False)
        chosen, pause = self._choose()
        with contextlib.ExitStack() as stack:
            for customer_id, calls in chosen.items():
                stack.enter_context(self._limits.hold(customer_id, len(calls)))
            claimed = await self._claim([waiting for calls in chosen.values() for waiting in calls])
        if claimed is None:
            for customer_id, calls in chosen.items():
                self._limits.give_back(customer_id, len(calls))
            return POLL_SECONDS
        unplaced = Counter({customer_id: len(calls) for customer_id, calls in chosen.items()})
        for waiting in claimed:
            # not those that were hung up meanwhile
            if waiting.call.id in self._waiting:
                unplaced[waiting.batch.customer_id] -= 1
                self._place(waiting)
        for customer_id, count in unplaced.items():
            self._limits.give_back(customer_id, count)
        # before the requests to Asterisk leave, which is when this turn of the loop is over
        self.kept()
        metrics.calls_waiting.set(len(self._waiting))
        return pause

    def _choose(self) -> tuple[dict[UUID, list[Waiting]], float]:
        """Whose turn it is, by customer, and how long to wait for the next turn."""
        chosen: dict[UUID, list[Waiting]] = {}
        self._see_taken()
        pause = TAKEN_SECONDS if self._sent else POLL_SECONDS
        for customer_id, queue in self._queues.items():
            room = max(0, SHARE - len(self._sent.get(customer_id, ())))
            wanted = min(SHARE, len(queue.calls))
            granted = self._limits.grant(customer_id, min(room, wanted))
            if granted:
                chosen[customer_id] = list(itertools.islice(queue.calls.values(), granted))
            if granted == len(queue.calls):
                continue
            if granted == wanted:
                pause = 0.0
            elif granted == room:
                pause = min(pause, TAKEN_SECONDS)
            elif wait := self._limits.seconds(customer_id, 1):
                pause = min(pause, max(SHORTEST_PAUSE, wait))
        return chosen, pause

    def _see_taken(self) -> None:
        """Of calls that Asterisk has a successor shall know that it has them: they may end while nobody looks."""
        for customer_id, calls in list(self._sent.items()):
            left = []
            for call in calls:
                if self.taken(call):
                    self._journal.touch_live(call)
                else:
                    left.append(call)
            if left:
                self._sent[customer_id] = left
            else:
                del self._sent[customer_id]

    async def _claim(self, chosen: list[Waiting]) -> list[Waiting] | None:
        """Store that it is their turn. Those that are ours to place; nothing where that cannot be known now."""
        if not chosen:
            return []
        began, now, kept = self._clock.monotonic(), self._clock.now(), self.kept()
        for waiting in chosen:
            # once more with the same time: it may have been stored without our hearing of it
            waiting.claiming = waiting.claiming or now
        try:
            async with self._database.connect() as connection:
                ours = await waiting_store.claim(connection, chosen, kept=kept)
        except RinglineError as error:
            log.warning("waiting_calls_not_claimed", calls=len(chosen), error=error.message)
            return None
        except Exception:
            log.exception("waiting_calls_not_claimed", calls=len(chosen))
            return None
        claimed = []
        for waiting in chosen:
            waiting.claimed, waiting.claiming = waiting.claiming, None
            if waiting.call.id in ours:
                claimed.append(waiting)
            elif waiting.call.id in self._waiting:
                # a successor that took this process for dead, or one of whoever deletes customers
                log.warning("waiting_call_is_anothers", call_id=str(waiting.call.id))
                self._remove(waiting)
                del self._done[waiting.call.id]
        if self._clock.monotonic() - began > STALE_SECONDS or (kept and not self.kept()):
            return None
        return claimed

    def _place(self, waiting: Waiting) -> None:
        self._remove(waiting)
        call = waiting.call
        try:
            self.place(waiting)
            self._sent.setdefault(call.customer_id, []).append(call)
        except RinglineError as refused:
            log.info("waiting_call_not_placed", call_id=str(call.id), why=refused.message)
            self._break(call, refused.message)
        except Exception as fault:
            log.exception("waiting_call_crashed", call_id=str(call.id))
            self._break(call, f"the call could not be placed: {type(fault).__name__}")

    def _break(self, call: Call, detail: str) -> None:
        if call.end_broken(self._clock.now(), detail):
            self._finish(call)

    def _finish(self, call: Call) -> None:
        metrics.ended(call.direction.value, call.hangup_reason.value).inc()
        self._journal.touch(call)

    def _remove(self, waiting: Waiting) -> None:
        batch, call_id = waiting.batch, waiting.call.id
        queue = self._queues[batch.customer_id]
        del queue.calls[call_id], self._waiting[call_id]
        batch.left -= 1
        if not batch.left:
            queue.size -= batch.recipe.size
        if not queue.calls:
            del self._queues[batch.customer_id]
        self._done[call_id] = batch

    async def _keep_forgetting(self) -> None:
        while True:
            await asyncio.sleep(FORGET_SECONDS)
            try:
                await self._forget()
            except RinglineError as error:
                log.warning("waiting_calls_not_forgotten", calls=len(self._done), error=error.message)
            except Exception:
                log.exception("waiting_calls_not_forgotten")

    async def _forget(self) -> None:
        done = dict(self._done)
        if not done:
            return
        over = {batch.id for batch in done.values() if not batch.left}
        async with self._database.begin() as connection:
            await waiting_store.forget(connection, done, over)
        for call_id in done:
            del self._done[call_id]
