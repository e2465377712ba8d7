"""Conferences and the calls in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_live = sa.text("tm_delete IS NULL")
_moment = sa.DateTime(timezone=True)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _reference(name: str) -> sa.Column[object]:
    """A UUID whose 'none' is the zero UUID, as the API shows it."""
    zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
    return sa.Column(name, sa.Uuid, nullable=False, server_default=zero)


def _json(name: str, empty: str) -> sa.Column[object]:
    return sa.Column(name, JSONB, nullable=False, server_default=sa.text(f"'{empty}'::jsonb"))


def _tm() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )


def upgrade() -> None:
    op.create_table(
        "conferences",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id"), nullable=False),
        _text("type"),
        _text("status"),
        _text("name"),
        _text("detail"),
        _json("data", "{}"),
        sa.Column("timeout", sa.Integer, nullable=False, server_default=sa.text("0")),
        _reference("pre_flow_id"),
        _reference("post_flow_id"),
        _json("pre_actions", "[]"),
        _json("post_actions", "[]"),
        _text("beep"),
        sa.Column("alone_music", sa.Boolean, nullable=False, server_default=sa.false()),
        _reference("recording_id"),
        sa.Column("recording_ids", ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'")),
        sa.Column("tm_timeout", _moment, nullable=True),
        sa.Column("tm_end", _moment, nullable=True),
        *_tm(),
    )
    op.create_index(
        "ix_conferences_timeout",
        "conferences",
        ["tm_timeout"],
        postgresql_where=sa.text("status = 'progressing' AND tm_timeout IS NOT NULL"),
    )
    op.create_index(
        "ix_conferences_recorded",
        "conferences",
        ["id"],
        postgresql_where=sa.text("recording_id <> '00000000-0000-0000-0000-000000000000'::uuid"),
    )
    op.create_index(
        "ix_conferences_terminating",
        "conferences",
        ["id"],
        postgresql_where=sa.text("status = 'terminating'"),
    )
    op.create_table(
        "conferencecalls",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("conference_id", sa.Uuid, nullable=False),
        _reference("activeflow_id"),
        _text("reference_type"),
        sa.Column("reference_id", sa.Uuid, nullable=False),
        _text("status"),
        sa.Column("tm_progressing", _moment, nullable=True),
        sa.Column("tm_terminated", _moment, nullable=True),
        *_tm(),
    )
    op.create_index(
        "ix_conferencecalls_conference", "conferencecalls", ["conference_id", sa.text("tm_create DESC")]
    )
    op.create_index(
        "ix_conferencecalls_unfinished",
        "conferencecalls",
        ["id"],
        postgresql_where=sa.text("status <> 'terminated'"),
    )
    for table in ("conferences", "conferencecalls"):
        op.create_index(
            f"ix_{table}_page",
            table,
            ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
            postgresql_where=_live,
        )


def downgrade() -> None:
    for table in ("conferencecalls", "conferences"):
        op.drop_table(table)
