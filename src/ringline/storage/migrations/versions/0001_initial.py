"""Customers, agents, access keys, numbers, billing accounts, idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)
_live = sa.text("tm_delete IS NULL")
_paged = ("agents", "accesskeys", "numbers", "billing_accounts")

# Which changes of which columns are told to the processes that hold a copy of the table: the time of an
# access key's last use is not.
_followed = {
    "customers": "",
    "agents": "",
    "accesskeys": " OF name, detail, token_hash, tm_expire, tm_delete",
    "numbers": "",
}


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _tm() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )


def _owner() -> sa.Column[object]:
    return sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("id", sa.Uuid, primary_key=True),
        _text("name"),
        _text("detail"),
        _text("email"),
        _text("phone_number"),
        _text("address"),
        _text("webhook_method"),
        _text("webhook_uri"),
        sa.Column("billing_account_id", sa.Uuid, nullable=True),
        sa.Column("default_outgoing_source_number_id", sa.Uuid, nullable=True),
        sa.Column("domain_label", sa.Text, nullable=False),
        sa.Column("metadata", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("email_verified", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("status", sa.Text, nullable=False, server_default="active"),
        sa.Column("identity_verification_status", sa.Text, nullable=False, server_default="none"),
        sa.Column("tm_deletion_scheduled", _moment, nullable=True),
        *_tm(),
    )
    op.create_index(
        "uq_customers_domain_label", "customers", ["domain_label"], unique=True, postgresql_where=_live
    )
    op.create_table(
        "agents",
        sa.Column("id", sa.Uuid, primary_key=True),
        _owner(),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        _text("name"),
        _text("detail"),
        _text("ring_method"),
        _text("status"),
        sa.Column("permission", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("tag_ids", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("addresses", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        *_tm(),
    )
    op.create_index(
        "uq_agents_username", "agents", [sa.text("lower(username)")], unique=True, postgresql_where=_live
    )
    op.create_table(
        "accesskeys",
        sa.Column("id", sa.Uuid, primary_key=True),
        _owner(),
        sa.Column("agent_id", sa.Uuid, sa.ForeignKey("agents.id"), nullable=True),
        _text("name"),
        _text("detail"),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("token_prefix", sa.Text, nullable=False),
        sa.Column("tm_expire", _moment, nullable=True),
        sa.Column("tm_last_use", _moment, nullable=True),
        *_tm(),
    )
    op.create_index(
        "uq_accesskeys_token_hash", "accesskeys", ["token_hash"], unique=True, postgresql_where=_live
    )
    op.create_table(
        "numbers",
        sa.Column("id", sa.Uuid, primary_key=True),
        _owner(),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("call_flow_id", sa.Uuid, nullable=True),
        sa.Column("message_flow_id", sa.Uuid, nullable=True),
        _text("name"),
        _text("detail"),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("t38_enabled", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("emergency_enabled", sa.Boolean, nullable=False, server_default=sa.text("false")),
        _text("provider_name"),
        _text("provider_reference_id"),
        sa.Column("tm_purchase", _moment, nullable=True),
        sa.Column("tm_renew", _moment, nullable=True),
        *_tm(),
    )
    op.create_index("uq_numbers_number", "numbers", ["number"], unique=True, postgresql_where=_live)
    op.create_table(
        "billing_accounts",
        sa.Column("id", sa.Uuid, primary_key=True),
        _owner(),
        _text("name"),
        _text("detail"),
        _text("plan_type"),
        sa.Column("balance_credit", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("balance_token", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        _text("payment_type"),
        _text("payment_method"),
        sa.Column("tm_last_topup", _moment, nullable=True),
        sa.Column("tm_next_topup", _moment, nullable=True),
        *_tm(),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("customer_id", sa.Uuid, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request_hash", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=True),
        sa.Column("tm_lease", _moment, nullable=False),
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_expire", _moment, nullable=False),
    )
    op.create_index("ix_idempotency_keys_tm_expire", "idempotency_keys", ["tm_expire"])
    for table in _paged:
        op.create_index(
            f"ix_{table}_page",
            table,
            ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
            postgresql_where=_live,
        )
    _follow()


def _follow() -> None:
    op.execute(
        """
        CREATE FUNCTION ringline_notify() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('ringline_' || TG_TABLE_NAME, COALESCE(NEW.id, OLD.id)::text);
            RETURN NULL;
        END $$
        """
    )
    for table, columns in _followed.items():
        op.execute(
            f"CREATE TRIGGER ringline_notify AFTER INSERT OR DELETE OR UPDATE{columns} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION ringline_notify()"
        )


def downgrade() -> None:
    for table in _followed:
        op.execute(f"DROP TRIGGER ringline_notify ON {table}")
    op.execute("DROP FUNCTION ringline_notify()")
    for table in ("idempotency_keys", "billing_accounts", "numbers", "accesskeys", "agents", "customers"):
        op.drop_table(table)
