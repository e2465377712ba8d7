"""The tables of queues and of the calls in them, and every query on them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import bulk, metadata
from ringline.storage.home import home_column, is_here
from ringline.storage.types import (
    Json,
    Timestamp,
    customer_column,
    id_column,
    paging_index,
    text_column,
    tm_columns,
)


def _reference(name: str) -> sa.Column[UUID]:
    """A UUID whose 'none' is the zero UUID, as the API shows it."""
    none = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
    return sa.Column(name, sa.Uuid, nullable=False, server_default=none)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def _list(name: str) -> sa.Column[Any]:
    return sa.Column(name, Json, nullable=False, server_default=sa.text("'[]'::jsonb"))


queues = sa.Table(
    "queues",
    metadata,
    id_column(),
    customer_column(),
    text_column("name"),
    text_column("detail"),
    text_column("routing_method"),
    _list("tag_ids"),
    _reference("wait_flow_id"),
    _list("wait_actions"),
    _count("wait_timeout"),
    _count("service_timeout"),
    _count("total_incoming_count"),
    _count("total_serviced_count"),
    _count("total_abandoned_count"),
    *tm_columns(),
)
paging_index(queues)

queuecalls = sa.Table(
    "queuecalls",
    metadata,
    id_column(),
    customer_column(),
    _reference("queue_id"),
    text_column("reference_type"),
    _reference("reference_id"),
    _reference("reference_activeflow_id"),
    sa.Column("source", Json, nullable=False),
    text_column("routing_method"),
    _list("tag_ids"),
    sa.Column("status", sa.Text, nullable=False),
    text_column("end_reason"),
    _reference("service_agent_id"),
    _reference("service_call_id"),
    _count("timeout_wait"),
    _count("timeout_service"),
    _count("duration_waiting"),
    _count("duration_service"),
    sa.Column("tm_service", Timestamp, nullable=True),
    sa.Column("tm_end", Timestamp, nullable=True),
    *tm_columns(),
    home_column(),
    sa.Index(
        "ix_queuecalls_unfinished",
        "status",
        postgresql_where=sa.text("status NOT IN ('done', 'abandoned')"),
    ),
    sa.Index("ix_queuecalls_reference", "reference_id"),
)
paging_index(queuecalls)

_CHANGING = (
    "status",
    "end_reason",
    "service_agent_id",
    "service_call_id",
    "duration_waiting",
    "duration_service",
    "tm_service",
    "tm_end",
    "tm_update",
)
UPSERT = bulk.upsert(
    queuecalls,
    (
        "id",
        "customer_id",
        "queue_id",
        "reference_type",
        "reference_id",
        "reference_activeflow_id",
        "source",
        "routing_method",
        "tag_ids",
        "timeout_wait",
        "timeout_service",
        "tm_create",
        *_CHANGING,
    ),
    _CHANGING,
)
"""Stores queuecalls that may be new; the rows are those of ``Queuecall.row``."""


async def unfinished(connection: AsyncConnection) -> list[sa.Row[Any]]:
    """Queuecalls that another life of the controller left in a queue."""
    statement = sa.select(queuecalls).where(
        queuecalls.c.status.not_in(("done", "abandoned")), is_here(queuecalls)
    )
    return list((await connection.execute(statement)).all())


async def latest_of_reference(
    connection: AsyncConnection, customer_id: UUID, reference_id: UUID
) -> sa.Row[Any] | None:
    """The customer's last queuecall of a call."""
    statement = (
        sa.select(queuecalls)
        .where(
            queuecalls.c.reference_id == reference_id,
            queuecalls.c.customer_id == customer_id,
            queuecalls.c.tm_delete.is_(None),
        )
        .order_by(queuecalls.c.tm_create.desc())
        .limit(1)
    )
    row: sa.Row[Any] | None = (await connection.execute(statement)).first()
    return row
