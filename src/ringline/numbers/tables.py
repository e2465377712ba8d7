"""The table of telephone numbers."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Table, Text, Uuid, text

from ringline.storage import metadata
from ringline.storage.types import (
    Timestamp,
    customer_column,
    id_column,
    paging_index,
    text_column,
    tm_columns,
)

numbers = Table(
    "numbers",
    metadata,
    id_column(),
    customer_column(),
    Column("number", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("call_flow_id", Uuid, nullable=True),
    Column("message_flow_id", Uuid, nullable=True),
    text_column("name"),
    text_column("detail"),
    Column("status", Text, nullable=False),
    Column("t38_enabled", Boolean, nullable=False, server_default=text("false")),
    Column("emergency_enabled", Boolean, nullable=False, server_default=text("false")),
    text_column("provider_name"),
    text_column("provider_reference_id"),
    Column("tm_purchase", Timestamp, nullable=True),
    Column("tm_renew", Timestamp, nullable=True),
    *tm_columns(),
)
Index("uq_numbers_number", numbers.c.number, unique=True, postgresql_where=text("tm_delete IS NULL"))
paging_index(numbers)
