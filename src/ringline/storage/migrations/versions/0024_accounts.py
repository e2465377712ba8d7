"""Accounts of people: sign-up, passwords that were forgotten, customers that leave."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "agents", sa.Column("password_version", sa.Integer, nullable=False, server_default=sa.text("0"))
    )
    op.add_column("customers", sa.Column("frozen_by", sa.Text, nullable=False, server_default=""))
    op.add_column("customers", sa.Column("tm_terms_accepted", sa.DateTime(timezone=True), nullable=True))
    op.add_column("customers", sa.Column("tm_removed", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE customers SET tm_removed = tm_delete WHERE tm_delete IS NOT NULL")
    op.create_index("ix_customers_page", "customers", [sa.text("tm_create DESC"), sa.text("id DESC")])
    op.create_index(
        "ix_customers_leaving",
        "customers",
        ["tm_deletion_scheduled"],
        postgresql_where=sa.text("tm_deletion_scheduled IS NOT NULL AND tm_delete IS NULL"),
    )
    op.create_index(
        "ix_customers_removing",
        "customers",
        ["tm_delete"],
        postgresql_where=sa.text("tm_delete IS NOT NULL AND tm_removed IS NULL"),
    )
    op.create_table(
        "account_tokens",
        sa.Column("token_hash", sa.LargeBinary, primary_key=True),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column(
            "customer_id",
            sa.Uuid,
            sa.ForeignKey("customers.id", name="fk_account_tokens_customer_id_customers"),
            nullable=False,
        ),
        sa.Column(
            "agent_id",
            sa.Uuid,
            sa.ForeignKey("agents.id", name="fk_account_tokens_agent_id_agents"),
            nullable=False,
        ),
        sa.Column("tm_expire", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_account_tokens_agent_id", "account_tokens", ["agent_id"])
    op.create_index("ix_account_tokens_tm_expire", "account_tokens", ["tm_expire"])


def downgrade() -> None:
    op.drop_table("account_tokens")
    for name in ("ix_customers_removing", "ix_customers_leaving", "ix_customers_page"):
        op.drop_index(name, "customers")
    for name in ("tm_removed", "tm_terms_accepted", "frozen_by"):
        op.drop_column("customers", name)
    op.drop_column("agents", "password_version")
