"""Providers, routes, extensions, and the views through which Kamailio reads them.

Kamailio's db_postgres tells types by OID: ``text`` arrives as a blob and breaks the modules' start, ``bigint`` is no
int. So every column of a view is cast. Kamailio logs in as a role of its own that sees these views and nothing else.
"""

from __future__ import annotations

import os

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import CIDR, JSONB

from ringline.routing.role import login_statement

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)


def _text(name: str, default: str | None = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _integer(name: str, default: int) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=sa.text(str(default)))


def _tm() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )


# What Kamailio's modules insist on (facts K1); drouting and htable check nothing.
_VERSION = """
    CREATE VIEW kamailio.version AS
    SELECT name::varchar(32) AS table_name, version::int AS table_version
    FROM (VALUES ('address', 6), ('dr_gateways', 3), ('dr_rules', 3), ('dr_gw_lists', 1), ('route_groups', 2))
        AS known (name, version)
"""

_ADDRESS = """
    CREATE VIEW kamailio.address AS
    SELECT row_number() OVER (ORDER BY address.network, address.port)::int AS id,
           1::int AS grp,
           host(address.network)::varchar(50) AS ip_addr,
           masklen(address.network)::int AS mask,
           address.port::int AS port,
           provider.id::varchar(64) AS tag
    FROM public.provider_addresses AS address
    JOIN public.providers AS provider ON provider.id = address.provider_id
    WHERE provider.tm_delete IS NULL
"""

_GATEWAYS = """
    CREATE VIEW kamailio.dr_gateways AS
    SELECT key::int AS gwid,
           0::int AS type,
           (CASE WHEN hostname LIKE '%:%' THEN '[' || hostname || ']' ELSE hostname END
            || CASE WHEN port = 0 THEN '' ELSE ':' || port END
            || CASE WHEN transport = 'udp' THEN '' ELSE ';transport=' || transport END)::varchar(300) AS address,
           0::int AS strip,
           tech_prefix::varchar(64) AS pri_prefix,
           ('provider=' || id || CASE WHEN tech_postfix = '' THEN '' ELSE ';postfix=' || tech_postfix END)
               ::varchar(255) AS attrs,
           ''::varchar(128) AS description
    FROM public.providers
    WHERE tm_delete IS NULL
"""

# One rule per customer with routes of its own (and the default customer) and target: its own routes, then the
# default routes through other providers; among them the longer target first, then the lower priority.
# 'all' is the empty prefix. The column priority stays equal: drouting has only one rule to choose from.
_RULES = """
    CREATE VIEW kamailio.dr_rules AS
    WITH live AS (
        SELECT route.customer_id,
               CASE route.target WHEN 'all' THEN '' ELSE route.target END AS prefix,
               route.priority, route.tm_create, route.id, provider.key AS gateway
        FROM public.routes AS route
        JOIN public.providers AS provider ON provider.id = route.provider_id
        WHERE route.tm_delete IS NULL AND provider.tm_delete IS NULL
    ), wanted AS (
        SELECT DISTINCT customer.key AS group_key, customer.customer_id, live.prefix
        FROM public.routing_groups AS customer
        JOIN live ON live.customer_id IN (customer.customer_id, '00000000-0000-0000-0000-000000000001'::uuid)
    ), candidate AS (
        SELECT wanted.group_key, wanted.prefix, live.gateway,
               live.customer_id <> wanted.customer_id AS inherited,
               length(live.prefix) AS precise,
               live.priority, live.tm_create, live.id,
               row_number() OVER (
                   PARTITION BY wanted.group_key, wanted.prefix, live.gateway
                   ORDER BY live.customer_id <> wanted.customer_id, length(live.prefix) DESC,
                            live.priority, live.tm_create, live.id
               ) AS choice
        FROM wanted
        JOIN live ON live.customer_id IN (wanted.customer_id, '00000000-0000-0000-0000-000000000001'::uuid)
                 AND starts_with(wanted.prefix, live.prefix)
    )
    SELECT row_number() OVER (ORDER BY group_key, prefix)::int AS ruleid,
           group_key::varchar(64) AS groupid,
           prefix::varchar(64) AS prefix,
           ''::varchar(255) AS timerec,
           0::int AS priority,
           '0'::varchar(64) AS routeid,
           string_agg(gateway::varchar, ',' ORDER BY inherited, precise DESC, priority, tm_create, id)
               ::varchar AS gwlist,
           ''::varchar(128) AS description
    FROM candidate
    WHERE choice = 1
    GROUP BY group_key, prefix
"""

