"""Numbers that are ported in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _port() -> sa.Column[object]:
    return sa.Column("port_id", sa.Uuid, sa.ForeignKey("number_ports.id", ondelete="CASCADE"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "number_ports",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id"), nullable=False),
        _text("name"),
        _text("detail"),
        sa.Column("status", sa.Text, nullable=False),
        _text("reason"),
        sa.Column("history", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        _text("carrier"),
        _text("account_number"),
        _text("pin"),
        sa.Column("owner", JSONB, nullable=False),
        _text("authorised_person"),
        _text("email"),
        sa.Column("wanted_date", sa.Date, nullable=True),
        sa.Column("call_flow_id", sa.Uuid, nullable=True),
        sa.Column("message_flow_id", sa.Uuid, nullable=True),
        sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.text("false")),
        _text("provider_name"),
        sa.Column("request_id", sa.Uuid, nullable=True),
        _text("reference"),
        sa.Column("former_request_id", sa.Uuid, nullable=True),
        _text("former_reference"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("hints", sa.Integer, nullable=False, server_default=sa.text("0")),
        _moment("tm_sent"),
        _moment("tm_next"),
        _moment("tm_lease"),
        _moment("tm_submit"),
        _moment("tm_foc"),
        _moment("tm_end"),
        _moment("tm_create", nullable=False),
        _moment("tm_update"),
        _moment("tm_delete"),
    )
    op.create_index(
        "ix_number_ports_page",
        "number_ports",
        ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("tm_delete IS NULL"),
    )
    op.create_index(
        "ix_number_ports_next",
        "number_ports",
        ["tm_next"],
        postgresql_where=sa.text("tm_next IS NOT NULL"),
    )
    op.create_index(
        "ix_number_ports_request",
        "number_ports",
        ["request_id"],
        postgresql_where=sa.text("request_id IS NOT NULL"),
    )
    op.create_index(
        "ix_number_ports_reference",
        "number_ports",
        ["provider_name", "reference"],
        postgresql_where=sa.text("reference <> ''"),
    )
    op.create_table(
        "number_port_numbers",
        _port(),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("claimed", sa.Boolean, nullable=False),
        sa.Column("number_id", sa.Uuid, nullable=True),
        _text("reason"),
        sa.PrimaryKeyConstraint("port_id", "number"),
    )
    op.create_index(
        "uq_number_port_numbers_claimed",
        "number_port_numbers",
        ["number"],
        unique=True,
        postgresql_where=sa.text("claimed"),
    )
    op.create_table(
        "number_port_documents",
        sa.Column("id", sa.Uuid, primary_key=True),
        _port(),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=True),
        _moment("tm_create", nullable=False),
        sa.UniqueConstraint("port_id", "kind"),
    )
    # compressed already: PostgreSQL need not try
    op.execute("ALTER TABLE number_port_documents ALTER COLUMN content SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("number_port_documents")
    op.drop_table("number_port_numbers")
    op.drop_table("number_ports")
