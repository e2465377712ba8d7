"""The table of billing accounts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, text

from ringline.storage import metadata
from ringline.storage.types import (
    Timestamp,
    customer_column,
    id_column,
    paging_index,
    text_column,
    tm_columns,
)

billing_accounts = Table(
    "billing_accounts",
    metadata,
    id_column(),
    customer_column(),
    text_column("name"),
    text_column("detail"),
    text_column("plan_type"),
    # Micro-US-dollars: money is whole numbers.
    Column("balance_credit", BigInteger, nullable=False, server_default=text("0")),
    Column("balance_token", BigInteger, nullable=False, server_default=text("0")),
    text_column("payment_type"),
    text_column("payment_method"),
    Column("tm_last_topup", Timestamp, nullable=True),
    Column("tm_next_topup", Timestamp, nullable=True),
    *tm_columns(),
)
paging_index(billing_accounts)
