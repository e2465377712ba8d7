"""Flows as their owners keep them: made, changed, deleted, and read when a call needs one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import Row

from ringline.errors import NotFound
from ringline.flows import store
from ringline.flows.snapshot import RawAction
from ringline.http import Page, PageQuery, page_of, page_statement, utc_now
from ringline.storage import Database

MAX_CACHED = 10_000


class FlowDefinitions:
    """Stored flows. What a call may need again is kept in memory until it is changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._actions: dict[tuple[UUID, UUID], list[RawAction]] = {}

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[RawAction]:
        """A flow's actions. Raises ``NotFound`` for an unknown flow and another customer's alike."""
        known = self._actions.get((customer_id, flow_id))
        if known is not None:
            return known
        row = await self.get(customer_id, flow_id)
        if len(self._actions) >= MAX_CACHED:
            self._actions.clear()
        return self._actions.setdefault((customer_id, flow_id), cast("list[RawAction]", row.actions))

    async def exists(self, customer_id: UUID, flow_id: UUID) -> bool:
        """Whether the customer has such a flow."""
        try:
            await self.actions(customer_id, flow_id)
        except NotFound:
            return False
        return True

    async def get(self, customer_id: UUID, flow_id: UUID) -> Row[Any]:
        """One flow. Raises ``NotFound``."""
        async with self._database.connect() as connection:
            row = await store.get_flow(connection, customer_id, flow_id)
        return _found(row, flow_id)

    async def list(self, customer_id: UUID, query: PageQuery, build: Callable[[Row[Any]], Any]) -> Page[Any]:
        """A page of the customer's flows, newest first."""
        statement = page_statement(store.list_flows(customer_id), store.flows, query)
        async with self._database.connect() as connection:
            rows = (await connection.execute(statement)).all()
        return page_of(rows, query, build)

    async def create(self, customer_id: UUID, fields: dict[str, Any]) -> Row[Any]:
        row = {"id": uuid4(), "customer_id": customer_id, "tm_create": utc_now(), **fields}
        async with self._database.begin() as connection:
            return await store.insert_flow(connection, row)

    async def update(self, customer_id: UUID, flow_id: UUID, changes: dict[str, Any]) -> Row[Any]:
        """Change the given fields; calls in progress keep the copy they started with. Raises ``NotFound``."""
        async with self._database.begin() as connection:
            row = await store.update_flow(
                connection, customer_id, flow_id, {**changes, "tm_update": utc_now()}
            )
        self._actions.pop((customer_id, flow_id), None)
        return _found(row, flow_id)

    async def delete(self, customer_id: UUID, flow_id: UUID) -> Row[Any]:
        """Take the flow out of sight. Raises ``NotFound``."""
        return await self.update(customer_id, flow_id, {"tm_delete": utc_now()})


def _found(row: Row[Any] | None, flow_id: UUID) -> Row[Any]:
    if row is None:
        raise NotFound(f"flow_id: there is no flow {flow_id}", reason="FLOW_NOT_FOUND")
    return row
