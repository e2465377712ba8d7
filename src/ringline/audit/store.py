"""The table of the trail. Triggers write most of it; it refuses to be changed (migration 0025)."""

from __future__ import annotations

import sqlalchemy as sa

from ringline.storage import metadata
from ringline.storage.types import Json, Timestamp, id_column, text_column

audit_events = sa.Table(
    "audit_events",
    metadata,
    id_column(),
    # whose resource it is; the zero UUID: the installation's
    sa.Column("customer_id", sa.Uuid, nullable=False),
    # agent, accesskey, system (we ourselves), none (nobody has proven who he is)
    sa.Column("actor_type", sa.Text, nullable=False),
    sa.Column("actor_customer_id", sa.Uuid, nullable=True),
    sa.Column("agent_id", sa.Uuid, nullable=True),
    sa.Column("accesskey_id", sa.Uuid, nullable=True),
    text_column("username"),
    text_column("remote"),
    text_column("request_id"),
    text_column("operation"),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("resource_id", sa.Uuid, nullable=False),
    sa.Column("changes", Json, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("tm_create", Timestamp, nullable=False),
    # until then the database refuses to delete it
    sa.Column("tm_expire", Timestamp, nullable=False),
)
_NEWEST_FIRST = (audit_events.c.tm_create.desc(), audit_events.c.id.desc())
sa.Index("ix_audit_events_page", *_NEWEST_FIRST)
sa.Index("ix_audit_events_customer", audit_events.c.customer_id, *_NEWEST_FIRST)
sa.Index("ix_audit_events_resource", audit_events.c.resource_id, *_NEWEST_FIRST)
sa.Index("ix_audit_events_agent", audit_events.c.agent_id, *_NEWEST_FIRST)
sa.Index("ix_audit_events_tm_expire", audit_events.c.tm_expire)
