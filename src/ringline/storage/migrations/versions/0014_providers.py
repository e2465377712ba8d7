"""Providers that ask for a password, and how they are.

What Kamailio needs to know of a provider besides its address goes into hash tables of its own (``key::field``): the
attributes of a gateway in drouting are too short for headers. Secrets have a table apart, which nobody dumps.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _row(field: str, value: str, condition: str) -> str:
    return f"SELECT id || '::{field}' AS name, {value} AS value FROM live WHERE {condition}"  # noqa: S608 - our own words


_ADDRESS = """
    (CASE WHEN hostname LIKE '%:%' THEN '[' || hostname || ']' ELSE hostname END
     || CASE WHEN port = 0 THEN '' ELSE ':' || port END
     || CASE WHEN transport = 'udp' THEN '' ELSE ';transport=' || transport END)
"""
_HEADERS = """
    (SELECT string_agg(header.key || ': ' || header.value || E'\\r\\n', '' ORDER BY header.key)
     FROM jsonb_each_text(tech_headers) AS header)
"""
_CONTACT = (
    "CASE WHEN registration_contact = '' THEN replace(id::varchar, '-', '') ELSE registration_contact END"
)


def _table(name: str, rows: list[str]) -> str:
    """A view in the form of the htable module's tables; all keys and values are strings."""
    return f"""
        CREATE VIEW kamailio.{name} AS
        WITH live AS (SELECT * FROM public.providers WHERE tm_delete IS NULL),
        known AS ({" UNION ALL ".join(rows)})
        SELECT row_number() OVER (ORDER BY name)::int AS id,
               name::varchar(128) AS key_name,
               0::int AS key_type,
               0::int AS value_type,
               value::varchar AS key_value,
               0::int AS expires
        FROM known
    """  # noqa: S608


_SETTINGS = _table(
    "provider_settings",
    [
        _row("address", _ADDRESS, "true"),
        _row("prefix", "tech_prefix", "tech_prefix <> ''"),
        _row("postfix", "tech_postfix", "tech_postfix <> ''"),
        _row("headers", _HEADERS, "tech_headers <> '{}'::jsonb"),
        _row("codecs", "codecs", "codecs <> ''"),
        _row("contact", _CONTACT, "registration"),
        _row("health", "'1'", "health_check"),
        # All that are asked how they are, in one row: Kamailio walks through it every few seconds.
        "SELECT 'checked', string_agg(id::varchar, ' ' ORDER BY key) FROM live WHERE health_check"
        " HAVING count(*) > 0",
    ],
)
_SECRETS = _table(
    "provider_secrets",
    [
        _row("username", "username", "username <> ''"),
        _row("password", "password", "password <> ''"),
        _row("ha1", "ha1", "ha1 <> ''"),
        _row("realm", "realm", "realm <> ''"),
    ],
)

# The uac module's table of registrations that we keep up. An empty contact_addr is the edge's own.
_REGISTRATIONS = f"""
    CREATE VIEW kamailio.uacreg AS
    SELECT key::int AS id,
           ({_CONTACT})::varchar(64) AS l_uuid,
           username::varchar(64) AS l_username,
           hostname::varchar(255) AS l_domain,
           username::varchar(64) AS r_username,
           hostname::varchar(255) AS r_domain,
           realm::varchar(128) AS realm,
           username::varchar(64) AS auth_username,
           password::varchar(128) AS auth_password,
           ha1::varchar(128) AS auth_ha1,
           ('sip:' || {_ADDRESS})::varchar(300) AS auth_proxy,
           registration_expires::int AS expires,
           0::int AS flags,
           0::int AS reg_delay,
           ''::varchar(255) AS contact_addr,
           ''::varchar(128) AS socket
    FROM public.providers
    WHERE tm_delete IS NULL AND registration
"""  # noqa: S608

_VERSIONS = {"provider_settings": 2, "provider_secrets": 2, "uacreg": 5}


def upgrade() -> None:
    for column in (
        _text("username"),
        _text("realm"),
        _text("password"),
        _text("ha1"),
        sa.Column("registration", sa.Boolean, nullable=False, server_default=sa.false()),
        _text("registration_contact"),
        sa.Column("registration_expires", sa.Integer, nullable=False, server_default=sa.text("3600")),
        sa.Column("health_check", sa.Boolean, nullable=False, server_default=sa.true()),
    ):
        op.add_column("providers", column)
    op.create_index(
        "uq_providers_registration_contact",
        "providers",
        ["registration_contact"],
        unique=True,
        postgresql_where=sa.text("tm_delete IS NULL AND registration AND registration_contact <> ''"),
    )
    for view in (_SETTINGS, _SECRETS, _REGISTRATIONS):
        op.execute(view)
    rows = ", ".join(f"('{name}', {version})" for name, version in _VERSIONS.items())
    op.execute(f"INSERT INTO kamailio.version (table_name, table_version) VALUES {rows}")  # noqa: S608
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA kamailio TO kamailio")


def downgrade() -> None:
    for view in _VERSIONS:
        op.execute(f"DROP VIEW kamailio.{view}")
    names = ", ".join(f"'{name}'" for name in _VERSIONS)
    op.execute(f"DELETE FROM kamailio.version WHERE table_name IN ({names})")  # noqa: S608
    op.drop_index("uq_providers_registration_contact", "providers")
    for column in (
        "username",
        "realm",
        "password",
        "ha1",
        "registration",
        "registration_contact",
        "registration_expires",
        "health_check",
    ):
        op.drop_column("providers", column)
