"""The tables of customers, their agents (people who log in), tags (what agents can do) and access keys (programs)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from ringline.storage import metadata
from ringline.storage.types import (
    Json,
    Timestamp,
    customer_column,
    id_column,
    paging_index,
    text_column,
    tm_columns,
)

_LIVE = text("tm_delete IS NULL")

customers = Table(
    "customers",
    metadata,
    id_column(),
    text_column("name"),
    text_column("detail"),
    text_column("email"),
    text_column("phone_number"),
    text_column("address"),
    text_column("webhook_method"),
    text_column("webhook_uri"),
    Column("billing_account_id", Uuid, nullable=True),
    Column("default_outgoing_source_number_id", Uuid, nullable=True),
    Column("domain_label", Text, nullable=False),
    Column("metadata", Json, nullable=False, server_default=text("'{}'::jsonb")),
    Column("email_verified", Boolean, nullable=False, server_default=text("false")),
    Column("status", Text, nullable=False, server_default="active"),
    Column("identity_verification_status", Text, nullable=False, server_default="none"),
    Column("tm_deletion_scheduled", Timestamp, nullable=True),
    *tm_columns(),
)
Index("uq_customers_domain_label", customers.c.domain_label, unique=True, postgresql_where=_LIVE)

agents = Table(
    "agents",
    metadata,
    id_column(),
    customer_column(),
    Column("username", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    text_column("name"),
    text_column("detail"),
    text_column("ring_method"),
    text_column("status"),
    Column("permission", BigInteger, nullable=False, server_default=text("0")),
    Column("tag_ids", Json, nullable=False, server_default=text("'[]'::jsonb")),
    Column("addresses", Json, nullable=False, server_default=text("'[]'::jsonb")),
    *tm_columns(),
)
Index("uq_agents_username", func.lower(agents.c.username), unique=True, postgresql_where=_LIVE)
paging_index(agents)

tags = Table(
    "tags",
    metadata,
    id_column(),
    customer_column(),
    text_column("name"),
    text_column("detail"),
    *tm_columns(),
)
paging_index(tags)

accesskeys = Table(
    "accesskeys",
    metadata,
    id_column(),
    customer_column(),
    Column("agent_id", Uuid, ForeignKey("agents.id"), nullable=True),
    text_column("name"),
    text_column("detail"),
    Column("token_hash", LargeBinary, nullable=False),
    Column("token_prefix", Text, nullable=False),
    Column("tm_expire", Timestamp, nullable=True),
    Column("tm_last_use", Timestamp, nullable=True),
    *tm_columns(),
)
Index("uq_accesskeys_token_hash", accesskeys.c.token_hash, unique=True, postgresql_where=_LIVE)
paging_index(accesskeys)
