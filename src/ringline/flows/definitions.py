"""Flows as their owners keep them: made, changed, deleted, and read when a call needs one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import orjson
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.calls.call import ZERO
from ringline.errors import InvalidArgument, NotFound
from ringline.flows import store
from ringline.flows.snapshot import RawAction
from ringline.http import Page, PageQuery, page_of, page_statement, utc_now
from ringline.storage import Database

MAX_CACHED_BYTES = 16 * 1024 * 1024
"""Of all flows kept in memory, as JSON; in memory they take some five times as much."""

MAX_COMPLETIONS = 50_000
"""Flows with a flow on completion that are remembered."""


Forget = Callable[[AsyncConnection, UUID, UUID], Awaitable[object]]
"""Lets go of a flow, given its customer and id, in the transaction that deletes it."""


class FlowDefinitions:
    """Stored flows. What a call may need again is kept in memory until it is changed."""

    def __init__(self, database: Database, *, forgetting: Sequence[Forget] = ()) -> None:
        """``forgetting``: others that name flows (numbers), and no longer name one that is deleted."""
        self._database = database
        self._forgetting = forgetting
        self._cache = _Cache()
        self._completions: dict[tuple[UUID, UUID], UUID] = {}

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[RawAction]:
        """A flow's actions. Raises ``NotFound`` for an unknown flow and another customer's alike."""
        known = self._cache.get((customer_id, flow_id))
        if known is not None:
            return known
        generation = self._cache.generation
        row = await self.get(customer_id, flow_id)
        actions = cast("list[RawAction]", row.actions)
        self._note_completion((customer_id, flow_id), row.on_complete_flow_id)
        # what was read before a change would be kept for ever
        if generation == self._cache.generation:
            self._cache.put((customer_id, flow_id), actions)
        return actions

    def on_complete(self, customer_id: UUID, flow_id: UUID) -> UUID:
        """The flow to run on completion of one whose ``actions`` were just read; zero: none."""
        return self._completions.get((customer_id, flow_id), ZERO)

    def _note_completion(self, key: tuple[UUID, UUID], on_complete: UUID) -> None:
        self._completions.pop(key, None)
        if on_complete != ZERO:
            self._completions[key] = on_complete
            if len(self._completions) > MAX_COMPLETIONS:
                del self._completions[next(iter(self._completions))]

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

    async def check_completion(self, customer_id: UUID, flow_id: UUID, *, of: UUID | None = None) -> None:
        """Whether a flow can be that on completion (of the flow ``of``). Raises ``NotFound``, ``InvalidArgument``."""
        if flow_id == ZERO:
            return
        if flow_id == of:
            raise InvalidArgument("on_complete_flow_id: a flow cannot be its own flow on completion")
        if not await self.exists(customer_id, flow_id):
            raise NotFound(f"on_complete_flow_id: there is no flow {flow_id}", reason="FLOW_NOT_FOUND")

    async def create(self, customer_id: UUID, fields: dict[str, Any]) -> Row[Any]:
        row = {"id": uuid4(), "customer_id": customer_id, "tm_create": utc_now(), **fields}
        async with self._database.begin() as connection:
            return await store.insert_flow(connection, row)

    async def update(self, customer_id: UUID, flow_id: UUID, changes: dict[str, Any]) -> Row[Any]:
        """Change the given fields; calls in progress keep the copy they started with. Raises ``NotFound``."""
        return await self._change(customer_id, flow_id, changes)

    async def delete(self, customer_id: UUID, flow_id: UUID) -> Row[Any]:
        """Take the flow out of sight, and off the numbers that it answers. Raises ``NotFound``."""
        return await self._change(customer_id, flow_id, {"tm_delete": utc_now()}, self._forgetting)

    async def _change(
        self, customer_id: UUID, flow_id: UUID, changes: dict[str, Any], forgetting: Iterable[Forget] = ()
    ) -> Row[Any]:
        try:
            async with self._database.begin() as connection:
                row = await store.update_flow(
                    connection, customer_id, flow_id, {**changes, "tm_update": utc_now()}
                )
                for forget in forgetting if row is not None else ():
                    await forget(connection, customer_id, flow_id)
        finally:
            # a commit whose answer was lost may have happened
            self._cache.drop((customer_id, flow_id))
            self._completions.pop((customer_id, flow_id), None)
        return _found(row, flow_id)


class _Cache:
    """Actions by customer and flow, the oldest given up for new ones; ``generation`` counts changes."""

    def __init__(self) -> None:
        self.generation = 0
        self.size = 0
        self._entries: dict[tuple[UUID, UUID], tuple[list[RawAction], int]] = {}

    def get(self, key: tuple[UUID, UUID]) -> list[RawAction] | None:
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def put(self, key: tuple[UUID, UUID], actions: list[RawAction]) -> None:
        self._remove(key)
        size = len(orjson.dumps(actions))
        if size > MAX_CACHED_BYTES // 4:
            return
        self._entries[key] = actions, size
        self.size += size
        while self.size > MAX_CACHED_BYTES:
            self._remove(next(iter(self._entries)))

    def drop(self, key: tuple[UUID, UUID]) -> None:
        """The flow was changed, or may have been."""
        self.generation += 1
        self._remove(key)

    def _remove(self, key: tuple[UUID, UUID]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= entry[1]


def _found(row: Row[Any] | None, flow_id: UUID) -> Row[Any]:
    if row is None:
        raise NotFound(f"flow_id: there is no flow {flow_id}", reason="FLOW_NOT_FOUND")
    return row
