"""The trail of administrative changes: written by triggers, in the transaction of the change.

They fire in transactions that name an actor (``ringline.storage.acting``), and say who, what, and how it was before
and after. What is secret is masked by its name, in whatever depth it lies; so are credentials within URLs.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TABLES = {
    "accesskeys": "accesskey",
    "agents": "agent",
    "billing_accounts": "billing_account",
    "conferences": "conference",
    "customers": "customer",
    "extensions": "extension",
    "flows": "flow",
    "number_ports": "number_port",
    "numbers": "number",
    "outbound_configs": "outbound_config",
    "providers": "provider",
    "queues": "queue",
    "routes": "route",
    "tags": "tag",
    "trunks": "trunk",
}

_REDACTED = r"""
CREATE FUNCTION ringline_redacted(name text, value jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF value IS NULL OR value IN ('null', '""', '[]', '{}', 'true', 'false') THEN
        RETURN value;
    ELSIF name ~* '(password|passwd|salt|passphrase|secret|authorization|cookie|credential|api_?key|private_?key'
        '|auth_?token|access_?token|_hash$|^ha1|^token$|^accesskey$|^pin$|^account_number$|headers?$)'
    THEN
        RETURN '"***"';
    END IF;
    CASE jsonb_typeof(value)
        WHEN 'object' THEN
            RETURN (
                SELECT jsonb_object_agg(key, ringline_redacted(key, item)) FROM jsonb_each(value) AS e(key, item)
            );
        WHEN 'array' THEN
            RETURN (
                SELECT jsonb_agg(ringline_redacted('', item) ORDER BY place)
                FROM jsonb_array_elements(value) WITH ORDINALITY AS e(item, place)
            );
        WHEN 'string' THEN
            RETURN to_jsonb(regexp_replace(
                regexp_replace(value #>> '{}', '://[^/@\s]*@', '://***@', 'g'),
                '(https?://[^?\s]*)\?\S*', '\1?***', 'gi'
            ));
        ELSE
            RETURN value;
    END CASE;
END $$
"""
_BOUNDED = """
CREATE FUNCTION ringline_bounded(value jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN length(value::text) <= 8192 THEN value ELSE jsonb_build_object(
        'characters', length(value::text),
        'sha256', encode(sha256(convert_to(value::text, 'UTF8')), 'hex')
    ) END
$$
"""
_AUDIT = """
CREATE FUNCTION ringline_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    actor jsonb := current_setting('ringline.audit')::jsonb;
    before jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}'::jsonb ELSE to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}'::jsonb ELSE to_jsonb(NEW) END;
    present jsonb := before || after;
    changed jsonb;
    deed text := CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'DELETE' THEN 'delete' ELSE 'update' END;
BEGIN
    SELECT coalesce(jsonb_object_agg(key, jsonb_build_object(
        'before', ringline_bounded(ringline_redacted(key, coalesce(before -> key, 'null'))),
        'after', ringline_bounded(ringline_redacted(key, coalesce(after -> key, 'null')))
    )), '{}')
    INTO changed
    FROM jsonb_object_keys(present) AS k(key)
    WHERE key NOT IN ('id', 'customer_id', 'tm_create', 'tm_update', 'tm_delete', 'tm_last_use', 'password_version')
    AND before -> key IS DISTINCT FROM after -> key
    AND (TG_OP = 'UPDATE' OR coalesce(present -> key, 'null') NOT IN ('null', '""', '[]', '{}'));
    IF TG_OP = 'UPDATE' THEN
        IF before ->> 'tm_delete' IS NULL AND after ->> 'tm_delete' IS NOT NULL THEN
            deed := 'delete';
        ELSIF changed = '{}' THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO audit_events (
        id, customer_id, actor_type, actor_customer_id, agent_id, accesskey_id, username, remote, request_id,
        operation, action, resource, resource_id, changes, tm_create, tm_expire
    ) VALUES (
        gen_random_uuid(),
        CASE WHEN TG_ARGV[0] = 'customer' THEN (present ->> 'id')::uuid
        ELSE coalesce((present ->> 'customer_id')::uuid, '00000000-0000-0000-0000-000000000000') END,
        actor ->> 'type', (actor ->> 'customer_id')::uuid, (actor ->> 'agent_id')::uuid,
        (actor ->> 'accesskey_id')::uuid, actor ->> 'username', actor ->> 'remote', actor ->> 'request_id',
        actor ->> 'operation', deed, TG_ARGV[0],
        coalesce((present ->> 'id')::uuid, '00000000-0000-0000-0000-000000000000'), changed,
        clock_timestamp(), clock_timestamp() + make_interval(secs => (actor ->> 'keep')::float8)
    );
    RETURN NULL;
END $$
"""
# a customer who is gone is entitled to be forgotten: what the rows say of people may be taken out, nothing else
_APPEND_ONLY = """
CREATE FUNCTION ringline_audit_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.tm_expire <= now() THEN RETURN OLD; END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF to_jsonb(NEW) - '{changes,remote,username}'::text[] = to_jsonb(OLD) - '{changes,remote,username}'::text[]
            AND NEW.changes = '{}' AND NEW.remote = '' AND NEW.username = ''
            AND EXISTS (SELECT FROM customers WHERE id = OLD.customer_id AND tm_delete IS NOT NULL)
        THEN RETURN NEW; END IF;
    END IF;
    RAISE EXCEPTION 'audit_events is append-only: rows are deleted when they have expired, and never changed'
        USING ERRCODE = 'restrict_violation';
END $$
"""


def upgrade() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        sa.Column("actor_type", sa.Text, nullable=False),
        sa.Column("actor_customer_id", sa.Uuid, nullable=True),
        sa.Column("agent_id", sa.Uuid, nullable=True),
        sa.Column("accesskey_id", sa.Uuid, nullable=True),
        sa.Column("username", sa.Text, nullable=False, server_default=""),
        sa.Column("remote", sa.Text, nullable=False, server_default=""),
        sa.Column("request_id", sa.Text, nullable=False, server_default=""),
        sa.Column("operation", sa.Text, nullable=False, server_default=""),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Uuid, nullable=False),
        sa.Column("changes", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tm_expire", sa.DateTime(timezone=True), nullable=False),
    )
    newest = [sa.text("tm_create DESC"), sa.text("id DESC")]
    op.create_index("ix_audit_events_page", "audit_events", newest)
    op.create_index("ix_audit_events_customer", "audit_events", ["customer_id", *newest])
    op.create_index("ix_audit_events_resource", "audit_events", ["resource_id", *newest])
    op.create_index("ix_audit_events_agent", "audit_events", ["agent_id", *newest])
    op.create_index("ix_audit_events_tm_expire", "audit_events", ["tm_expire"])
    for statement in (_REDACTED, _BOUNDED, _AUDIT, _APPEND_ONLY):
        op.execute(statement)
    for table, resource in TABLES.items():
        op.execute(
            f"CREATE TRIGGER ringline_audit AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW "
            f"WHEN (current_setting('ringline.audit', true) <> '') EXECUTE FUNCTION ringline_audit('{resource}')"
        )
    op.execute(
        "CREATE TRIGGER ringline_audit_kept BEFORE UPDATE OR DELETE ON audit_events "
        "FOR EACH ROW EXECUTE FUNCTION ringline_audit_kept()"
    )
    op.execute(
        "CREATE TRIGGER ringline_audit_kept_all BEFORE TRUNCATE ON audit_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION ringline_audit_kept()"
    )


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TRIGGER ringline_audit ON {table}")
    op.drop_table("audit_events")
    for function in (
        "ringline_audit_kept()",
        "ringline_audit()",
        "ringline_bounded(jsonb)",
        "ringline_redacted(text, jsonb)",
    ):
        op.execute(f"DROP FUNCTION {function}")
