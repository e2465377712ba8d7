"""Texts in and out, and who wants none."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)
_live = sa.text("tm_delete IS NULL")
_newest = (sa.text("tm_create DESC"), sa.text("id DESC"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0"))


def _none(name: str) -> sa.Column[Any]:
    zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
    return sa.Column(name, sa.Uuid, nullable=False, server_default=zero)


def _customer() -> sa.Column[Any]:
    return sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id"), nullable=False)


def _times() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )


def upgrade() -> None:
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid, primary_key=True),
        _customer(),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("type", "direction", "status")),
        sa.Column("source", JSONB, nullable=False),
        sa.Column("source_number", sa.Text, nullable=False),
        _text("text"),
        sa.Column("media", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        _text("vendor"),
        _text("reference"),
        _none("flow_id"),
        _text("flow_state"),
        _none("activeflow_id"),
        _count("hops"),
        sa.Column("automatic", sa.Boolean, nullable=False, server_default=sa.text("false")),
        *_times(),
    )
    op.create_index("ix_messages_page", "messages", ["customer_id", *_newest], postgresql_where=_live)
    for name in ("direction", "status", "source_number"):
        op.create_index(
            f"ix_messages_{name}", "messages", ["customer_id", name, *_newest], postgresql_where=_live
        )
    op.create_index(
        "ix_messages_flow", "messages", ["tm_create"], postgresql_where=sa.text("flow_state = 'pending'")
    )
    op.create_table(
        "message_targets",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("message_id", sa.Uuid, sa.ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("source_number", sa.Text, nullable=False),
        sa.Column("destination", JSONB, nullable=False),
        sa.Column("destination_number", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        _text("reason"),
        _text("detail"),
        _count("parts"),
        _text("vendor"),
        _text("reference"),
        _text("step"),
        _count("tries"),
        sa.Column("tm_due", _moment, nullable=True),
        sa.Column("tm_handed", _moment, nullable=True),
        *_times(),
    )
    op.create_index("uq_message_targets_position", "message_targets", ["message_id", "position"], unique=True)
    op.create_index(
        "ix_message_targets_destination",
        "message_targets",
        ["customer_id", "destination_number", sa.text("tm_create DESC"), sa.text("message_id DESC")],
        postgresql_where=_live,
    )
    op.create_index(
        "ix_message_targets_due", "message_targets", ["tm_due"], postgresql_where=sa.text("step <> ''")
    )
    op.create_index(
        "ix_message_targets_reference",
        "message_targets",
        ["vendor", "reference"],
        postgresql_where=sa.text("reference <> ''"),
    )
    op.create_table(
        "message_optouts",
        sa.Column("id", sa.Uuid, primary_key=True),
        _customer(),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("handset", sa.Text, nullable=False),
        *_times(),
    )
    op.create_index(
        "uq_message_optouts_pair",
        "message_optouts",
        ["customer_id", "number", "handset"],
        unique=True,
        postgresql_where=_live,
    )
    op.create_index(
        "ix_message_optouts_page", "message_optouts", ["customer_id", *_newest], postgresql_where=_live
    )


def downgrade() -> None:
    for name in ("message_optouts", "message_targets", "messages"):
        op.drop_table(name)
