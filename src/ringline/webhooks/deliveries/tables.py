"""The tables of deliveries: one row for each event and endpoint, and who sees to which endpoint."""

from __future__ import annotations

import sqlalchemy as sa

from ringline.storage import metadata
from ringline.storage.types import Json, Timestamp, id_column, text_column

_NEWEST = (sa.text("tm_create DESC"), sa.text("id DESC"))

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    id_column(),
    sa.Column("webhook_id", sa.Uuid, nullable=False),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("event_id", sa.Uuid, nullable=False),
    # the event's place among all: of one resource, the order in which things happened
    sa.Column("published", sa.BigInteger, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("resource_id", sa.Uuid, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="pending"),
    text_column("reason"),
    # attempts since it was last put on its way
    sa.Column("tries", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("attempt_count", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("attempts", Json, nullable=False, server_default=sa.text("'[]'::jsonb")),
    sa.Column("tm_next", Timestamp, nullable=True),
    sa.Column("tm_expire", Timestamp, nullable=False),
    sa.Column("tm_create", Timestamp, nullable=False),
    sa.Column("tm_update", Timestamp, nullable=True),
    sa.Index("ix_webhook_deliveries_page", "customer_id", *_NEWEST),
    sa.Index("ix_webhook_deliveries_webhook", "webhook_id", *_NEWEST),
    sa.Index("ix_webhook_deliveries_resource", "resource_id", *_NEWEST),
    sa.Index(
        "ix_webhook_deliveries_pending",
        "webhook_id",
        "published",
        postgresql_where=sa.text("status = 'pending'"),
    ),
    sa.Index(
        "ix_webhook_deliveries_failed",
        "customer_id",
        *_NEWEST,
        postgresql_where=sa.text("status = 'failed'"),
    ),
)

webhook_leases = sa.Table(
    "webhook_leases",
    metadata,
    sa.Column("webhook_id", sa.Uuid, primary_key=True),
    sa.Column("worker", sa.Uuid, nullable=False),
    sa.Column("tm_expire", Timestamp, nullable=False),
    sa.Index("ix_webhook_leases_worker", "worker"),
)
