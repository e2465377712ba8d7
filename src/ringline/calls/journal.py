"""Writing behind: calls and activeflows reach PostgreSQL shortly after they changed.

The path of an event only marks what changed. While PostgreSQL is down the marks are kept (a call is marked once,
however often it changes), and everything is written when it is back. What another controller would need to go on is
written sooner, to Redis (``calls.live_state``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import TextClause

from ringline.calls import metrics, store
from ringline.calls.call import Call
from ringline.calls.live_state import LiveState
from ringline.http import utc_now
from ringline.storage import Database, DatabaseUnavailable, bulk

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 0.2
"""How long changes gather: a short call is written two or three times, not once for each of its events."""
BATCH = 500
MAX_BACKOFF_SECONDS = 5.0
MAX_DEPTH = 50_000
"""Records kept in memory while PostgreSQL is away (some 3 KB each); then incoming calls are refused."""
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


class Journal:
    """Marks what changed, writes it in batches, and knows what was not written yet."""

    def __init__(self, database: Database, live: LiveState, flow_store: FlowStore) -> None:
        self.live = live
        self._database = database
        self._flow_store = flow_store
        self._statement = bulk.together(store.UPSERT, flow_store.UPSERT, flow_store.UPDATE)
        self._calls: dict[UUID, Call] = {}
        self._writing: dict[UUID, Call] = {}
        self._flows: dict[UUID, FlowRecord] = {}
        self._writing_flows: dict[UUID, FlowRecord] = {}
        self._disowned: set[UUID] = set()
        self._wake_database = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def depth(self) -> int:
        """How many calls and flows wait to be written to PostgreSQL."""
        return len(self._calls) + len(self._flows)

    @property
    def full(self) -> bool:
        """Whether so much waits to be written that no further calls should be taken."""
        return self.depth >= MAX_DEPTH

    def touch(self, call: Call) -> None:
        """The call changed."""
        self._calls[call.id] = call
        self.live.touch(call.id)
        self._idle.clear()
        self._wake_database.set()

    def touch_live(self, call: Call) -> None:
        """Something changed that the call's row does not show: keys pressed, a line's way to its end."""
        self.live.touch(call.id)

    def disown(self, call_ids: Iterable[UUID]) -> None:
        """Calls whose row may or may not have been stored, and that nobody will place: end those rows."""
        self._disowned.update(call_ids)
        self._idle.clear()
        self._wake_database.set()

    def touch_flow(self, flow: FlowRecord) -> None:
        """The activeflow changed."""
        self._flows[flow.id] = flow
        self.live.touch_flow(flow)
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
            given = set(self._disowned)
            async with self._database.connect() as connection:
                await store.finish_lost(connection, utc_now(), LOST, given)
            self._disowned -= given
        # what changes meanwhile waits for the next turn, or each call would be written at each of its events
        for _ in range(1 + max(len(self._calls), len(self._flows)) // BATCH):
            calls = [self._calls[key] for key in list(self._calls)[:BATCH]]
            flows = [self._flows[key] for key in list(self._flows)[:BATCH]]
            if not calls and not flows:
                break
            # until it is committed the row is older than the call
            self._writing = {call.id: call for call in calls}
            self._writing_flows = {flow.id: flow for flow in flows}
            for call in calls:
                del self._calls[call.id]
            for flow in flows:
                del self._flows[flow.id]
            try:
                await self._write_batch_or_each(calls, flows)
            except BaseException:
                # what changed again meanwhile is marked already and newer
                self._calls = {call.id: call for call in calls} | self._calls
                self._flows = {flow.id: flow for flow in flows} | self._flows
                raise
            finally:
                self._writing, self._writing_flows = {}, {}
            # a call or a flow that has ended is needed no longer where it was kept for another controller
            self.live.stored(
                (call.id for call in calls if call.ended), (flow.id for flow in flows if flow.ended)
            )
        self._rest()

    def _rest(self) -> None:
        if not (self._calls or self._flows or self._disowned):
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
                metrics.records_dropped.inc()
                log.exception(
                    "record_refused", id=str((calls[0] if calls else flows[0]).id), error=repr(refused)
                )
                return
            log.warning("batch_refused", error=repr(refused), records=len(calls) + len(flows))
            for call in calls:
                await self._write_batch_or_each([call], [])
            for flow in flows:
                await self._write_batch_or_each([], [flow])

    async def _write_batch(self, calls: list[Call], flows: list[FlowRecord]) -> None:
        call_rows = [call.row() for call in calls]
        new = [flow.row() for flow in flows if not flow.stored]
        known = [self._flow_store.changing(flow.row()) for flow in flows if flow.stored]
        async with self._database.connect() as connection:
            await bulk.run(connection, self._statement, call_rows, new, known)
        for flow in flows:
            flow.stored = True
