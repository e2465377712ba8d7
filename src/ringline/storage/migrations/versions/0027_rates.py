"""Rates by kind, prefix and time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("rates_revision")))
    op.create_table(
        "rates",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False, server_default=""),
        sa.Column("name", sa.Text, nullable=False, server_default=""),
        sa.Column("credit_per_unit", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("token_per_unit", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("unit_seconds", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("minimum_units", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("rounding", sa.Text, nullable=False, server_default="up"),
        sa.Column("tm_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tm_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tm_update", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("credit_per_unit >= 0 AND token_per_unit >= 0", name="ck_rates_amounts"),
    )
    op.create_index("uq_rates_revision", "rates", ["revision"], unique=True)
    op.create_index("uq_rates_start", "rates", ["kind", "prefix", "tm_start"], unique=True)
    op.create_index("ix_rates_page", "rates", [sa.text("tm_create DESC"), sa.text("id DESC")])
    # One writer at a time takes the lock of rates, so that numbers are committed in their order. One notification
    # for a statement: an import is one change.
    op.execute("""
        CREATE FUNCTION ringline_rate_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock(7234031);
            NEW.revision := nextval('rates_revision');
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE FUNCTION ringline_rates_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('ringline_rates', '');
            RETURN NULL;
        END $$
    """)
    op.execute(
        "CREATE TRIGGER ringline_revision BEFORE INSERT OR UPDATE ON rates"
        " FOR EACH ROW EXECUTE FUNCTION ringline_rate_changed()"
    )
    op.execute(
        "CREATE TRIGGER ringline_notify AFTER INSERT OR UPDATE ON rates"
        " FOR EACH STATEMENT EXECUTE FUNCTION ringline_rates_changed()"
    )
    op.execute(
        "CREATE TRIGGER ringline_audit AFTER INSERT OR UPDATE OR DELETE ON rates FOR EACH ROW"
        " WHEN (current_setting('ringline.audit', true) <> '') EXECUTE FUNCTION ringline_audit('rate')"
    )
    op.execute("""
        INSERT INTO rates (
            id, kind, name, credit_per_unit, token_per_unit, unit_seconds, minimum_units, rounding, tm_start,
            tm_create
        )
        SELECT gen_random_uuid(), kind, name, credit, token, seconds, 1, 'up', 'epoch', now()
        FROM (VALUES
            ('call_pstn_outgoing', 'Calls to the telephone network', 6000, 0, 60),
            ('call_pstn_incoming', 'Calls from the telephone network', 4500, 0, 60),
            ('call_vn', 'Calls to virtual numbers', 1000, 1, 60),
            ('call_extension', 'Calls among extensions', 0, 0, 60),
            ('call_direct_ext', 'Calls from SIP to extensions', 0, 0, 60),
            ('sms', 'Parts of texts', 8000, 0, 0),
            ('email', 'Emails', 10000, 0, 0),
            ('number', 'Numbers, the first month', 5000000, 0, 0),
            ('number_renew', 'Numbers, a further month', 5000000, 0, 0)
        ) AS given (kind, name, credit, token, seconds)
    """)


def downgrade() -> None:
    op.drop_table("rates")
    op.execute("DROP FUNCTION ringline_rates_changed()")
    op.execute("DROP FUNCTION ringline_rate_changed()")
    op.execute(sa.schema.DropSequence(sa.Sequence("rates_revision")))
