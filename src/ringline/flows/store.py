"""The tables of flows and of flows in execution, and every query on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import bulk, metadata
from ringline.storage.types import Json, id_column, tm_columns


def _text(name: str) -> sa.Column[str]:
    # migration 0003 made these VARCHAR; ``storage.types.text_column`` is TEXT
    return sa.Column(name, sa.String, nullable=False, server_default="")


def _reference(name: str) -> sa.Column[UUID]:
    """A UUID whose 'none' is the zero UUID, as the API shows it."""
    none = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
    return sa.Column(name, sa.Uuid, nullable=False, server_default=none)


flows = sa.Table(
    "flows",
    metadata,
    id_column(),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("type", sa.String, nullable=False, server_default="flow"),
    _text("name"),
    _text("detail"),
    sa.Column("actions", Json, nullable=False),
    _reference("on_complete_flow_id"),
    sa.Column("warnings", Json, nullable=False, server_default=sa.text("'[]'::jsonb")),
    *tm_columns(),
    sa.Index("ix_flows_customer_page", "customer_id", sa.text("tm_create DESC"), sa.text("id DESC")),
)

activeflows = sa.Table(
    "activeflows",
    metadata,
    id_column(),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    _reference("flow_id"),
    _text("status"),
    _text("reason"),
    _text("message"),
    sa.Column("reference_type", sa.String, nullable=False),
    _reference("reference_id"),
    _reference("reference_activeflow_id"),
    _reference("on_complete_flow_id"),
    sa.Column("actions", Json, nullable=False),
    sa.Column("snapshot", Json, nullable=False),
    _text("webhook_uri"),
    _text("webhook_method"),
    *tm_columns(),
    sa.Index("ix_activeflows_customer_page", "customer_id", sa.text("tm_create DESC"), sa.text("id DESC")),
    sa.Index("ix_activeflows_reference", "reference_id"),
    sa.Index("ix_activeflows_flow", "flow_id"),
    sa.Index("ix_activeflows_unfinished", "status", postgresql_where=sa.text("status <> 'ended'")),
)

_CHANGING = ("status", "reason", "message", "snapshot", "tm_update", "tm_delete")
UPSERT = bulk.upsert(
    activeflows,
    (
        "id",
        "customer_id",
        "flow_id",
        "status",
        "reason",
        "message",
        "reference_type",
        "reference_id",
        "reference_activeflow_id",
        "on_complete_flow_id",
        "actions",
        "snapshot",
        "tm_create",
        "tm_update",
        "tm_delete",
    ),
    _CHANGING,
)
"""Stores activeflows that may be new; the rows are those of ``Activeflow.row``."""
UPDATE = bulk.update(activeflows, _CHANGING)
"""Stores what changes while a flow runs; the rows are those of ``changing``."""


def changing(row: dict[str, Any]) -> dict[str, Any]:
    """The part of an ``Activeflow.row`` that changes: its actions may be long, and stay as they are."""
    return {name: row[name] for name in ("id", *_CHANGING)}


async def get_flow(connection: AsyncConnection, customer_id: UUID, flow_id: UUID) -> sa.Row[Any] | None:
    """One flow of a customer that was not deleted."""
    result = await connection.execute(
        sa.select(flows).where(
            flows.c.id == flow_id, flows.c.customer_id == customer_id, flows.c.tm_delete.is_(None)
        )
    )
    return result.first()


async def unfinished(connection: AsyncConnection) -> list[sa.Row[Any]]:
    """Every activeflow that has not ended, begun or not."""
    return list(await connection.execute(sa.select(activeflows).where(activeflows.c.status != "ended")))


async def finish_activeflows(
    connection: AsyncConnection, now: datetime, reason: str, ids: Sequence[UUID]
) -> None:
    """End activeflows that nobody can go on with."""
    await connection.execute(
        sa.update(activeflows)
        .where(activeflows.c.id.in_(ids))
        .values(status="ended", reason=reason, tm_update=now)
    )


SHOWN = (
    *(
        activeflows.c[name]
        for name in (
            "id",
            "customer_id",
            "flow_id",
            "status",
            "reason",
            "message",
            "reference_type",
            "reference_id",
            "reference_activeflow_id",
            "on_complete_flow_id",
            "webhook_uri",
            "webhook_method",
            "tm_create",
            "tm_update",
            "tm_delete",
        )
    ),
    activeflows.c.snapshot["current"].label("current"),
    activeflows.c.snapshot["history"].label("history"),
)
"""What is shown of an activeflow: its actions and variables may be long and are not read."""


def list_activeflows(customer_id: UUID, filters: Mapping[str, Any]) -> sa.Select[Any]:
    """The customer's activeflows with these values, to be paged by the caller."""
    wanted = [activeflows.c[name] == value for name, value in filters.items()]
    return sa.select(*SHOWN).where(
        activeflows.c.customer_id == customer_id, activeflows.c.tm_delete.is_(None), *wanted
    )


async def get_activeflow(
    connection: AsyncConnection, customer_id: UUID, activeflow_id: UUID
) -> sa.Row[Any] | None:
    """One activeflow of a customer that was not deleted."""
    row: sa.Row[Any] | None = (
        await connection.execute(list_activeflows(customer_id, {"id": activeflow_id}))
    ).first()
    return row


async def delete_activeflow(
    connection: AsyncConnection, customer_id: UUID, activeflow_id: UUID, now: datetime
) -> None:
    """Take an activeflow out of sight."""
    await connection.execute(
        sa.update(activeflows)
        .where(activeflows.c.id == activeflow_id, activeflows.c.customer_id == customer_id)
        .values(tm_delete=now)
    )


def list_flows(customer_id: UUID) -> sa.Select[Any]:
    """The customer's flows, to be paged by the caller."""
    return sa.select(flows).where(flows.c.customer_id == customer_id, flows.c.tm_delete.is_(None))


async def insert_flow(connection: AsyncConnection, row: dict[str, Any]) -> sa.Row[Any]:
    """Store a new flow and return it."""
    result = await connection.execute(sa.insert(flows).values(**row).returning(flows))
    created: sa.Row[Any] = result.one()
    return created


async def update_flow(
    connection: AsyncConnection, customer_id: UUID, flow_id: UUID, changes: dict[str, Any]
) -> sa.Row[Any] | None:
    """Change a flow that was not deleted and return it; ``None`` where the customer has no such flow."""
    result = await connection.execute(
        sa.update(flows)
        .where(flows.c.id == flow_id, flows.c.customer_id == customer_id, flows.c.tm_delete.is_(None))
        .values(**changes)
        .returning(flows)
    )
    row: sa.Row[Any] | None = result.first()
    return row


async def of_references(connection: AsyncConnection, reference_ids: list[UUID]) -> Sequence[sa.Row[Any]]:
    """The activeflows of these calls, whatever became of them."""
    statement = sa.select(activeflows).where(activeflows.c.reference_id.in_(reference_ids))
    return (await connection.execute(statement.order_by(activeflows.c.tm_create))).all()
