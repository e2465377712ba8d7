"""Keys that sign logins, logins taken back, limits of customers, and calls that wait for their turn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)
_followed = ("signing_keys", "revoked_tokens", "customer_limits")


def _tm() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )


def _limit(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0"))


def upgrade() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("tm_sign", _moment, nullable=False),
        sa.Column("tm_expire", _moment, nullable=True),
        *_tm(),
    )
    op.create_table(
        "revoked_tokens",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("agent_id", sa.Uuid, nullable=False),
        sa.Column("tm_expire", _moment, nullable=False),
        *_tm(),
    )
    op.create_index("ix_revoked_tokens_tm_expire", "revoked_tokens", ["tm_expire"])
    op.create_table(
        "customer_limits",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id"), nullable=False),
        _limit("requests_per_second"),
        _limit("requests_burst"),
        _limit("waiting_calls"),
        *_tm(),
    )
    op.create_index(
        "uq_customer_limits_customer_id",
        "customer_limits",
        ["customer_id"],
        unique=True,
        postgresql_where=sa.text("tm_delete IS NULL"),
    )
    op.execute(
        "CREATE TRIGGER ringline_audit AFTER INSERT OR UPDATE OR DELETE ON customer_limits FOR EACH ROW "
        "WHEN (current_setting('ringline.audit', true) <> '') EXECUTE FUNCTION ringline_audit('customer_limits')"
    )
    op.create_table(
        "call_batches",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("owner", sa.Text, nullable=False, server_default=""),
        sa.Column("source", JSONB, nullable=False),
        sa.Column("anonymous", sa.Text, nullable=False),
        sa.Column("flow_id", sa.Uuid, nullable=False),
        sa.Column("actions", JSONB, nullable=False),
        sa.Column("variables", JSONB, nullable=False),
        sa.Column("webhook_uri", sa.Text, nullable=False, server_default=""),
        sa.Column("webhook_method", sa.Text, nullable=False, server_default=""),
        sa.Column("tm_create", _moment, nullable=False),
    )
    op.create_table(
        "waiting_calls",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("batch_id", sa.Uuid, sa.ForeignKey("call_batches.id"), nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
    )
    op.create_index("ix_waiting_calls_batch_id", "waiting_calls", ["batch_id"])
    op.add_column("calls", sa.Column("tm_dialing", _moment, nullable=True))
    for table in _followed:
        op.execute(
            f"CREATE TRIGGER ringline_notify AFTER INSERT OR DELETE OR UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION ringline_notify()"
        )


def downgrade() -> None:
    op.drop_column("calls", "tm_dialing")
    for table in ("waiting_calls", "call_batches", *_followed):
        op.drop_table(table)
