"""The tables of flows and of flows in execution, and every query on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import bulk, metadata
from ringline.storage.home import home_column, is_here
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
    home_column(),
    sa.Index("ix_activeflows_customer_page", "customer_id", sa.text("tm_create DESC"), sa.text("id DESC")),
    sa.Index("ix_activeflows_reference", "reference_id"),
    sa.Index("ix_activeflows_flow", "flow_id"),
    sa.Index("ix_activeflows_webhook", "id", postgresql_where=sa.text("webhook_uri <> ''")),
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
        "webhook_uri",
        "webhook_method",
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


async def hold_flow(connection: AsyncConnection, customer_id: UUID, flow_id: UUID) -> bool:
    """Whether the customer has the flow; if so it cannot be deleted until the transaction ends."""
    statement = sa.select(flows.c.id).where(
        flows.c.id == flow_id, flows.c.customer_id == customer_id, flows.c.tm_delete.is_(None)
    )
    return (await connection.execute(statement.with_for_update(read=True))).first() is not None


async def unfinished(connection: AsyncConnection) -> list[sa.Row[Any]]:
    """Every activeflow here that has not ended, begun or not."""
    statement = sa.select(activeflows).where(activeflows.c.status != "ended", is_here(activeflows))
    return list(await connection.execute(statement))


async def stored_among(connection: AsyncConnection, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these activeflows have a row."""
    statement = sa.select(activeflows.c.id).where(activeflows.c.id.in_(ids))
    return set((await connection.execute(statement)).scalars())


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


async def finish_activeflows(
    connection: AsyncConnection, now: datetime, reason: str, ids: Sequence[UUID]
) -> list[sa.Row[Any]]:
    """End activeflows that nobody can go on with; what is shown of them then."""
    statement = (
        sa.update(activeflows)
        .where(activeflows.c.id.in_(ids))
        .values(status="ended", reason=reason, tm_update=now)
        .returning(*SHOWN)
    )
    return list(await connection.execute(statement))


async def delete_activeflow(
    connection: AsyncConnection, customer_id: UUID, activeflow_id: UUID, now: datetime
) -> sa.Row[Any] | None:
    """Take an activeflow out of sight; what is shown of it then."""
    statement = (
        sa.update(activeflows)
        .where(activeflows.c.id == activeflow_id, activeflows.c.customer_id == customer_id)
        .values(tm_delete=now)
        .returning(*SHOWN)
    )
    row: sa.Row[Any] | None = (await connection.execute(statement)).first()
    return row


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
