"""What a controller needs to go on where another one died."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_activeflows_unfinished", "activeflows", ["status"], postgresql_where=sa.text("status <> 'ended'")
    )


def downgrade() -> None:
    op.drop_index("ix_activeflows_unfinished", "activeflows")
