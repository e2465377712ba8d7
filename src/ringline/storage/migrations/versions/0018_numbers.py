"""Numbers that are bought, suspended and paid by the month, and what is ordered for them at vendors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)
_live = sa.text("tm_delete IS NULL")
_open = sa.text("tm_end IS NULL")
_newest_first = (sa.text("tm_create DESC"), sa.text("id DESC"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def upgrade() -> None:
    op.add_column("numbers", _text("status_reason"))
    op.add_column("numbers", sa.Column("emergency_address", JSONB, nullable=True))
    for name in ("status", "type"):
        op.create_index(
            f"ix_numbers_{name}", "numbers", ["customer_id", name, *_newest_first], postgresql_where=_live
        )
    op.create_index(
        "ix_numbers_deleted",
        "numbers",
        ["customer_id", *_newest_first],
        postgresql_where=sa.text("tm_delete IS NOT NULL"),
    )
    for name, column in (
        ("renew", "tm_renew"),
        ("call_flow_id", "call_flow_id"),
        ("message_flow_id", "message_flow_id"),
    ):
        op.create_index(f"ix_numbers_{name}", "numbers", [column], postgresql_where=_live)
    _orders()


def _orders() -> None:
    op.create_table(
        "number_orders",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id"), nullable=False),
        sa.Column("number_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Text, nullable=False),
        _text("vendor"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        _text("reference"),
        _text("number_reference"),
        _text("reason"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("revision", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("period", sa.Date, nullable=True),
        sa.Column("lease", sa.Uuid, nullable=True),
        sa.Column("tm_lease", _moment, nullable=True),
        sa.Column("tm_next", _moment, nullable=False),
        sa.Column("tm_sent", _moment, nullable=True),
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_end", _moment, nullable=True),
    )
    op.create_index("ix_number_orders_due", "number_orders", ["tm_next"], postgresql_where=_open)
    op.create_index("ix_number_orders_number", "number_orders", ["number"])
    op.create_index("ix_number_orders_number_id", "number_orders", ["number_id", sa.text("tm_create DESC")])
    op.create_index(
        "ix_number_orders_reference",
        "number_orders",
        ["vendor", "reference"],
        postgresql_where=sa.text("reference <> ''"),
    )
    for name, columns, where in (
        ("ownership", ["number"], "tm_end IS NULL AND kind IN ('buy', 'release')"),
        ("configure", ["number_id"], "tm_end IS NULL AND kind = 'configure'"),
        ("renew", ["number_id", "period"], "kind = 'renew'"),
    ):
        op.create_index(
            f"uq_number_orders_{name}", "number_orders", columns, unique=True, postgresql_where=sa.text(where)
        )


def downgrade() -> None:
    op.drop_table("number_orders")
    for name in ("status", "type", "deleted", "renew", "call_flow_id", "message_flow_id"):
        op.drop_index(f"ix_numbers_{name}", "numbers")
    op.drop_column("numbers", "emergency_address")
    op.drop_column("numbers", "status_reason")
