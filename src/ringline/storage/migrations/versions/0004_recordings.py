"""Recordings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)
_zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _number(name: str, kind: sa.types.TypeEngine[int] | None = None) -> sa.Column[int]:
    return sa.Column(name, kind or sa.Integer(), nullable=False, server_default=sa.text("0"))


def upgrade() -> None:
    op.create_table(
        "recordings",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("activeflow_id", sa.Uuid, nullable=False, server_default=_zero),
        sa.Column("reference_type", sa.Text, nullable=False),
        sa.Column("reference_id", sa.Uuid, nullable=False),
        _text("target"),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("format", sa.Text, nullable=False),
        _number("end_of_silence"),
        sa.Column("end_of_key", sa.Text, nullable=False, server_default="none"),
        _number("max_seconds"),
        sa.Column("on_end_flow_id", sa.Uuid, nullable=False, server_default=_zero),
        _text("reason"),
        _text("detail"),
        _number("duration_ms"),
        _number("size", sa.BigInteger()),
        sa.Column("tm_start", _moment, nullable=True),
        sa.Column("tm_end", _moment, nullable=True),
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )
    op.create_index(
        "ix_recordings_customer_page",
        "recordings",
        ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("tm_delete IS NULL"),
    )
    op.create_index("ix_recordings_reference", "recordings", ["reference_id"])
    op.create_index(
        "ix_recordings_unfinished", "recordings", ["status"], postgresql_where=sa.text("status <> 'ended'")
    )
    op.create_index(
        "ix_recordings_kept",
        "recordings",
        ["tm_end"],
        postgresql_where=sa.text("status = 'ended' AND tm_delete IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("recordings")
