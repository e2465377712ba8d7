"""Events: the outbox and the order within each resource."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("events_published")))
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("position", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Uuid, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("activeflow_id", sa.Uuid, nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published", sa.BigInteger, nullable=True),
    )
    op.create_index(
        "ix_events_waiting", "events", ["position"], postgresql_where=sa.text("published IS NULL")
    )
    op.create_index("uq_events_published", "events", ["published"], unique=True)
    op.create_index("ix_events_customer", "events", ["customer_id", "published"])
    op.create_index(
        "ix_events_page", "events", ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")]
    )
    op.create_index("uq_events_sequence", "events", ["resource_id", "sequence"], unique=True)
    op.create_table(
        "event_sequences",
        sa.Column("resource_id", sa.Uuid, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("tm_update", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_event_sequences_age", "event_sequences", ["tm_update"])


def downgrade() -> None:
    op.drop_table("event_sequences")
    op.drop_table("events")
    op.execute(sa.schema.DropSequence(sa.Sequence("events_published")))
