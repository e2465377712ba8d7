"""Flows, flows in execution, calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False, server_default="")


def _reference(name: str) -> sa.Column[object]:
    """A UUID whose 'none' is the zero UUID, as the API shows it."""
    zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
    return sa.Column(name, sa.Uuid, nullable=False, server_default=zero)


def _tm() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )


def upgrade() -> None:
    op.create_table(
        "flows",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("type", sa.String, nullable=False, server_default="flow"),
        _text("name"),
        _text("detail"),
        sa.Column("actions", JSONB, nullable=False),
        _reference("on_complete_flow_id"),
        *_tm(),
    )
    op.create_table(
        "activeflows",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        _reference("flow_id"),
        _text("status"),
        _text("reason"),
        sa.Column("reference_type", sa.String, nullable=False),
        _reference("reference_id"),
        _reference("reference_activeflow_id"),
        _reference("on_complete_flow_id"),
        sa.Column("actions", JSONB, nullable=False),
        sa.Column("snapshot", JSONB, nullable=False),
        *_tm(),
    )
    op.create_index("ix_activeflows_reference", "activeflows", ["reference_id"])
    op.create_table(
        "calls",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        _reference("flow_id"),
        _reference("activeflow_id"),
        _text("type"),
        _reference("master_call_id"),
        sa.Column("chained_call_ids", ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'")),
        _reference("recording_id"),
        sa.Column("recording_ids", ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'")),
        _reference("groupcall_id"),
        sa.Column("source", JSONB, nullable=False),
        sa.Column("destination", JSONB, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("direction", sa.String, nullable=False),
        _text("mute_direction"),
        sa.Column("anonymous", sa.Boolean, nullable=False, server_default=sa.text("false")),
        _text("channel_id"),
        _text("sip_call_id"),
        _text("hangup_by"),
        _text("hangup_reason"),
        sa.Column("hangup_cause", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("hangup_sip_code", sa.Integer, nullable=False, server_default=sa.text("0")),
        _text("hangup_detail"),
        sa.Column("failures", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_ringing", _moment, nullable=True),
        sa.Column("tm_progressing", _moment, nullable=True),
        sa.Column("tm_hangup", _moment, nullable=True),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )
    op.create_index(
        "ix_calls_unfinished", "calls", ["status"], postgresql_where=sa.text("status <> 'hangup'")
    )
    for table in ("flows", "activeflows", "calls"):
        op.create_index(
            f"ix_{table}_customer_page",
            table,
            ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
        )


def downgrade() -> None:
    for table in ("calls", "activeflows", "flows"):
        op.drop_table(table)
