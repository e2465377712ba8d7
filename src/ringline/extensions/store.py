"""The table of extensions: the SIP accounts that phones register with."""

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
