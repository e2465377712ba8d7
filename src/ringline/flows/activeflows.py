"""The API's side of flows in execution: looking at them and stopping them. Live ones come from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Row

from ringline.calls.journal import FlowRecord
from ringline.errors import NotFound
from ringline.events.outbox import emit_rows
from ringline.flows import store, telling
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.shown import Shown, of_row, shown
from ringline.http import Page, PageQuery, page_of, page_statement, utc_now
from ringline.storage import Database

STOPPED = "stopped"
STOPPED_MESSAGE = "it was stopped by a request"


class Running(Protocol):
    """The flows that run (``flows.service.FlowService``)."""

    def live(self) -> Iterator[Activeflow]: ...

    async def stopped(self, activeflow: Activeflow) -> None: ...


class Writing(Protocol):
    """What has not been stored yet (``calls.journal.Journal``)."""

    def pending_flow(self, flow_id: UUID) -> FlowRecord | None: ...

    def touch_flow(self, flow: FlowRecord) -> None: ...


class Activeflows:
    """Flows in execution, and those that have ended."""

    def __init__(
        self, database: Database, journal: Writing, running: Running, hang_up: Callable[[UUID], None]
    ) -> None:
        """``hang_up`` ends the call with this id, where there is one."""
        self._database = database
        self._journal = journal
        self._running = running
        self._hang_up = hang_up

    async def get(self, customer_id: UUID, activeflow_id: UUID) -> Shown:
        """One activeflow. Raises ``NotFound``."""
        found = self._in_memory(customer_id, activeflow_id)
        if found is not None:
            return shown(found)
        async with self._database.connect() as connection:
            row = await store.get_activeflow(connection, customer_id, activeflow_id)
        if row is None:
            raise NotFound(f"There is no activeflow {activeflow_id}.", reason="ACTIVEFLOW_NOT_FOUND")
        return of_row(row)

    async def page(
        self,
        customer_id: UUID,
        query: PageQuery,
        filters: dict[str, Any],
        build: Callable[[Shown], Any],
    ) -> Page[Any]:
        """A page of the customer's activeflows, newest first; live ones as they stand now."""
        statement = page_statement(store.list_activeflows(customer_id, filters), store.activeflows, query)
        async with self._database.connect() as connection:
            rows = (await connection.execute(statement)).all()
        live = {activeflow.id: activeflow for activeflow in self._running.live()}

        def fresh(row: Row[Any]) -> Shown:
            found = live.get(row.id) or self._journal.pending_flow(row.id)
            return shown(found) if isinstance(found, Activeflow) else of_row(row)

        page = page_of(rows, query, fresh)
        # one may have moved on, or have been deleted, since its row was written
        wanted = {**filters, "tm_delete": None}
        kept = [row for row in page.result if all(row[name] == value for name, value in wanted.items())]
        return page.model_copy(update={"result": [build(row) for row in kept]})

    async def stop(self, customer_id: UUID, activeflow_id: UUID) -> Shown:
        """End a flow and hang up its call; one that has ended stays as it is. Raises ``NotFound``."""
        live = self._live(customer_id, activeflow_id)
        if live is not None and live.status is not ActiveflowStatus.ENDED:
            live.reason, live.message = live.reason or STOPPED, live.message or STOPPED_MESSAGE
            if live.reference_type == "call":
                self._hang_up(live.reference_id)
            await self._running.stopped(live)
        return await self.get(customer_id, activeflow_id)

    async def delete(self, customer_id: UUID, activeflow_id: UUID) -> Shown:
        """Stop it where it runs, and take it out of sight. Raises ``NotFound``."""
        last = await self.stop(customer_id, activeflow_id)
        now = utc_now()
        found = self._in_memory(customer_id, activeflow_id)
        if found is not None:
            found.tm_delete = now
            self._journal.touch_flow(found)
        else:
            async with self._database.begin() as connection:
                row = await store.delete_activeflow(connection, customer_id, activeflow_id, now)
                if row is not None:
                    await emit_rows(connection, [telling.event(of_row(row), "deleted", now)])
        return {**last, "tm_delete": now}

    def _in_memory(self, customer_id: UUID, activeflow_id: UUID) -> Activeflow | None:
        found = self._live(customer_id, activeflow_id) or self._journal.pending_flow(activeflow_id)
        if not isinstance(found, Activeflow) or found.customer_id != customer_id:
            return None
        if found.tm_delete is not None:
            raise NotFound(f"There is no activeflow {activeflow_id}.", reason="ACTIVEFLOW_NOT_FOUND")
        return found

    def _live(self, customer_id: UUID, activeflow_id: UUID) -> Activeflow | None:
        return next(
            (
                activeflow
                for activeflow in self._running.live()
                if activeflow.id == activeflow_id and activeflow.customer_id == customer_id
            ),
            None,
        )
