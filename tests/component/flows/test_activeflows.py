"""Activeflows through the API's eyes: rows, live ones from memory, and the customer they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.calls.journal import FlowRecord
from ringline.errors import NotFound
from ringline.events.store import events
from ringline.flows import store
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.activeflows import Activeflows
from ringline.flows.activeflows_http import ActiveflowQuery, ActiveflowView
from ringline.storage import Database, bulk

NOW = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)
BEEP = {"id": str(uuid4()), "next_id": str(uuid4()), "type": "beep", "option": {}}


class Memory:
    """What runs, and what waits to be written."""

    def __init__(self) -> None:
        self.flows: list[Activeflow] = []
        self.writing: dict[UUID, Activeflow] = {}
        self.hung_up: list[UUID] = []

    def live(self) -> Iterator[Activeflow]:
        return iter([flow for flow in self.flows if flow.status is not ActiveflowStatus.ENDED])

    async def stopped(self, activeflow: Activeflow) -> None:
        activeflow.status = ActiveflowStatus.ENDED
        self.writing[activeflow.id] = activeflow

    def pending_flow(self, flow_id: UUID) -> FlowRecord | None:
        return self.writing.get(flow_id)

    def touch_flow(self, flow: FlowRecord) -> None:
        assert isinstance(flow, Activeflow)
        self.writing[flow.id] = flow


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def activeflows(database: Database, memory: Memory) -> Activeflows:
    return Activeflows(database, memory, memory, memory.hung_up.append)


def made(customer: UUID, age: int = 0, **fields: Any) -> Activeflow:
    fields = {"status": ActiveflowStatus.ENDED, "reason": "complete", "reference_id": uuid4(), **fields}
    return Activeflow(uuid4(), customer, uuid4(), [BEEP], NOW - timedelta(seconds=age), **fields)


async def stored(database: Database, *flows: Activeflow) -> None:
    async with database.begin() as connection:
        await bulk.run(connection, store.UPSERT, [flow.row() for flow in flows])


async def ids(activeflows: Activeflows, customer: UUID, **query: Any) -> list[UUID]:
    asked = ActiveflowQuery.model_validate(query)
    filters = {
        name: value
        for name in ("status", "reference_id", "flow_id", "reference_type")
        if (value := getattr(asked, name))
    }
    page = await activeflows.page(customer, asked, filters, ActiveflowView.model_validate)
    return [view.id for view in page.result]


async def test_lists_are_newest_first_filtered_and_of_one_customer(
    database: Database, activeflows: Activeflows
) -> None:
    customer = uuid4()
    old, new = made(customer, 10), made(customer, 1, status=ActiveflowStatus.RUNNING, reason="")
    await stored(database, old, new, made(uuid4()))
    assert await ids(activeflows, customer) == [new.id, old.id]
    assert await ids(activeflows, customer, status="ended") == [old.id]
    assert await ids(activeflows, customer, reference_id=str(new.reference_id)) == [new.id]
    assert await ids(activeflows, customer, flow_id=str(old.flow_id)) == [old.id]
    assert await ids(activeflows, customer, reference_type="recording") == []
    page = await activeflows.page(customer, ActiveflowQuery(page_size=1), {}, lambda shown: shown)
    assert [shown["id"] for shown in page.result] == [new.id]
    assert await ids(activeflows, customer, page_token=page.next_page_token) == [old.id]


async def test_a_row_and_a_live_one_look_alike(
    database: Database, activeflows: Activeflows, memory: Memory
) -> None:
    flow = made(uuid4(), status=ActiveflowStatus.RUNNING, reason="")
    flow.snapshot.began = NOW.timestamp()
    flow.snapshot.done(BEEP, 0.4, "failed", "NO_CALL", "there is no call")
    flow.snapshot.current = BEEP
    await stored(database, flow)
    from_row = ActiveflowView.model_validate(await activeflows.get(flow.customer_id, flow.id))
    memory.flows.append(flow)
    from_memory = ActiveflowView.model_validate(await activeflows.get(flow.customer_id, flow.id))
    assert from_row == from_memory
    assert from_row.current_action == BEEP
    assert str(from_row.forward_action_id) == BEEP["next_id"]
    (executed,) = from_row.executed_actions
    assert (executed.type, executed.duration, executed.result, executed.reason) == (
        "beep",
        400,
        "failed",
        "NO_CALL",
    )
    flow.status, flow.reason = ActiveflowStatus.ENDED, "LOOP_LIMIT"
    memory.touch_flow(flow)
    ended = ActiveflowView.model_validate(await activeflows.get(flow.customer_id, flow.id))
    assert (ended.status, ended.reason, ended.current_action) == ("ended", "LOOP_LIMIT", None)
    assert await ids(activeflows, flow.customer_id, status="running") == []


async def test_stopping_hangs_up_and_can_be_repeated(
    database: Database, activeflows: Activeflows, memory: Memory
) -> None:
    flow = made(uuid4(), status=ActiveflowStatus.RUNNING, reason="")
    await stored(database, flow)
    memory.flows.append(flow)
    for _ in range(2):
        shown = await activeflows.stop(flow.customer_id, flow.id)
        assert (shown["status"], shown["reason"]) == ("ended", "stopped")
    assert memory.hung_up == [flow.reference_id]
    ended = made(flow.customer_id)
    await stored(database, ended)
    assert (await activeflows.stop(flow.customer_id, ended.id))["reason"] == "complete"


async def test_a_recordings_flow_is_stopped_without_a_call(
    database: Database, activeflows: Activeflows, memory: Memory
) -> None:
    flow = made(uuid4(), status=ActiveflowStatus.RUNNING, reference_type="recording")
    memory.flows.append(flow)
    await activeflows.stop(flow.customer_id, flow.id)
    assert (memory.hung_up, flow.status) == ([], ActiveflowStatus.ENDED)


@pytest.mark.parametrize("live", [True, False])
async def test_what_was_deleted_is_gone(
    database: Database, activeflows: Activeflows, memory: Memory, live: bool
) -> None:
    flow = made(uuid4(), status=ActiveflowStatus.RUNNING if live else ActiveflowStatus.ENDED)
    await stored(database, flow)
    if live:
        memory.flows.append(flow)
    shown = await activeflows.delete(flow.customer_id, flow.id)
    assert shown["tm_delete"] is not None
    if not live:
        # one in memory is announced by the journal
        async with database.connect() as connection:
            told = sa.select(events.c.type).where(events.c.resource_id == flow.id)
            assert list(await connection.scalars(told)) == ["activeflow_deleted"]
    for _ in range(2):
        with pytest.raises(NotFound):
            await activeflows.get(flow.customer_id, flow.id)
        assert await ids(activeflows, flow.customer_id) == []
        # once what was pending has been written
        await stored(database, *memory.writing.values())
        memory.writing.clear()
        memory.flows.clear()


async def test_another_customers_is_not_found(
    database: Database, activeflows: Activeflows, memory: Memory
) -> None:
    row, live = made(uuid4()), made(uuid4(), status=ActiveflowStatus.RUNNING)
    await stored(database, row)
    memory.flows.append(live)
    for flow in (row, live):
        for method in (activeflows.get, activeflows.stop, activeflows.delete):
            with pytest.raises(NotFound):
                await method(uuid4(), flow.id)
    assert memory.hung_up == []
    assert (await activeflows.get(live.customer_id, live.id))["status"] == "running"