# drouting asks for the table; rules name their gateways themselves.
_GATEWAY_LISTS = """
    CREATE VIEW kamailio.dr_gw_lists AS
    SELECT 0::int AS id, ''::varchar(255) AS gwlist WHERE false
"""

# Loaded into the hash table route_group: customer id -> number of its group.
_GROUPS = """
    CREATE VIEW kamailio.route_groups AS
    SELECT key::int AS id,
           customer_id::varchar(64) AS key_name,
           0::int AS key_type,
           1::int AS value_type,
           key::varchar(16) AS key_value,
           0::int AS expires
    FROM public.routing_groups
    WHERE customer_id <> '00000000-0000-0000-0000-000000000001'::uuid
"""


def upgrade() -> None:
    op.create_table(
        "providers",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("key", sa.Integer, sa.Identity(always=True), nullable=False),
        _text("name"),
        _text("detail"),
        _text("type", "sip"),
        _text("hostname", None),
        _integer("port", 5060),
        _text("transport", "udp"),
        _text("tech_prefix"),
        _text("tech_postfix"),
        sa.Column("tech_headers", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        _text("codecs"),
        *_tm(),
        sa.UniqueConstraint("key", name="uq_providers_key"),
    )
    op.create_table(
        "provider_addresses",
        sa.Column("provider_id", sa.Uuid, sa.ForeignKey("providers.id"), nullable=False),
        sa.Column("network", CIDR, nullable=False),
        _integer("port", 0),
        sa.PrimaryKeyConstraint("network", "port"),
    )
    op.create_table(
        "routes",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, nullable=False),
        _text("name"),
        _text("detail"),
        sa.Column("provider_id", sa.Uuid, sa.ForeignKey("providers.id"), nullable=False),
        _integer("priority", 0),
        _text("target", "all"),
        *_tm(),
    )
    op.create_table(
        "routing_groups",
        sa.Column("customer_id", sa.Uuid, primary_key=True),
        sa.Column("key", sa.Integer, sa.Identity(always=True, start=2), nullable=False),
        sa.UniqueConstraint("key", name="uq_routing_groups_key"),
    )
    op.execute("""
        INSERT INTO routing_groups (customer_id, key) OVERRIDING SYSTEM VALUE
        VALUES ('00000000-0000-0000-0000-000000000001'::uuid, 1)
    """)
    op.create_table(
        "extensions",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id"), nullable=False),
        _text("name"),
        _text("detail"),
        _text("extension", None),
        _text("domain_name", None),
        _text("username", None),
        _text("ha1", None),
        *_tm(),
    )
    live = sa.text("tm_delete IS NULL")
    op.create_index(
        "uq_extensions_domain_name_extension",
        "extensions",
        ["domain_name", "extension"],
        unique=True,
        postgresql_where=live,
    )
    op.create_index(
        "ix_extensions_page",
        "extensions",
        ["customer_id", sa.text("tm_create DESC"), sa.text("id DESC")],
        postgresql_where=live,
    )

    op.execute("CREATE SCHEMA kamailio")
    for view in (_VERSION, _ADDRESS, _GATEWAYS, _RULES, _GATEWAY_LISTS, _GROUPS):
        op.execute(view)
    # A role belongs to the whole server: another database may have made it already.
    op.execute("""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kamailio') THEN CREATE ROLE kamailio; END IF;
        END $$
    """)
    op.execute("ALTER ROLE kamailio SET search_path = kamailio")
    op.execute("GRANT USAGE ON SCHEMA kamailio TO kamailio")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA kamailio TO kamailio")
    password = os.environ.get("RINGLINE_KAMAILIO_DB_PASSWORD", "")
    if password:
        # Not op.execute(): it would take the colons of the verifier for parameters.
        op.get_bind().exec_driver_sql(login_statement(password))


def downgrade() -> None:
    op.execute("DROP SCHEMA kamailio CASCADE")
    for table in ("extensions", "routing_groups", "routes", "provider_addresses", "providers"):
        op.drop_table(table)
