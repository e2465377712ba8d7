"""The table of idempotency keys."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Table, Text, Uuid

from ringline.storage import metadata
from ringline.storage.types import Timestamp

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    # Null while no request with the key has succeeded.
    Column("response", LargeBinary, nullable=True),
    # Until then a request holds the key; one that never finished does not hold it for a day.
    Column("tm_lease", Timestamp, nullable=False),
    # When the key was first taken for this request.
    Column("tm_create", Timestamp, nullable=False),
    Column("tm_expire", Timestamp, nullable=False),
)
Index("ix_idempotency_keys_tm_expire", idempotency_keys.c.tm_expire)
