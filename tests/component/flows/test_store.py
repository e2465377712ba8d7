"""Activeflows in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa

from ringline.flows import store
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.storage import Database, bulk

NOW = datetime(2026, 11, 21, 22, 5, 1, 123456, tzinfo=UTC)


async def test_activeflows_that_have_not_ended_are_found_and_can_be_ended(database: Database) -> None:
    customer = uuid4()
    made = {
        status: Activeflow(uuid4(), customer, uuid4(), [{"type": "beep"}], NOW, status=status)
        for status in ActiveflowStatus
    }
    made[ActiveflowStatus.ENDED].reason = "complete"
    async with database.begin() as connection:
        await bulk.run(connection, store.UPSERT, [flow.row() for flow in made.values()])
        mine = [row for row in await store.unfinished(connection) if row.customer_id == customer]
        assert {row.id for row in mine} == {
            flow.id for status, flow in made.items() if status is not ActiveflowStatus.ENDED
        }
        found = {row.id: Activeflow.from_row(row._asdict()) for row in mine}
        assert all(flow.row() == made[ActiveflowStatus(flow.status)].row() for flow in found.values())
        await store.finish_activeflows(connection, NOW, "controller_restarted", list(found))
        table = store.activeflows
        rows = (await connection.execute(sa.select(table).where(table.c.customer_id == customer))).all()
    ends = {row.id: (row.status, row.reason, row.tm_update) for row in rows}
    assert ends == {
        made[ActiveflowStatus.NONE].id: ("ended", "controller_restarted", NOW),
        made[ActiveflowStatus.RUNNING].id: ("ended", "controller_restarted", NOW),
        made[ActiveflowStatus.ENDED].id: ("ended", "complete", None),
    }
