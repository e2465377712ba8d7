"""Groupcalls; and extensions are followed in memory, since calls expand to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _reference(name: str) -> sa.Column[object]:
    zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
    return sa.Column(name, sa.Uuid, nullable=False, server_default=zero)


def _references(name: str) -> sa.Column[object]:
    return sa.Column(name, ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'"))


def upgrade() -> None:
    op.create_table(
        "groupcalls",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        _reference("flow_id"),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("source", JSONB, nullable=False),
        sa.Column("destinations", JSONB, nullable=False),
        _reference("master_call_id"),
        _reference("master_groupcall_id"),
        _text("ring_method"),
        _text("answer_method"),
        _reference("answer_call_id"),
        _references("call_ids"),
        _reference("answer_groupcall_id"),
        _references("groupcall_ids"),
        _text("anonymous"),
        sa.Column("dial_index", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_hangup", _moment, nullable=True),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )
    op.create_index(
        "ix_groupcalls_customer_page",
        "groupcalls",
        ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
    )
    op.create_index(
        "ix_groupcalls_unfinished", "groupcalls", ["status"], postgresql_where=sa.text("status <> 'hangup'")
    )
    op.execute(
        "CREATE TRIGGER ringline_notify AFTER INSERT OR DELETE OR UPDATE ON extensions"
        " FOR EACH ROW EXECUTE FUNCTION ringline_notify()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER ringline_notify ON extensions")
    op.drop_table("groupcalls")
