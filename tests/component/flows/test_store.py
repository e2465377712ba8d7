"""Activeflows in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa

from ringline.flows import store
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.storage import Database, bulk

NOW = datetime(2026, 11, 21, 22, 5, 1, 123456, tzinfo=UTC)


async def test_a_restart_ends_every_activeflow_that_has_not_ended(database: Database) -> None:
    customer = uuid4()
    made = {
        status: Activeflow(uuid4(), customer, uuid4(), [{"type": "beep"}], NOW, status=status)
        for status in ActiveflowStatus
    }
    made[ActiveflowStatus.ENDED].reason = "complete"
    async with database.begin() as connection:
        await bulk.run(connection, store.UPSERT, [flow.row() for flow in made.values()])
        assert await store.finish_activeflows(connection, NOW, "controller_restarted") >= 2
        table = store.activeflows
        rows = (await connection.execute(sa.select(table).where(table.c.customer_id == customer))).all()
    ends = {row.id: (row.status, row.reason, row.tm_update) for row in rows}
    assert ends == {
        made[ActiveflowStatus.NONE].id: ("ended", "controller_restarted", NOW),
        made[ActiveflowStatus.RUNNING].id: ("ended", "controller_restarted", NOW),
        made[ActiveflowStatus.ENDED].id: ("ended", "complete", None),
    }
