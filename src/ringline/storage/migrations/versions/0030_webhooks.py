"""Endpoints of webhooks and their deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_PENDING = sa.text("status = 'pending'")


def upgrade() -> None:
    _endpoints()
    _deliveries()
    op.create_index(
        "ix_activeflows_webhook", "activeflows", ["id"], postgresql_where=sa.text("webhook_uri <> ''")
    )
    op.execute(
        "CREATE TRIGGER ringline_audit AFTER INSERT OR UPDATE OR DELETE ON webhooks FOR EACH ROW"
        " WHEN (current_setting('ringline.audit', true) <> '') EXECUTE FUNCTION ringline_audit('webhook')"
    )
    # whoever delivers there reads the endpoint again
    op.execute(
        """
        CREATE FUNCTION ringline_webhook_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('ringline_webhooks', 'changed ' || NEW.id);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER ringline_webhook_changed AFTER UPDATE OF"
        " uri, method, enabled, salt, former_salt, tm_former_expire, tm_delete ON webhooks"
        " FOR EACH ROW EXECUTE FUNCTION ringline_webhook_changed()"
    )
    # Whoever changes a customer's webhook changes its endpoint, which has the customer's id. What was disabled is
    # enabled by a new address only.
    op.execute(
        """
        CREATE FUNCTION ringline_customer_webhook() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO webhooks AS known (id, customer_id, type, name, uri, method, tm_create)
            VALUES (NEW.id, NEW.id, 'customer', 'customer', NEW.webhook_uri,
                coalesce(nullif(NEW.webhook_method, ''), 'POST'), now())
            ON CONFLICT (id) DO UPDATE SET
                uri = excluded.uri, method = excluded.method, enabled = true, disabled_reason = '',
                tm_disabled = NULL, tm_failing = NULL, tm_update = now()
            WHERE (known.uri, known.method) IS DISTINCT FROM (excluded.uri, excluded.method);
            IF NEW.tm_delete IS NOT NULL THEN
                UPDATE webhooks SET tm_delete = now() WHERE customer_id = NEW.id AND tm_delete IS NULL;
            ELSE
                UPDATE webhooks SET tm_delete = NULL WHERE id = NEW.id AND tm_delete IS NOT NULL;
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER ringline_customer_webhook"
        " AFTER INSERT OR UPDATE OF webhook_uri, webhook_method, tm_delete ON customers"
        " FOR EACH ROW EXECUTE FUNCTION ringline_customer_webhook()"
    )
    op.execute(
        "INSERT INTO webhooks (id, customer_id, type, name, uri, method, tm_create, tm_delete)"
        " SELECT id, id, 'customer', 'customer', webhook_uri,"
        " coalesce(nullif(webhook_method, ''), 'POST'), now(), tm_delete FROM customers"
    )


def _endpoints() -> None:
    empty = sa.text("'{}'::text[]")
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id", ondelete="CASCADE"), nullable=False),
        sa.Column("type", sa.Text, nullable=False, server_default="endpoint"),
        sa.Column("name", sa.Text, nullable=False, server_default=""),
        sa.Column("detail", sa.Text, nullable=False, server_default=""),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False, server_default="POST"),
        sa.Column("events", ARRAY(sa.Text), nullable=False, server_default=empty),
        sa.Column("patterns", ARRAY(sa.Text), nullable=False, server_default=empty),
        sa.Column("resources", ARRAY(sa.Text), nullable=False, server_default=empty),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("disabled_reason", sa.Text, nullable=False, server_default=""),
        sa.Column("salt", sa.Uuid, nullable=False, server_default=sa.text("gen_random_uuid()")),
        sa.Column("former_salt", sa.Uuid, nullable=True),
        sa.Column("tm_former_expire", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tm_disabled", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tm_failing", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tm_update", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tm_delete", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index(
        "ix_webhooks_page",
        "webhooks",
        ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("tm_delete IS NULL"),
    )
    op.create_index(
        "uq_webhooks_activeflow",
        "webhooks",
        ["customer_id", "uri", "method"],
        unique=True,
        postgresql_where=sa.text("type = 'activeflow' AND tm_delete IS NULL"),
    )
    op.create_index(
        "ix_webhooks_told",
        "webhooks",
        ["customer_id"],
        postgresql_where=sa.text("type <> 'activeflow' AND enabled AND tm_delete IS NULL AND uri <> ''"),
    )
    op.create_table(
        "webhook_leases",
        sa.Column("webhook_id", sa.Uuid, primary_key=True),
        sa.Column("worker", sa.Uuid, nullable=False),
        sa.Column("tm_expire", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_webhook_leases_worker", "webhook_leases", ["worker"])


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("webhook_id", sa.Uuid, nullable=False),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Uuid, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="pending"),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("tries", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("attempt_count", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("attempts", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("tm_next", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tm_expire", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tm_update", sa.DateTime(timezone=True), nullable=True),
    )
    newest = [sa.text("tm_create DESC"), sa.text("id DESC")]
    op.create_index("ix_webhook_deliveries_page", "webhook_deliveries", ["customer_id", *newest])
    op.create_index("ix_webhook_deliveries_webhook", "webhook_deliveries", ["webhook_id", *newest])
    op.create_index("ix_webhook_deliveries_resource", "webhook_deliveries", ["resource_id", *newest])
    op.create_index(
        "ix_webhook_deliveries_pending",
        "webhook_deliveries",
        ["webhook_id", "published"],
        postgresql_where=_PENDING,
    )
    op.create_index(
        "ix_webhook_deliveries_failed",
        "webhook_deliveries",
        ["customer_id", *newest],
        postgresql_where=sa.text("status = 'failed'"),
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER ringline_customer_webhook ON customers")
    op.execute("DROP FUNCTION ringline_customer_webhook()")
    op.drop_index("ix_activeflows_webhook", "activeflows")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_leases")
    op.drop_table("webhooks")
    op.execute("DROP FUNCTION ringline_webhook_changed()")
