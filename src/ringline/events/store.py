"""The tables of events: the outbox that is the log at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import bulk, metadata
from ringline.storage.types import Timestamp, id_column

events = sa.Table(
    "events",
    metadata,
    id_column(),
    # the order in which they were written, of one resource also that in which they happened
    sa.Column("position", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("resource_id", sa.Uuid, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("activeflow_id", sa.Uuid, nullable=False),
    # as text: it is read as it was written, and never searched
    sa.Column("data", JSON(none_as_null=True), nullable=False),
    sa.Column("tm_create", Timestamp, nullable=False),
    # data is a row as a trigger saw it, to be shown as the API does before it is published (``events.rendering``)
    sa.Column("raw", sa.Boolean, nullable=False, server_default=sa.false()),
    # given by one publisher at a time, after the commit: no smaller one appears later
    sa.Column("published", sa.BigInteger, nullable=True),
    sa.Index("ix_events_waiting", "position", postgresql_where=sa.text("published IS NULL")),
    sa.Index("uq_events_published", "published", unique=True),
    sa.Index("ix_events_customer", "customer_id", "published"),
    sa.Index("ix_events_page", "customer_id", sa.text("tm_create DESC"), sa.text("id DESC")),
    sa.Index("uq_events_sequence", "resource_id", "sequence", unique=True),
)
event_sequences = sa.Table(
    "event_sequences",
    metadata,
    sa.Column("resource_id", sa.Uuid, primary_key=True),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("tm_update", Timestamp, nullable=False),
    sa.Index("ix_event_sequences_age", "tm_update"),
)
published = sa.Sequence("events_published", metadata=metadata)
"""The row of a resource in ``event_sequences`` stays locked until the commit: its events become visible in order."""

CHANNEL = "ringline_events"
"""Notified with each transaction that announces something."""

_PLAIN = "id, customer_id, type, resource, resource_id, activeflow_id, data, tm_create"


def _parts(known: str = "") -> str:
    return f"""
    given AS (
        SELECT {_PLAIN}, ordinality FROM ROWS FROM (
            json_populate_recordset(NULL::events, CAST(:rows0 AS json))
        ) WITH ORDINALITY AS fresh {known}
    ), counted AS (
        INSERT INTO event_sequences AS known (resource_id, last, tm_update)
        SELECT resource_id, count(*), max(tm_create) FROM given GROUP BY resource_id ORDER BY resource_id
        ON CONFLICT (resource_id) DO UPDATE
        SET last = known.last + excluded.last, tm_update = greatest(known.tm_update, excluded.tm_update)
        RETURNING resource_id, last
    ), numbered AS (
        SELECT given.*, counted.last - count(*) OVER whole + row_number() OVER in_order AS sequence
        FROM given JOIN counted USING (resource_id)
        WINDOW whole AS (PARTITION BY resource_id), in_order AS (PARTITION BY resource_id ORDER BY ordinality)
    ), stored AS (
        INSERT INTO events ({_PLAIN}, sequence)
        SELECT {_PLAIN}, sequence FROM numbered ORDER BY ordinality RETURNING 1
    )"""  # noqa: S608 - names of our own


_TELL = f"SELECT pg_notify('{CHANNEL}', '') FROM (SELECT count(*) FROM stored) AS done WHERE count > 0"  # noqa: S608
INSERT = sa.text(f"WITH {_parts()} {_TELL}").bindparams(sa.bindparam("rows0", type_=sa.Text))
"""Takes the rows of ``outbox.row`` (``storage.bulk.run``). Ids that are there already are an ``IntegrityError``."""

ENSURE = bulk.Last(
    _parts("WHERE NOT EXISTS (SELECT 1 FROM events AS there WHERE there.id = fresh.id)"), _TELL
)
"""The end of a statement that stores records too (``storage.bulk.together``). Of events whose ids are there already
nothing is stored: for writers who cannot know whether their last attempt was committed."""


async def known(
    connection: AsyncConnection, resource_ids: Sequence[UUID]
) -> dict[UUID, tuple[set[UUID], dict[str, Any]]]:
    """What is stored of these resources: the ids of their events, and the ``data`` of the last one."""
    found: dict[UUID, tuple[set[UUID], dict[str, Any]]] = {}
    statement = (
        sa.select(events.c.resource_id, events.c.id, events.c.data)
        .where(events.c.resource_id.in_(resource_ids))
        .order_by(events.c.sequence)
    )
    for row in await connection.execute(statement):
        resource_id = UUID(str(row.resource_id))
        ids = found.get(resource_id, (set(), {}))[0]
        found[resource_id] = ids | {UUID(str(row.id))}, row.data
    return found
