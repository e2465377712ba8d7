"""The tables of ports, of the numbers in them and of the files that belong to them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

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


def _port_column() -> sa.Column[Any]:
    return sa.Column("port_id", sa.Uuid, sa.ForeignKey("number_ports.id", ondelete="CASCADE"), nullable=False)


number_ports = sa.Table(
    "number_ports",
    metadata,
    id_column(),
    customer_column(),
    text_column("name"),
    text_column("detail"),
    sa.Column("status", sa.Text, nullable=False),
    text_column("reason"),
    sa.Column("history", Json, nullable=False, server_default=sa.text("'[]'::jsonb")),
    text_column("carrier"),
    text_column("account_number"),
    text_column("pin"),
    sa.Column("owner", Json, nullable=False),
    text_column("authorised_person"),
    text_column("email"),
    sa.Column("wanted_date", sa.Date, nullable=True),
    sa.Column("call_flow_id", sa.Uuid, nullable=True),
    sa.Column("message_flow_id", sa.Uuid, nullable=True),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.text("false")),
    text_column("provider_name"),
    # what the vendor is told (a new one each time the port is submitted), and what it calls it
    sa.Column("request_id", sa.Uuid, nullable=True),
    text_column("reference"),
    # a request of the vendor's that is to be withdrawn before the next one
    sa.Column("former_request_id", sa.Uuid, nullable=True),
    text_column("former_reference"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("hints", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("tm_sent", Timestamp, nullable=True),
    sa.Column("tm_next", Timestamp, nullable=True),
    sa.Column("tm_lease", Timestamp, nullable=True),
    sa.Column("tm_submit", Timestamp, nullable=True),
    sa.Column("tm_foc", Timestamp, nullable=True),
    sa.Column("tm_end", Timestamp, nullable=True),
    *tm_columns(),
)
"""``tm_sent``: the vendor may have been asked for ``request_id``, and what it said is unknown while there is no
``reference``. ``tm_next``: when the worker looks at it. ``hints`` counts reasons to look again.
"""
paging_index(number_ports)
sa.Index("ix_number_ports_next", number_ports.c.tm_next, postgresql_where=sa.text("tm_next IS NOT NULL"))
sa.Index(
    "ix_number_ports_request", number_ports.c.request_id, postgresql_where=sa.text("request_id IS NOT NULL")
)
sa.Index(
    "ix_number_ports_reference",
    number_ports.c.provider_name,
    number_ports.c.reference,
    postgresql_where=sa.text("reference <> ''"),
)

number_port_numbers = sa.Table(
    "number_port_numbers",
    metadata,
    _port_column(),
    sa.Column("number", sa.Text, nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("claimed", sa.Boolean, nullable=False),
    sa.Column("number_id", sa.Uuid, nullable=True),
    text_column("reason"),
    sa.PrimaryKeyConstraint("port_id", "number"),
)
"""A number is ``claimed`` while a port that was submitted has not ended: nobody else ports it then."""
sa.Index(
    "uq_number_port_numbers_claimed",
    number_port_numbers.c.number,
    unique=True,
    postgresql_where=sa.text("claimed"),
)

number_port_documents = sa.Table(
    "number_port_documents",
    metadata,
    id_column(),
    _port_column(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=True),
    sa.Column("tm_create", Timestamp, nullable=False),
    sa.UniqueConstraint("port_id", "kind"),
)
"""``content`` goes some time after the port has ended."""
