"""The tables behind tokens of logins: what they are signed with, and which of them were taken back."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Table, Uuid

from ringline.storage import metadata
from ringline.storage.types import Timestamp, id_column, tm_columns

signing_keys = Table(
    "signing_keys",
    metadata,
    id_column(),
    # no key: with RINGLINE_JWT_SECRET it becomes one (``signing.derived``)
    Column("salt", LargeBinary, nullable=False),
    # from when on it signs, and until when what it signed is accepted (null: it is the newest)
    Column("tm_sign", Timestamp, nullable=False),
    Column("tm_expire", Timestamp, nullable=True),
    *tm_columns(),
)

revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    # the token's ``jti``
    id_column(),
    Column("customer_id", Uuid, nullable=False),
    Column("agent_id", Uuid, nullable=False),
    # when the token would have ended by itself: from then on the row is not needed
    Column("tm_expire", Timestamp, nullable=False),
    *tm_columns(),
)
Index("ix_revoked_tokens_tm_expire", revoked_tokens.c.tm_expire)
