"""The tables of customers, their agents (people who log in), tags (what agents can do) and access keys (programs)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
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
    # ISO 3166 alpha-2 in small letters; '' follows from the customer's numbers
    text_column("country"),
    # The realm that its phones' digest secrets were made with, "" for its label's. It outlives a change
    # of the label: nobody knows the passwords any more.
    text_column("digest_realm"),
    Column("metadata", Json, nullable=False, server_default=text("'{}'::jsonb")),
    Column("email_verified", Boolean, nullable=False, server_default=text("false")),
    Column("status", Text, nullable=False, server_default="active"),
    Column("identity_verification_status", Text, nullable=False, server_default="none"),
    # "customer" (it has unregistered itself) or "project" (the installation's administrator, who alone thaws it then)
    text_column("frozen_by"),
    Column("tm_deletion_scheduled", Timestamp, nullable=True),
    Column("tm_terms_accepted", Timestamp, nullable=True),
    # when all that belonged to a deleted customer was gone
    Column("tm_removed", Timestamp, nullable=True),
    *tm_columns(),
)
Index("uq_customers_domain_label", customers.c.domain_label, unique=True, postgresql_where=_LIVE)
Index("ix_customers_page", customers.c.tm_create.desc(), customers.c.id.desc())
Index(
    "ix_customers_leaving",
    customers.c.tm_deletion_scheduled,
    postgresql_where=text("tm_deletion_scheduled IS NOT NULL AND tm_delete IS NULL"),
)
Index(
    "ix_customers_removing",
    customers.c.tm_delete,
    postgresql_where=text("tm_delete IS NOT NULL AND tm_removed IS NULL"),
)

agents = Table(
    "agents",
    metadata,
    id_column(),
    customer_column(),
    Column("username", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    # counts the passwords: tokens of logins with an earlier one are refused
    Column("password_version", Integer, nullable=False, server_default=text("0")),
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

account_tokens = Table(
    "account_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    # "verify" (the e-mail address of a sign-up) or "reset" (a password)
    Column("purpose", Text, nullable=False),
    customer_column(),
    Column("agent_id", Uuid, ForeignKey("agents.id"), nullable=False),
    Column("tm_expire", Timestamp, nullable=False),
    Column("tm_create", Timestamp, nullable=False),
)
"""What was sent by mail, once: using a token takes its row away."""
Index("ix_account_tokens_agent_id", account_tokens.c.agent_id)
Index("ix_account_tokens_tm_expire", account_tokens.c.tm_expire)

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
