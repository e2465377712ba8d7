"""Writing behind: calls and activeflows reach PostgreSQL shortly after they changed.

The path of an event only marks what changed. While PostgreSQL is down the marks are kept (a call is marked once,
however often it changes), and everything is written when it is back. What another controller would need to go on is
written sooner, to Redis (``calls.live_state``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import TextClause

from ringline.calls import metrics, store, telling
from ringline.calls.call import Call
from ringline.calls.live_state import LiveState
from ringline.events import store as event_store
from ringline.events.outbox import emit_rows
from ringline.events.waiting import EventRow, WaitingEvents
from ringline.http import utc_now
from ringline.storage import Database, DatabaseUnavailable, bulk

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 0.2
"""How long changes gather: a short call is written two or three times, not once for each of its events."""
BATCH = 500
MAX_BACKOFF_SECONDS = 5.0
MAX_DEPTH = 50_000
"""Records kept in memory while PostgreSQL is away (some 3 KB each); then incoming calls are refused."""
MAX_EVENTS = 100_000
"""Events kept in memory meanwhile (some 1.5 KB each); the same then."""
LOST = "the call could not be stored"


class FlowRecord(Protocol):
    """A running flow as the journal sees it (``flows.activeflow.Activeflow``)."""

    id: UUID
    stored: bool

    @property
    def reference_id(self) -> UUID: ...

    @property
    def ended(self) -> bool: ...

    def kept(self) -> tuple[dict[str, Any], list[list[Any]]]: ...

    def row(self) -> dict[str, Any]: ...


class FlowStore(Protocol):
    """The queries of ``flows.store`` that the journal writes with."""

    UPSERT: TextClause
    UPDATE: TextClause

    def changing(self, row: dict[str, Any]) -> dict[str, Any]: ...


class Finals(Protocol):
    """Who keeps a record of its own of each call that has ended (``cdrs``), stored together with its last state."""

    INSERT: TextClause
    """Changes nothing where the record is there."""

    def row(self, call: Call) -> dict[str, Any]: ...

    def lost(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The same of the row of a call that was ended there; nothing where it cannot be made of it."""

    def written(self) -> None:
        """Some were stored. Called synchronously."""


