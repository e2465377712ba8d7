"""The tables of telephone numbers and of what is ordered for them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Date, Index, Integer, Table, Text, Uuid, text

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
    # A code (``states.Reason``), where there is more to say followed by ": " and words for the customer.
    text_column("status_reason"),
    Column("t38_enabled", Boolean, nullable=False, server_default=text("false")),
    Column("emergency_enabled", Boolean, nullable=False, server_default=text("false")),
    # The fields of ``vendors.models.Address``.
    Column("emergency_address", Json, nullable=True),
    text_column("provider_name"),
    text_column("provider_reference_id"),
    Column("tm_purchase", Timestamp, nullable=True),
    # When the next month is to be paid; nothing for a number that costs nothing.
    Column("tm_renew", Timestamp, nullable=True),
    *tm_columns(),
)
Index("uq_numbers_number", numbers.c.number, unique=True, postgresql_where=_LIVE)
paging_index(numbers)
_NEWEST_FIRST = (numbers.c.tm_create.desc(), numbers.c.id.desc())
Index("ix_numbers_status", numbers.c.customer_id, numbers.c.status, *_NEWEST_FIRST, postgresql_where=_LIVE)
Index("ix_numbers_type", numbers.c.customer_id, numbers.c.type, *_NEWEST_FIRST, postgresql_where=_LIVE)
Index(
    "ix_numbers_deleted",
    numbers.c.customer_id,
    *_NEWEST_FIRST,
    postgresql_where=text("tm_delete IS NOT NULL"),
)
Index("ix_numbers_renew", numbers.c.tm_renew, postgresql_where=_LIVE)
for _flow in ("call_flow_id", "message_flow_id"):
    # a flow that is deleted is taken off its numbers
    Index(f"ix_numbers_{_flow}", numbers.c[_flow], postgresql_where=_LIVE)

_OPEN = text("tm_end IS NULL")

number_orders = Table(
    "number_orders",
    metadata,
    id_column(),
    customer_column(),
    Column("number_id", Uuid, nullable=False),
    Column("number", Text, nullable=False),
    text_column("vendor"),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    # The vendor's ids of the order and of the number.
    text_column("reference"),
    text_column("number_reference"),
    # What went wrong last.
    text_column("reason"),
    # Tries since something came of one.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Counts what is wanted of a number, so that what is wanted meanwhile is not forgotten.
    Column("revision", Integer, nullable=False, server_default=text("0")),
    # The month that a renewal pays, by its first day.
    Column("period", Date, nullable=True),
    # Who works on it, and until when nobody else may.
    Column("lease", Uuid, nullable=True),
    Column("tm_lease", Timestamp, nullable=True),
    Column("tm_next", Timestamp, nullable=False),
    Column("tm_sent", Timestamp, nullable=True),
    Column("tm_create", Timestamp, nullable=False),
    Column("tm_update", Timestamp, nullable=True),
    Column("tm_end", Timestamp, nullable=True),
)
_orders = number_orders.c
Index("ix_number_orders_due", _orders.tm_next, postgresql_where=_OPEN)
Index("ix_number_orders_number", _orders.number)
Index("ix_number_orders_number_id", _orders.number_id, _orders.tm_create.desc())
Index(
    "ix_number_orders_reference",
    _orders.vendor,
    _orders.reference,
    postgresql_where=text("reference <> ''"),
)
# A number that is being given back must not be bought before that is over: the release would hit the purchase.
Index(
    "uq_number_orders_ownership",
    _orders.number,
    unique=True,
    postgresql_where=text("tm_end IS NULL AND kind IN ('buy', 'release')"),
)
Index(
    "uq_number_orders_configure",
    _orders.number_id,
    unique=True,
    postgresql_where=text("tm_end IS NULL AND kind = 'configure'"),
)
Index(
    "uq_number_orders_renew",
    _orders.number_id,
    _orders.period,
    unique=True,
    postgresql_where=text("kind = 'renew'"),
)
