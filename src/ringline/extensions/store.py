"""SIP accounts: extensions, which phones register with, and trunks, which telephone systems send through."""

from __future__ import annotations

import sqlalchemy as sa

from ringline.storage import metadata, types

extensions = sa.Table(
    "extensions",
    metadata,
    types.id_column(),
    types.customer_column(),
    types.text_column("name"),
    types.text_column("detail"),
    sa.Column("extension", sa.Text, nullable=False),
    sa.Column("domain_name", sa.Text, nullable=False),
    sa.Column("username", sa.Text, nullable=False),
    # MD5(username:realm:password), RFC 2617. The password itself is kept nowhere.
    sa.Column("ha1", sa.Text, nullable=False),
    # none, optional or required
    sa.Column("srtp", sa.Text, nullable=False, server_default="optional"),
    # calls at once; 0 is the installation's limit
    sa.Column("max_calls", sa.Integer, nullable=False, server_default=sa.text("0")),
    *types.tm_columns(),
)
sa.Index(
    "uq_extensions_domain_name_extension",
    extensions.c.domain_name,
    extensions.c.extension,
    unique=True,
    postgresql_where=extensions.c.tm_delete.is_(None),
)
types.paging_index(extensions)
# with each request of a phone (view kamailio.subscriber)
sa.Index("ix_extensions_username", extensions.c.username, postgresql_where=extensions.c.tm_delete.is_(None))

trunks = sa.Table(
    "trunks",
    metadata,
    types.id_column(),
    types.customer_column(),
    types.text_column("name"),
    types.text_column("detail"),
    # The first label of its realm, <domain_name>.trunk.<SIP domain>; unique in the installation.
    sa.Column("domain_name", sa.Text, nullable=False),
    sa.Column("auth_types", types.Json, nullable=False, server_default=sa.text("'[]'::jsonb")),
    # What Kamailio knows it by, and its secret was made with; kept, for the SIP domain may change.
    types.text_column("realm"),
    types.text_column("username"),
    types.text_column("ha1"),
    sa.Column("allowed_ips", types.Json, nullable=False, server_default=sa.text("'[]'::jsonb")),
    # none, optional or required
    sa.Column("srtp", sa.Text, nullable=False, server_default="optional"),
    sa.Column("max_calls", sa.Integer, nullable=False, server_default=sa.text("0")),
    *types.tm_columns(),
)
sa.Index(
    "uq_trunks_domain_name", trunks.c.domain_name, unique=True, postgresql_where=trunks.c.tm_delete.is_(None)
)
types.paging_index(trunks)
sa.Index("ix_trunks_username", trunks.c.username, postgresql_where=trunks.c.tm_delete.is_(None))

WEBRTC_FLAG = 32
"""Of ``locations.c.cflags``: this contact speaks SIP over WebSocket, and with it DTLS-SRTP (branch flag 5)."""

# Contacts that are registered: Kamailio's table, in its own schema and written by it; we only delete
# the rows of accounts that end. Not among our own.
locations = sa.Table(
    "location",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("ruid", sa.Text, nullable=False),
    # address of record: <username>@<domain>, an extension and its realm
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("domain", sa.Text),
    sa.Column("contact", sa.Text, nullable=False),
    # where it came from: sip:203.0.113.7:5060, with ;transport= if not UDP
    sa.Column("received", sa.Text),
    # proxies between a phone and us (RFC 3327)
    sa.Column("path", sa.Text),
    # the preference that a phone asked for, -1 for none
    sa.Column("q", sa.Float, nullable=False),
    # UTC, as all times here. Rows that ran out stay for some seconds.
    sa.Column("expires", sa.DateTime(timezone=False), nullable=False),
    sa.Column("last_modified", sa.DateTime(timezone=False), nullable=False),
    sa.Column("cflags", sa.Integer, nullable=False),
    sa.Column("user_agent", sa.Text, nullable=False),
    # of ours, where it came in: udp:127.0.0.1:5060
    sa.Column("socket", sa.Text),
    sa.Column("callid", sa.Text, nullable=False),
    schema="kamailio",
)
