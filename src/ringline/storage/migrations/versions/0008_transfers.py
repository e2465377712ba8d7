"""Transfers, and what a call hears on hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)
_FLAGS = ("hold", "moh", "silence")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=False, server_default="")


def _reference(name: str) -> sa.Column[object]:
    zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
    return sa.Column(name, sa.Uuid, nullable=False, server_default=zero)


def upgrade() -> None:
    for name in _FLAGS:
        op.add_column("calls", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.create_table(
        "transfers",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        _text("type"),
        _text("status"),
        _text("detail"),
        _reference("transferer_call_id"),
        _reference("transferred_call_id"),
        sa.Column("transferee_addresses", JSONB, nullable=False),
        _reference("transferee_call_id"),
        _reference("groupcall_id"),
        _reference("confbridge_id"),
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )
    op.create_index(
        "ix_transfers_customer_page",
        "transfers",
        ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
    )
    op.create_index(
        "ix_transfers_unfinished",
        "transfers",
        ["status"],
        postgresql_where=sa.text("status in ('dialing', 'consulting')"),
    )


def downgrade() -> None:
    op.drop_table("transfers")
    for name in _FLAGS:
        op.drop_column("calls", name)