class Journal:
    """Marks what changed, writes it in batches, and knows what was not written yet."""

    def __init__(self, database: Database, live: LiveState, flow_store: FlowStore) -> None:
        self.live = live
        self._database = database
        self._flow_store = flow_store
        self._statements: dict[tuple[bool, bool], TextClause] = {}
        self._events = WaitingEvents()
        self._announced: dict[UUID, None] = {}
        self._changed: set[UUID] = set()
        self.action_of: telling.ActionOf = telling.nothing
        """The action that a live call is at (``flows.service.FlowService.current``)."""
        self.flow_events: Callable[[FlowRecord], list[EventRow]] = lambda _: []
        """What is to be announced of a flow (``flows.telling.due``)."""
        self.ended_flow_events: Callable[[Any], list[EventRow]] = lambda _: []
        """The same of the row of one that was ended there (``flows.telling.ended``)."""
        self._finals: Finals | None = None
        self._calls: dict[UUID, Call] = {}
        self._writing: dict[UUID, Call] = {}
        self._flows: dict[UUID, FlowRecord] = {}
        self._writing_flows: dict[UUID, FlowRecord] = {}
        self._disowned: set[UUID] = set()
        self._wake_database = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()
        self._idle.set()

    def record_with(self, finals: Finals) -> None:
        """From now on whoever keeps records of ended calls has them stored in the same statement."""
        self._finals = finals
        self._statements.clear()

    @property
    def depth(self) -> int:
        """How many calls and flows wait to be written to PostgreSQL."""
        return len(self._calls) + len(self._flows)

    @property
    def full(self) -> bool:
        """Whether so much waits to be written that no further calls should be taken."""
        return self.depth >= MAX_DEPTH or len(self._events) >= MAX_EVENTS

    def touch(self, call: Call) -> None:
        """The call changed."""
        self._calls[call.id] = call
        self.live.touch(call.id)
        self._tell(call)
        self._idle.clear()
        self._wake_database.set()

    def touch_live(self, call: Call) -> None:
        """Something changed that the call's row does not show: keys pressed, a line's way to its end."""
        self.live.touch(call.id)

    def announce(self, calls: Iterable[Call]) -> None:
        """Announce what was not yet of calls whose rows are stored as they stand."""
        for call in calls:
            self._events.add(call.id, telling.due(call, self.action_of))
            self._announced[call.id] = None
        self._idle.clear()
        self._wake_database.set()

    async def recall(self, calls: Sequence[Call]) -> None:
        """The calls are a former controller's: announce what it did not come to. Raises ``DatabaseUnavailable``."""
        if not calls:
            return
        async with self._database.connect() as connection:
            known = await event_store.known(connection, [call.id for call in calls])
        for call in calls:
            ids, last = known.get(call.id, (set(), {}))
            events = [event for event in telling.due(call, self.action_of) if UUID(event["id"]) not in ids]
            if ids and not events and telling.shown_differently(call, last):
                call.shown = 0
                events = telling.updated(call, self.action_of)
            self._events.add(call.id, events)
        self.announce(calls)

    def disown(self, call_ids: Iterable[UUID]) -> None:
        """Calls whose row may or may not have been stored, and that nobody will place: end those rows."""
        self._disowned.update(call_ids)
        self._idle.clear()
        self._wake_database.set()

    def touch_flow(self, flow: FlowRecord) -> None:
        """The activeflow changed."""
        self._flows[flow.id] = flow
        self.live.touch_flow(flow)
        if events := self.flow_events(flow):
            self._events.add(flow.id, events)
        self._idle.clear()
        self._wake_database.set()

    def pending(self, call_id: UUID) -> Call | None:
        """A call whose last change has not reached PostgreSQL."""
        return self._calls.get(call_id) or self._writing.get(call_id)

    def pending_flow(self, flow_id: UUID) -> FlowRecord | None:
        """An activeflow whose last change has not reached PostgreSQL."""
        return self._flows.get(flow_id) or self._writing_flows.get(flow_id)

    def marked(self) -> tuple[list[UUID], list[FlowRecord]]:
        """What waits to be written: the ids of calls, and activeflows."""
        flows = {**self._writing_flows, **self._flows}
        return [*self._writing, *self._calls], list(flows.values())

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(
                self._loop(self._wake_database, self._write_database, INTERVAL_SECONDS),
                name="journal-database",
            )
        ]

    async def close(self, grace: float = 5.0) -> None:
        """Write what is left, then stop; says what could not be written."""
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            log.error("journal_not_written", calls=len(self._calls), flows=len(self._flows))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _loop(self, wake: asyncio.Event, write: Callable[[], Awaitable[None]], interval: float) -> None:
        backoff = interval
        while True:
            await wake.wait()
            await asyncio.sleep(backoff)
            wake.clear()
            try:
                await write()
                backoff = interval
            except Exception as error:  # noqa: BLE001 - whatever it is, what is marked stays marked
                if backoff == interval:
                    log.error("journal_write_failed", error=repr(error), waiting=self.depth)
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                wake.set()

    async def _write_database(self) -> None:
        if self._disowned:
            await self._write_disowned()
        # what changes meanwhile waits for the next turn, or each call would be written at each of its events
        for _ in range(1 + max(len(self._calls), len(self._flows), len(self._announced)) // BATCH):
            calls = [self._calls[key] for key in list(self._calls)[:BATCH]]
            flows = [self._flows[key] for key in list(self._flows)[:BATCH]]
            announced = list(self._announced)[:BATCH]
            if not calls and not flows and not announced:
                break
            # until it is committed the row is older than the call
            self._writing = {call.id: call for call in calls}
            self._writing_flows = {flow.id: flow for flow in flows}
            for call in calls:
                del self._calls[call.id]
            for flow in flows:
                del self._flows[flow.id]
            for call_id in announced:
                del self._announced[call_id]
            try:
                await self._write_announced(announced)
                await self._write_batch_or_each(calls, flows)
            except BaseException:
                # what changed again meanwhile is marked already and newer
                self._calls = {call.id: call for call in calls} | self._calls
                self._flows = {flow.id: flow for flow in flows} | self._flows
                self._announced |= dict.fromkeys(announced)
                raise
            finally:
                self._writing, self._writing_flows = {}, {}
            # a call or a flow that has ended is needed no longer where it was kept for another controller
            self.live.stored(
                (call.id for call in calls if call.ended), (flow.id for flow in flows if flow.ended)
            )
        self._rest()

    async def _write_disowned(self) -> None:
        """End the rows that nobody will: announced, and with the records that calls leave which have ended."""
        given, finals = set(self._disowned), self._finals
        async with self._database.begin() as connection:
            ended = [row._asdict() for row in await store.finish_lost(connection, utc_now(), LOST, given)]
            await emit_rows(connection, [event for row in ended for event in telling.of_row(row)])
            if finals is not None:
                records = [record for row in ended if (record := finals.lost(row)) is not None]
                if records:
                    await bulk.run(connection, finals.INSERT, records)
        if finals is not None and ended:
            finals.written()
        self._disowned -= given

    def _rest(self) -> None:
        if not (self._calls or self._flows or self._disowned or self._announced):
            self._idle.set()

    async def _write_batch_or_each(self, calls: list[Call], flows: list[FlowRecord]) -> None:
        """Write a batch; where PostgreSQL refuses what is in it, find the record that it refuses.

        One record that can never be written must not keep all others from it: it is dropped, loudly.
        """
        try:
            await self._write_batch(calls, flows)
        except (DatabaseUnavailable, OSError, asyncio.CancelledError):
            raise
        except Exception as refused:
            if len(calls) + len(flows) == 1:
                record_id = (calls[0] if calls else flows[0]).id
                if self._events.drop([record_id]):
                    # the record itself may be in order
                    log.exception("events_refused", id=str(record_id), error=repr(refused))
                    return await self._write_batch_or_each(calls, flows)
                metrics.records_dropped.inc()
                log.exception("record_refused", id=str(record_id), error=repr(refused))
                return None
            log.warning("batch_refused", error=repr(refused), records=len(calls) + len(flows))
            for call in calls:
                await self._write_batch_or_each([call], [])
            for flow in flows:
                await self._write_batch_or_each([], [flow])

    async def _write_batch(self, calls: list[Call], flows: list[FlowRecord]) -> None:
        for call in calls:
            # what changed within a fraction of a second is told at once
            if call.id in self._changed and (events := telling.updated(call, self.action_of)):
                self._events.add(call.id, events)
            self._changed.discard(call.id)
        call_rows = [call.row() for call in calls]
        new = [flow.row() for flow in flows if not flow.stored]
        known = [self._flow_store.changing(flow.row()) for flow in flows if flow.stored]
        ids = [*(call.id for call in calls), *(flow.id for flow in flows)]
        counts = self._events.counts(ids)
        ended = [] if self._finals is None else [self._finals.row(call) for call in calls if call.ended]
        batches = [
            call_rows,
            new,
            known,
            *([ended] if ended else ()),
            *([self._events.of(counts)] if counts else ()),
        ]
        async with self._database.connect() as connection:
            await bulk.run(connection, self._statement(finals=bool(ended), events=bool(counts)), *batches)
        self._events.stored(counts)
        if self._finals is not None and ended:
            self._finals.written()
        for flow in flows:
            flow.stored = True

    def _statement(self, *, finals: bool, events: bool) -> TextClause:
        """One statement for all that a batch consists of."""
        known = self._statements.get((finals, events))
        if known is None:
            parts = [store.UPSERT, self._flow_store.UPSERT, self._flow_store.UPDATE]
            if finals and self._finals is not None:
                parts.append(self._finals.INSERT)
            known = bulk.together(*parts, last=event_store.ENSURE if events else None)
            self._statements[finals, events] = known
        return known

    def _tell(self, call: Call) -> None:
        if events := telling.due(call, self.action_of):
            self._events.add(call.id, events)
            # what had changed before is told with the step
            self._changed.discard(call.id)
        else:
            self._changed.add(call.id)

    async def _write_announced(self, call_ids: Sequence[UUID]) -> None:
        """Events of calls whose rows are stored; where a row waits to be written, they go with it."""
        counts = self._events.counts(
            one for one in call_ids if one not in self._calls and one not in self._writing
        )
        if not counts:
            return
        try:
            async with self._database.connect() as connection:
                await emit_rows(connection, self._events.of(counts))
        except (DatabaseUnavailable, OSError, asyncio.CancelledError):
            raise
        except Exception as refused:
            # as below: what can never be written must not keep all others from it
            log.exception("events_refused", ids=[str(one) for one in counts][:5], error=repr(refused))
        self._events.stored(counts)
