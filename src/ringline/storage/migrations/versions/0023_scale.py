"""Indexes found wanting with a million messages: what one number texted another, and who wants no texts of whom."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_NEWEST = (sa.text("tm_create DESC"), sa.text("id DESC"))


def upgrade() -> None:
    op.create_index(
        "ix_message_targets_pair",
        "message_targets",
        [
            "customer_id",
            "destination_number",
            "source_number",
            sa.text("tm_create DESC"),
            sa.text("message_id DESC"),
        ],
        postgresql_where=sa.text("tm_delete IS NULL"),
    )
    for name in ("number", "handset"):
        op.create_index(
            f"ix_message_optouts_{name}",
            "message_optouts",
            ["customer_id", name, *_NEWEST],
            postgresql_where=sa.text("tm_delete IS NULL"),
        )


def downgrade() -> None:
    op.drop_index("ix_message_targets_pair", "message_targets")
    for name in ("number", "handset"):
        op.drop_index(f"ix_message_optouts_{name}", "message_optouts")
