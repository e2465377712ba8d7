"""Announcing of resources by triggers: in the transaction of the change, whoever makes it.

The event's data is the row, without what is secret, and marked as raw; whoever publishes it makes of it what ``GET``
shows (``ringline.events.rendering``).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

TABLES = {
    # what is never told of, and what alone is no change worth telling
    "agents": ("agent", "{password_hash}", "{password_version}"),
    "billing_accounts": ("billing_account", "{}", "{balance_credit,balance_token,held_credit,held_token}"),
    "conferences": ("conference", "{}", "{}"),
    "customers": ("customer", "{}", "{}"),
    "extensions": ("extension", "{ha1}", "{}"),
    "flows": ("flow", "{}", "{}"),
    "numbers": ("number", "{}", "{}"),
    "queues": (
        "queue",
        "{}",
        "{total_incoming_count,total_serviced_count,total_abandoned_count}",
    ),
    "tags": ("tag", "{}", "{}"),
    "trunks": ("trunk", "{ha1}", "{}"),
}

_EMIT = """
CREATE FUNCTION ringline_emit(resource text, what text, present jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    owner uuid := (present ->> CASE resource WHEN 'customer' THEN 'id' ELSE 'customer_id' END)::uuid;
    number bigint;
BEGIN
    INSERT INTO event_sequences AS known (resource_id, last, tm_update)
    VALUES ((present ->> 'id')::uuid, 1, clock_timestamp())
    ON CONFLICT (resource_id) DO UPDATE SET last = known.last + 1, tm_update = excluded.tm_update
    RETURNING last INTO number;
    INSERT INTO events (
        id, customer_id, type, resource, resource_id, sequence, activeflow_id, data, tm_create, raw
    ) VALUES (
        gen_random_uuid(), owner, resource || '_' || what, resource, (present ->> 'id')::uuid, number,
        coalesce((present ->> 'activeflow_id')::uuid, '00000000-0000-0000-0000-000000000000'),
        present::json, clock_timestamp(), true
    );
    PERFORM pg_notify('ringline_events', '');
END $$
"""
_ANNOUNCE = """
CREATE FUNCTION ringline_announce() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unchanging text[] := TG_ARGV[2]::text[] || '{tm_update}';
    present jsonb := to_jsonb(NEW);
    before jsonb;
    what text := 'created';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        before := to_jsonb(OLD);
        IF before ->> 'tm_delete' IS NOT NULL OR before - unchanging = present - unchanging THEN
            RETURN NULL;
        END IF;
        what := CASE
            WHEN present ->> 'tm_delete' IS NOT NULL THEN 'deleted'
            WHEN TG_ARGV[0] = 'number' AND before ->> 'tm_renew' <> present ->> 'tm_renew' THEN 'renewed'
            ELSE 'updated'
        END;
    END IF;
    IF TG_ARGV[0] = 'conference' THEN
        present := present || jsonb_build_object('conferencecall_ids', (
            SELECT coalesce(jsonb_agg(id ORDER BY tm_create), '[]') FROM conferencecalls
            WHERE conference_id = NEW.id AND status <> 'terminated'
        ));
    ELSIF TG_ARGV[0] = 'queue' THEN
        present := present || (
            SELECT jsonb_build_object(
                'wait_queuecall_ids',
                coalesce(jsonb_agg(id ORDER BY tm_create) FILTER (WHERE status IN ('waiting', 'connecting')), '[]'),
                'service_queuecall_ids',
                coalesce(jsonb_agg(id ORDER BY tm_create) FILTER (WHERE status = 'service'), '[]')
            )
            FROM queuecalls WHERE queue_id = NEW.id AND status IN ('waiting', 'connecting', 'service')
        );
    ELSIF TG_ARGV[0] = 'extension' THEN
        present := present || jsonb_build_object('registered', (
            SELECT count(*) FROM kamailio.location
            WHERE username = present ->> 'extension' AND domain = present ->> 'domain_name'
            AND expires > timezone('UTC', now()) AND present ->> 'tm_delete' IS NULL
        ));
    END IF;
    PERFORM ringline_emit(TG_ARGV[0], what, present - TG_ARGV[1]::text[]);
    RETURN NULL;
END $$
"""
# at the commit, when all of its targets are there
_MESSAGE = """
CREATE FUNCTION ringline_announce_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    message jsonb;
BEGIN
    SELECT to_jsonb(messages) || jsonb_build_object('targets', (
        SELECT coalesce(jsonb_agg(to_jsonb(message_targets) ORDER BY position), '[]') FROM message_targets
        WHERE message_id = messages.id
    ))
    INTO message FROM messages
    WHERE id = CASE TG_TABLE_NAME WHEN 'messages' THEN (to_jsonb(NEW) ->> 'id')::uuid
        ELSE (to_jsonb(NEW) ->> 'message_id')::uuid END;
    IF message IS NOT NULL THEN
        PERFORM ringline_emit('message', TG_ARGV[0], message);
    END IF;
    RETURN NULL;
END $$
"""
_MESSAGES = (
    ("created", "INSERT ON messages", ""),
    ("deleted", "UPDATE OF tm_delete ON messages", "OLD.tm_delete IS NULL AND NEW.tm_delete IS NOT NULL"),
    ("updated", "UPDATE OF status ON message_targets", "OLD.status <> NEW.status AND NEW.tm_delete IS NULL"),
)


def upgrade() -> None:
    op.add_column("events", sa.Column("raw", sa.Boolean, nullable=False, server_default=sa.false()))
    for statement in (_EMIT, _ANNOUNCE, _MESSAGE):
        op.execute(statement)
    for table, arguments in TABLES.items():
        said = ", ".join(f"'{argument}'" for argument in arguments)
        op.execute(
            f"CREATE TRIGGER ringline_announce AFTER INSERT OR UPDATE ON {table} FOR EACH ROW"
            f" EXECUTE FUNCTION ringline_announce({said})"
        )
    for what, events, condition in _MESSAGES:
        op.execute(
            f"CREATE CONSTRAINT TRIGGER ringline_announce_{what} AFTER {events}"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
            f"{f' WHEN ({condition})' if condition else ''}"
            f" EXECUTE FUNCTION ringline_announce_message('{what}')"
        )


def downgrade() -> None:
    for what, events, _ in _MESSAGES:
        op.execute(f"DROP TRIGGER ringline_announce_{what} ON {events.rsplit(' ', 1)[1]}")
    for table in TABLES:
        op.execute(f"DROP TRIGGER ringline_announce ON {table}")
    op.execute("DROP FUNCTION ringline_announce_message(), ringline_announce()")
    op.execute("DROP FUNCTION ringline_emit(text, text, jsonb)")
    op.drop_column("events", "raw")
