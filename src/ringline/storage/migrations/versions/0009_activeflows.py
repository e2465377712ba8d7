"""What activeflows show of themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("message", "webhook_uri", "webhook_method"):
        op.add_column("activeflows", sa.Column(name, sa.String, nullable=False, server_default=""))
    op.create_index("ix_activeflows_flow", "activeflows", ["flow_id"])
    op.add_column(
        "flows", sa.Column("warnings", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb"))
    )


def downgrade() -> None:
    op.drop_column("flows", "warnings")
    op.drop_index("ix_activeflows_flow", "activeflows")
    for name in ("webhook_method", "webhook_uri", "message"):
        op.drop_column("activeflows", name)
