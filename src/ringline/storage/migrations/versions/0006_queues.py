"""Tags, queues, and the calls in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_live = sa.text("tm_delete IS NULL")
_moment = sa.DateTime(timezone=True)
_SHOWN = "name, detail, routing_method, tag_ids, wait_flow_id, wait_actions, wait_timeout, service_timeout, tm_delete"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def _reference(name: str) -> sa.Column[object]:
    """A UUID whose 'none' is the zero UUID, as the API shows it."""
    zero = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
    return sa.Column(name, sa.Uuid, nullable=False, server_default=zero)


def _list(name: str) -> sa.Column[object]:
    return sa.Column(name, JSONB, nullable=False, server_default=sa.text("'[]'::jsonb"))


def _owner() -> sa.Column[object]:
    return sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id"), nullable=False)


def _tm() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )


def upgrade() -> None:
    op.create_table(
        "tags", sa.Column("id", sa.Uuid, primary_key=True), _owner(), _text("name"), _text("detail"), *_tm()
    )
    op.create_table(
        "queues",
        sa.Column("id", sa.Uuid, primary_key=True),
        _owner(),
        _text("name"),
        _text("detail"),
        _text("routing_method"),
        _list("tag_ids"),
        _reference("wait_flow_id"),
        _list("wait_actions"),
        _count("wait_timeout"),
        _count("service_timeout"),
        _count("total_incoming_count"),
        _count("total_serviced_count"),
        _count("total_abandoned_count"),
        *_tm(),
    )
    op.create_table(
        "queuecalls",
        sa.Column("id", sa.Uuid, primary_key=True),
        _owner(),
        _reference("queue_id"),
        _text("reference_type"),
        _reference("reference_id"),
        _reference("reference_activeflow_id"),
        sa.Column("source", JSONB, nullable=False),
        _text("routing_method"),
        _list("tag_ids"),
        sa.Column("status", sa.Text, nullable=False),
        _text("end_reason"),
        _reference("service_agent_id"),
        _reference("service_call_id"),
        _count("timeout_wait"),
        _count("timeout_service"),
        _count("duration_waiting"),
        _count("duration_service"),
        sa.Column("tm_service", _moment, nullable=True),
        sa.Column("tm_end", _moment, nullable=True),
        *_tm(),
    )
    op.create_index(
        "ix_queuecalls_unfinished",
        "queuecalls",
        ["status"],
        postgresql_where=sa.text("status NOT IN ('done', 'abandoned')"),
    )
    op.create_index("ix_queuecalls_reference", "queuecalls", ["reference_id"])
    for table in ("tags", "queues", "queuecalls"):
        op.create_index(
            f"ix_{table}_page",
            table,
            ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
            postgresql_where=_live,
        )
    op.execute(
        f"CREATE TRIGGER ringline_notify AFTER INSERT OR DELETE OR UPDATE OF {_SHOWN} ON queues "
        "FOR EACH ROW EXECUTE FUNCTION ringline_notify()"
    )
    # counted where the queuecalls are written, in the same transaction: no crash makes the sums wrong
    op.execute(
        """
        CREATE FUNCTION ringline_count_queuecall() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            fresh integer := CASE WHEN TG_OP = 'INSERT' THEN 1 ELSE 0 END;
            serviced integer := 0;
            abandoned integer := 0;
        BEGIN
            IF NEW.tm_service IS NOT NULL AND (TG_OP = 'INSERT' OR OLD.tm_service IS NULL) THEN
                serviced := 1;
            END IF;
            IF NEW.status = 'abandoned' AND (TG_OP = 'INSERT' OR OLD.status <> 'abandoned') THEN
                abandoned := 1;
            END IF;
            IF fresh + serviced + abandoned > 0 THEN
                UPDATE queues SET
                    total_incoming_count = total_incoming_count + fresh,
                    total_serviced_count = total_serviced_count + serviced,
                    total_abandoned_count = total_abandoned_count + abandoned
                WHERE id = NEW.queue_id;
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER ringline_count_queuecall AFTER INSERT OR UPDATE OF status, tm_service ON queuecalls "
        "FOR EACH ROW EXECUTE FUNCTION ringline_count_queuecall()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER ringline_count_queuecall ON queuecalls")
    op.execute("DROP FUNCTION ringline_count_queuecall()")
    op.execute("DROP TRIGGER ringline_notify ON queues")
    for table in ("queuecalls", "queues", "tags"):
        op.drop_table(table)
