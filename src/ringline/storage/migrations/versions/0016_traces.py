"""The SIP messages of calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sip_traces",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("dropped", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
    )
    # compressed already: PostgreSQL need not try
    op.execute("ALTER TABLE sip_traces ALTER COLUMN data SET STORAGE EXTERNAL")
    op.create_index("ix_sip_traces_age", "sip_traces", ["tm_create"])


def downgrade() -> None:
    op.drop_table("sip_traces")
