"""The ledger of billing accounts, which nobody can rewrite, and what is promised to what goes on."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.add_column("billing_accounts", _whole("held_credit"))
    op.add_column("billing_accounts", _whole("held_token"))
    op.create_table(
        "billings",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("position", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("transaction_type", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reference_type", sa.Text, nullable=False),
        sa.Column("reference_id", sa.Uuid, nullable=False),
        _text("cost_type"),
        _text("detail"),
        sa.Column("usage_duration", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("billable_units", sa.Integer, nullable=False, server_default=sa.text("0")),
        _whole("rate_token_per_unit"),
        _whole("rate_credit_per_unit"),
        _whole("amount_token"),
        _whole("amount_credit"),
        _whole("balance_token_snapshot"),
        _whole("balance_credit_snapshot"),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        _time("tm_billing_start", nullable=True),
        _time("tm_billing_end", nullable=True),
        _time("tm_create"),
        sa.UniqueConstraint("account_id", "idempotency_key", name="uq_billings_key"),
    )
    op.create_index(
        "ix_billings_page", "billings", ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")]
    )
    op.create_index("ix_billings_account", "billings", ["account_id", "position"])
    op.create_index("ix_billings_reference", "billings", ["reference_id"])
    op.create_table(
        "billing_holds",
        sa.Column("reference_id", sa.Uuid, primary_key=True),
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        _whole("amount_token"),
        _whole("amount_credit"),
        _time("tm_create"),
        _time("tm_expire"),
        sa.CheckConstraint("amount_token >= 0 AND amount_credit >= 0", name="ck_billing_holds_amounts"),
    )
    op.create_index("ix_billing_holds_account", "billing_holds", ["account_id"])
    op.create_index("ix_billing_holds_expire", "billing_holds", ["tm_expire"])
    # what there was before the ledger is its first entry
    op.execute("""
        INSERT INTO billings (
            id, customer_id, account_id, transaction_type, status, reference_type, reference_id, detail,
            amount_token, amount_credit, balance_token_snapshot, balance_credit_snapshot, idempotency_key,
            tm_billing_end, tm_create
        )
        SELECT gen_random_uuid(), customer_id, id, 'adjustment', 'end', 'credit_adjustment', id,
            'What the account had when its ledger began.', balance_token, balance_credit, balance_token,
            balance_credit, 'opening', now(), now()
        FROM billing_accounts WHERE balance_token <> 0 OR balance_credit <> 0
    """)
    op.execute("""
        CREATE FUNCTION ringline_refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
                USING ERRCODE = 'integrity_constraint_violation',
                HINT = 'Post an adjustment or a refund.';
        END $$
    """)
    op.execute(
        "CREATE TRIGGER ringline_append_only BEFORE UPDATE OR DELETE ON billings"
        " FOR EACH ROW EXECUTE FUNCTION ringline_refuse_rewriting()"
    )
    op.execute(
        "CREATE TRIGGER ringline_never_emptied BEFORE TRUNCATE ON billings"
        " FOR EACH STATEMENT EXECUTE FUNCTION ringline_refuse_rewriting()"
    )


def downgrade() -> None:
    op.drop_table("billing_holds")
    op.drop_table("billings")
    op.execute("DROP FUNCTION ringline_refuse_rewriting()")
    op.drop_column("billing_accounts", "held_token")
    op.drop_column("billing_accounts", "held_credit")
