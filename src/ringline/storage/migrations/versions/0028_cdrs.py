"""What calls cost, and their records."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_ZERO = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")


def _reference(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Uuid, nullable=False, server_default=_ZERO)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _number(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default=sa.text("0"))


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def _moment(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "cdrs",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        _reference("billing_account_id"),
        _reference("flow_id"),
        _reference("activeflow_id"),
        _reference("groupcall_id"),
        _reference("master_call_id"),
        _text("direction"),
        _text("type"),
        _text("source_type"),
        _text("source"),
        _text("source_name"),
        _text("destination_type"),
        _text("destination"),
        _text("destination_name"),
        _flag("anonymous"),
        _text("hangup_by"),
        _text("hangup_reason"),
        _text("hangup_detail"),
        _number("hangup_cause"),
        _number("hangup_sip_code"),
        _number("duration"),
        _number("billsec"),
        _text("cost_type"),
        _text("rate_number"),
        _number("rate_seconds"),
        _number("rate_token", sa.BigInteger),
        _number("rate_credit", sa.BigInteger),
        _number("rate_minimum"),
        _text("rate_rounding"),
        _number("billable_units"),
        _flag("bounded"),
        _number("amount_token", sa.BigInteger),
        _number("amount_credit", sa.BigInteger),
        _moment("tm_create", nullable=False),
        _moment("tm_ringing"),
        _moment("tm_progressing"),
        _moment("tm_hangup"),
        _moment("tm_settle"),
    )
    op.create_index("ix_cdrs_page", "cdrs", ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")])
    op.create_index("ix_cdrs_source", "cdrs", ["customer_id", "source", sa.text("tm_create DESC")])
    op.create_index("ix_cdrs_destination", "cdrs", ["customer_id", "destination", sa.text("tm_create DESC")])
    op.create_index("ix_cdrs_unsettled", "cdrs", ["tm_create"], postgresql_where=sa.text("tm_settle IS NULL"))


def downgrade() -> None:
    op.drop_table("cdrs")
