"""Traces: taken in while a call lasts, written behind once it has ended, read from wherever they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from ringline.calls.call import ZERO, Call
from ringline.calls.service import CallService
from ringline.calls.switchboard import Switchboard
from ringline.errors import NotFound
from ringline.http import utc_now
from ringline.storage import Database
from ringline.storage.behind import WriteBehind
from ringline.traces import dialogs, metrics, store
from ringline.traces.capture import Capture
from ringline.traces.dialogs import Sockets
from ringline.traces.message import pack, unpack
from ringline.traces.models import Leg
from ringline.traces.receiver import Receiver

log = structlog.get_logger(__name__)

LINGER_SECONDS = 2.0
"""After a call's end until its trace is written: the answer to BYE and the ACK of a refusal come after the event."""
WRITE_SECONDS = 1.0
"""Traces are gathered so long until they are written, all at once; nobody but who asks for one waits for it."""
MAX_LEGS = 16
MAX_BEHIND = 5_000
"""Traces that wait for PostgreSQL, some 5 KB each; while there are more, traces are not kept."""
BATCH = 1_000
MAX_BATCHES = 20


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of a call that has ended."""

    id: UUID
    customer_id: UUID
    messages: int
    dropped: int
    data: bytes
    tm_create: datetime

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "customer_id": self.customer_id,
            "messages": self.messages,
            "dropped": self.dropped,
            "size": len(self.data),
            "data": "\\x" + self.data.hex(),
            "tm_create": self.tm_create,
        }


class TraceService:
    """Copies by UDP on ``port`` of the loopback; ``days`` 0: none are taken in, and what is kept goes."""

    def __init__(
        self,
        database: Database,
        switchboard: Switchboard,
        sockets: Sockets,
        *,
        key: str,
        port: int,
        days: float,
        max_bytes: int,
    ) -> None:
        self.capture = Capture(key)
        self._database = database
        self._switchboard = switchboard
        self._sockets = sockets
        self._receiver = Receiver(port, self.capture.take)
        self._days = days
        self._max_bytes = max_bytes
        self._behind = WriteBehind(
            database, store.UPSERT, Trace.row, name="sip_traces", interval=WRITE_SECONDS
        )
        self._ended: dict[UUID, tuple[float, Call]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._refused = False
        self.calls: CallService

    @property
    def enabled(self) -> bool:
        return self._days > 0

    async def start(self) -> None:
        await self._behind.start()
        if self.enabled:
            self._switchboard.watchers.append(self._call_ended)
            self._task = asyncio.create_task(self._run(), name="traces")
            self._listen()

    async def close(self) -> None:
        """Write the traces of calls that have ended; those of calls that last begin anew with the next controller."""
        self._receiver.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _, call in list(self._ended.values()):
            self._finish(call)
        await self._behind.close()

    def _listen(self) -> None:
        """A controller that is being replaced has the port a while longer: asked again with each look."""
        if self._receiver.is_open:
            return
        try:
            self._receiver.open()
        except OSError as error:
            if not self._refused:
                log.error("sip_trace_port_not_opened", port=self._receiver.wanted, error=str(error))
            self._refused = True
        else:
            self._refused = False

    # while calls last

    def _call_ended(self, call: Call) -> None:
        if call.sip_call_id:
            self._ended[call.id] = (asyncio.get_running_loop().time() + LINGER_SECONDS, call)
            self._wake.set()

    async def _run(self) -> None:
        """One call in a turn of the loop: thousands may end at once."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ended:
                due, call = next(iter(self._ended.values()))
                await asyncio.sleep(max(due - loop.time(), 0.0))
                try:
                    self._finish(call)
                except Exception:  # what comes from the network must not end all later traces
                    log.exception(
                        "sip_trace_not_made", call_id=str(call.id), customer_id=str(call.customer_id)
                    )
                self._ended.pop(call.id, None)

    def _finish(self, call: Call) -> None:
        dialog = self.capture.dialog(call.sip_call_id)
        if dialog is None:
            return
        if self._behind.depth >= MAX_BEHIND:
            metrics.dropped.labels("behind").inc(len(dialog.packets))
            self.capture.forget(call.sip_call_id)
            return
        found = dialogs.messages(dialog.packets, self._sockets)
        part = dialogs.shown(found, call.row())
        if part:
            self._behind.touch(
                Trace(call.id, call.customer_id, len(part), dialog.dropped, pack(part), utc_now())
            )
            metrics.stored.inc()
        if not dialogs.is_internal(found):
            self.capture.forget(call.sip_call_id)

    async def look(self) -> None:
        """Every few seconds: forget what belongs to no call."""
        if self.enabled:
            self._listen()
            live = [call.sip_call_id for call in self._switchboard.calls()]
            self.capture.sweep([*live, *(call.sip_call_id for _, call in self._ended.values())])

    # reading

    async def legs(self, customer_id: UUID, call_id: UUID, *, linked: bool) -> list[Leg]:
        """A call of the customer's and, ``linked``, its master and the calls made for it. Raises ``NotFound``."""
        record, _ = await self.calls.get(customer_id, call_id)
        rows = [_row(record)]
        others = [rows[0]["master_call_id"], *rows[0]["chained_call_ids"]] if linked else []
        others = [UUID(str(one)) for one in others if one != ZERO][: MAX_LEGS - 1]
        rows += filter(None, [await self._other(customer_id, one) for one in others])
        await self._behind.written()
        self._receiver.look()
        async with self._database.connect() as connection:
            stored = await store.several(connection, customer_id, [UUID(str(row["id"])) for row in rows])
        legs = []
        for row in rows:
            kept = stored.get(UUID(str(row["id"])))
            if kept is not None:
                found = dialogs.in_order_of_cause(unpack(bytes(kept.data)))
                legs.append(Leg.of(row, found, kept.dropped))
                continue
            dialog = self.capture.dialog(row["sip_call_id"]) if row["sip_call_id"] else None
            found = [] if dialog is None else dialogs.messages(dialog.packets, self._sockets)
            found = dialogs.in_order_of_cause(dialogs.shown(found, row))
            legs.append(Leg.of(row, found, 0 if dialog is None else dialog.dropped))
        return legs

    async def _other(self, customer_id: UUID, call_id: UUID) -> dict[str, Any]:
        try:
            record, _ = await self.calls.get(customer_id, call_id)
        except NotFound:
            return {}
        return _row(record)

    # upkeep

    async def sweep(self) -> None:
        """Once in a while: what is too old goes, then what is too much, the oldest first."""
        before = utc_now() - timedelta(days=self._days)
        for _ in range(MAX_BATCHES):
            async with self._database.begin() as connection:
                gone = await store.drop_older(connection, before, BATCH)
            if gone:
                log.info("sip_traces_expired", traces=gone, days=self._days)
            if gone < BATCH:
                break
        for _ in range(MAX_BATCHES):
            async with self._database.begin() as connection:
                if await store.total_bytes(connection) <= self._max_bytes:
                    return
                gone = await store.drop_beyond(connection, self._max_bytes, BATCH)
            log.info("sip_traces_over_limit", traces=gone, bytes=self._max_bytes)
            if gone < BATCH:
                return


def _row(record: Call | Mapping[str, Any]) -> dict[str, Any]:
    return record.row() if isinstance(record, Call) else dict(record)
