"""Trunks, and where a customer is at home."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)
_live = sa.text("tm_delete IS NULL")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0"))


def upgrade() -> None:
    for name in ("country", "digest_realm"):
        op.add_column("customers", _text(name))
    op.add_column("extensions", _number("max_calls"))
    op.create_table(
        "trunks",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id"), nullable=False),
        _text("name"),
        _text("detail"),
        sa.Column("domain_name", sa.Text, nullable=False),
        sa.Column("auth_types", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        _text("username"),
        _text("ha1"),
        sa.Column("allowed_ips", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("srtp", sa.Text, nullable=False, server_default="optional"),
        _number("max_calls"),
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )
    op.create_index("uq_trunks_domain_name", "trunks", ["domain_name"], unique=True, postgresql_where=_live)
    op.create_index(
        "ix_trunks_page",
        "trunks",
        ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
        postgresql_where=_live,
    )
    op.execute(
        "CREATE TRIGGER ringline_notify AFTER INSERT OR DELETE OR UPDATE ON trunks"
        " FOR EACH ROW EXECUTE FUNCTION ringline_notify()"
    )


def downgrade() -> None:
    op.drop_table("trunks")
    op.drop_column("extensions", "max_calls")
    for name in ("digest_realm", "country"):
        op.drop_column("customers", name)
