"""Webhooks of vendors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hook_events",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("vendor", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("payload", JSONB, nullable=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tm_due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tm_end", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("uq_hook_events_event", "hook_events", ["vendor", "event_id"], unique=True)
    waiting = sa.text("state = 'waiting'")
    op.create_index("ix_hook_events_due", "hook_events", ["tm_due", "id"], postgresql_where=waiting)
    op.create_index("ix_hook_events_lane", "hook_events", ["vendor", "lane", "id"], postgresql_where=waiting)
    op.create_index("ix_hook_events_age", "hook_events", ["tm_create"])


def downgrade() -> None:
    op.drop_table("hook_events")
