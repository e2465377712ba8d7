"""The table of endpoints: where events are sent, and which.

The endpoint of a customer's own ``webhook_uri`` has the customer's id; a trigger on ``customers`` keeps it.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ringline.storage import metadata
from ringline.storage.types import (
    Timestamp,
    id_column,
    paging_index,
    text_column,
    tm_columns,
)

_EMPTY = sa.text("'{}'::text[]")

webhooks = sa.Table(
    "webhooks",
    metadata,
    id_column(),
    # customers are kept when they are deleted; who removes one's row removes these
    sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("type", sa.Text, nullable=False, server_default="endpoint"),
    text_column("name"),
    text_column("detail"),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("method", sa.Text, nullable=False, server_default="POST"),
    sa.Column("events", ARRAY(sa.Text), nullable=False, server_default=_EMPTY),
    # the same for LIKE; none are all
    sa.Column("patterns", ARRAY(sa.Text), nullable=False, server_default=_EMPTY),
    sa.Column("resources", ARRAY(sa.Text), nullable=False, server_default=_EMPTY),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.text("true")),
    text_column("disabled_reason"),
    # What the secret is made of, together with a key that is not in the database (``signing``).
    sa.Column("salt", sa.Uuid, nullable=False, server_default=sa.text("gen_random_uuid()")),
    sa.Column("former_salt", sa.Uuid, nullable=True),
    sa.Column("tm_former_expire", Timestamp, nullable=True),
    sa.Column("tm_disabled", Timestamp, nullable=True),
    # since when nothing has arrived there, though it was tried
    sa.Column("tm_failing", Timestamp, nullable=True),
    *tm_columns(),
    sa.Index(
        "uq_webhooks_activeflow",
        "customer_id",
        "uri",
        "method",
        unique=True,
        postgresql_where=sa.text("type = 'activeflow' AND tm_delete IS NULL"),
    ),
    sa.Index(
        "ix_webhooks_told",
        "customer_id",
        postgresql_where=sa.text("type <> 'activeflow' AND enabled AND tm_delete IS NULL AND uri <> ''"),
    ),
)
paging_index(webhooks)
