"""Flows of inbound texts: each is started once, also by a controller that was killed in between.

An inbound message whose number has a flow is stored as ``pending`` with the id that its activeflow will have. It is
``started`` when that activeflow is stored; until then whoever comes looks whether there is one (running, or kept by
a controller before) and starts it only where there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.errors import NotFound, ResourceExhausted, RinglineError
from ringline.messages import facts, metrics, store
from ringline.storage import Database

log = structlog.get_logger(__name__)

BATCH: Final = 200
IDLE_SECONDS: Final = 10.0
SOON_SECONDS: Final = 0.5
ROUNDS: Final = 10
"""Batches of a turn, where customers have as many flows running as they may."""

Stored = Callable[[AsyncConnection, Sequence[UUID]], Awaitable[set[UUID]]]
"""Which of these activeflows have a row (``flows.store.stored_among``)."""


class Flows(Protocol):
    """``flows.service.FlowService``, as far as it is needed."""

    async def start_detached(
        self,
        customer_id: UUID,
        flow_id: UUID,
        *,
        reference_type: str,
        reference_id: UUID,
        variables: Mapping[str, str],
        activeflow_id: UUID,
    ) -> Any: ...

    def knows(self, activeflow_id: UUID) -> bool:
        """Whether it runs, waits to run, or waits to be written."""


class Starting:
    """One worker over the messages whose flow is pending."""

    def __init__(self, database: Database, flows: Flows, stored: Stored) -> None:
        self._database = database
        self._flows = flows
        self._stored = stored
        self._begun: set[UUID] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There is a new one."""
        self._wake.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="messages-flows")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def turn(self) -> float:
        """Start what is pending; seconds until there is something to do again, if nothing new comes."""
        full: set[UUID] = set()
        async with self._database.connect() as connection:
            rows = await self._pending(connection)
            if not rows:
                self._begun.clear()
                return IDLE_SECONDS
            for _ in range(ROUNDS):
                found = await self._start_of(connection, rows, full)
                if not found:
                    break
                # whose flows have no place now holds up nobody else's
                full |= found
                rows = await self._pending(connection, full)
        return SOON_SECONDS

    async def _pending(self, connection: AsyncConnection, full: Collection[UUID] = ()) -> list[Any]:
        home = self._database.home
        if home:
            await store.claim_flows(connection, home, BATCH)
        return await store.pending_flows(connection, BATCH, full, asterisk=home)

    async def _start_of(self, connection: AsyncConnection, rows: Sequence[Any], full: set[UUID]) -> set[UUID]:
        """Start these; the customers of whom none can be started now, beside those in ``full``."""
        # asked before the table is: what is written in between is then in the table
        here = {row.activeflow_id for row in rows if self._flows.knows(row.activeflow_id)} | self._begun
        stored = await self._stored(connection, [row.activeflow_id for row in rows])
        await store.flow_is(connection, [row.id for row in rows if row.activeflow_id in stored], "started")
        self._begun -= stored
        found: set[UUID] = set()
        for row in rows:
            if row.activeflow_id in here or row.activeflow_id in stored or row.customer_id in found | full:
                continue
            if not await self._begin(connection, row):
                found.add(row.customer_id)
        return found

    async def _begin(self, connection: AsyncConnection, row: Any) -> bool:
        """Start one; ``False`` where none of this customer can be started now."""
        number = (await store.targets_of(connection, [row.id]))[row.id][0]
        try:
            await self._flows.start_detached(
                row.customer_id,
                row.flow_id,
                reference_type="message",
                reference_id=row.id,
                variables=facts.variables(
                    row.id,
                    kind=row.type,
                    direction=row.direction,
                    text=row.text,
                    media=[one["url"] for one in row.media],
                    source=row.source,
                    destination=number.destination,
                ),
                activeflow_id=row.activeflow_id,
            )
        except ResourceExhausted:
            return False
        except NotFound as error:
            # deleted a moment ago: as if the number had none
            log.info("message_flow_missing", message_id=str(row.id), why=error.message)
            await store.flow_is(connection, [row.id], "failed")
            metrics.flows.labels("failed").inc()
        except RinglineError as error:
            log.warning("message_flow_not_started", message_id=str(row.id), why=error.message)
            return False
        else:
            self._begun.add(row.activeflow_id)
            metrics.flows.labels("started").inc()
        return True

    async def _run(self) -> None:
        while True:
            try:
                seconds = await self.turn()
            except Exception as error:  # noqa: BLE001 - whatever it is, what is pending stays pending
                log.warning("message_flows_not_started", error=repr(error))
                seconds = 2.0
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
