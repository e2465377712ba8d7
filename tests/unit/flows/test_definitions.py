"""Flows kept in memory: never older than the table, never more than so much."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

import pytest

from ringline.errors import NotFound
from ringline.flows import definitions, store
from ringline.flows.definitions import FlowDefinitions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ringline.storage import Database

CUSTOMER = uuid4()
OLD, NEW = [{"type": "old"}], [{"type": "new"}]


class Table:
    """The queries of ``flows.store`` on a dictionary; a read can be held between its row and its answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[UUID, list[dict[str, Any]]] = {}
        self.reads = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.fails_after_commit = False
        monkeypatch.setattr(store, "get_flow", self.get)
        monkeypatch.setattr(store, "update_flow", self.update)
        self.flows = FlowDefinitions(cast("Database", self))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        yield
        if self.fails_after_commit:
            raise ConnectionError("the answer to the commit was lost")

    async def get(self, connection: None, customer_id: UUID, flow_id: UUID) -> Any:
        self.reads += 1
        row = self.rows.get(flow_id)
        await self.answers.wait()
        return (
            None
            if row is None or customer_id != CUSTOMER
            else SimpleNamespace(actions=row, on_complete_flow_id=UUID(int=0))
        )

    async def update(
        self, connection: None, customer_id: UUID, flow_id: UUID, changes: dict[str, Any]
    ) -> Any:
        if "tm_delete" in changes:
            row = self.rows.pop(flow_id)
        else:
            row = self.rows[flow_id] = changes["actions"]
        return SimpleNamespace(actions=row, on_complete_flow_id=UUID(int=0))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    return Table(monkeypatch)


async def test_a_flow_is_read_once(table: Table) -> None:
    table.rows[flow := uuid4()] = OLD
    assert [await table.flows.actions(CUSTOMER, flow) for _ in range(3)] == [OLD] * 3
    assert table.reads == 1
    with pytest.raises(NotFound):
        await table.flows.actions(uuid4(), flow)


async def test_a_row_read_before_a_change_is_not_kept_after_it(table: Table) -> None:
    table.rows[flow := uuid4()] = OLD
    table.answers.clear()
    reading = asyncio.create_task(table.flows.actions(CUSTOMER, flow))
    await asyncio.sleep(0)
    await table.flows.update(CUSTOMER, flow, {"actions": NEW})
    table.answers.set()
    assert await reading == OLD
    assert await table.flows.actions(CUSTOMER, flow) == NEW


async def test_a_change_and_a_deletion_are_seen_at_once(table: Table) -> None:
    table.rows[flow := uuid4()] = OLD
    await table.flows.actions(CUSTOMER, flow)
    await table.flows.update(CUSTOMER, flow, {"actions": NEW})
    assert await table.flows.actions(CUSTOMER, flow) == NEW
    await table.flows.delete(CUSTOMER, flow)
    assert not await table.flows.exists(CUSTOMER, flow)


async def test_a_change_whose_commit_is_in_doubt_counts(table: Table) -> None:
    table.rows[flow := uuid4()] = OLD
    await table.flows.actions(CUSTOMER, flow)
    table.fails_after_commit = True
    with pytest.raises(ConnectionError):
        await table.flows.update(CUSTOMER, flow, {"actions": NEW})
    assert await table.flows.actions(CUSTOMER, flow) == NEW


async def test_what_is_kept_is_bounded_by_its_size(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "MAX_CACHED_BYTES", 10_000)
    flows = [uuid4() for _ in range(20)]
    for flow in flows:
        table.rows[flow] = [{"text": "x" * 1000}]
        await table.flows.actions(CUSTOMER, flow)
    assert 8_000 < table.flows._cache.size <= 10_000
    await table.flows.actions(CUSTOMER, flows[-1])
    assert table.reads == 20
    await table.flows.actions(CUSTOMER, flows[0])
    assert table.reads == 21
    table.rows[huge := uuid4()] = [{"text": "x" * 20_000}]
    assert await table.flows.actions(CUSTOMER, huge) == table.rows[huge]
    assert table.flows._cache.size > 8_000, "one flow drove out all others"
