"""Column types and the columns that most tables share."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Column, DateTime, ForeignKey, Index, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

Timestamp = DateTime(timezone=True)
Json = JSONB(none_as_null=True)


def id_column() -> Column[UUID]:
    """The primary key, a UUID chosen by the application before the row is written."""
    return Column("id", Uuid, primary_key=True)


def customer_column() -> Column[UUID]:
    """The owner. Every query of a customer's request carries it."""
    return Column("customer_id", Uuid, ForeignKey("customers.id"), nullable=False)


def text_column(name: str) -> Column[str]:
    """Text that is ``''`` when nothing was given."""
    return Column(name, Text, nullable=False, server_default="")


def tm_columns() -> tuple[Column[Any], Column[Any], Column[Any]]:
    """``tm_create``, ``tm_update`` and ``tm_delete``; a row with ``tm_delete`` is gone for every request."""
    return (
        Column("tm_create", Timestamp, nullable=False),
        Column("tm_update", Timestamp, nullable=True),
        Column("tm_delete", Timestamp, nullable=True),
    )


def paging_index(table: Table) -> Index:
    """What ``ringline.http.page_statement`` walks: a customer's live rows, newest first."""
    return Index(
        f"ix_{table.name}_page",
        table.c.customer_id,
        table.c.tm_create.desc(),
        table.c.id.desc(),
        postgresql_where=text("tm_delete IS NULL"),
    )
