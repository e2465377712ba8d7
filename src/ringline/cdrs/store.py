"""Queries on call detail records; an export's lines are made by PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ringline.cdrs.models import CdrAnswer, CdrFilter
from ringline.cdrs.tables import cdrs
from ringline.storage import Database

PIECE: Final = 2_000
"""Lines that are made by one statement and are in memory at a time."""
COLUMNS: Final = tuple(CdrAnswer.model_fields)
_DANGEROUS: Final = "^[=+@\\t\\r\\n-]"
"""What makes a spreadsheet take a cell for a formula."""
_PLAIN_NUMBER: Final = "^[+-]?[0-9]+$"


def listing(customer_id: UUID, wanted: CdrFilter) -> sa.Select[Any]:
    """The customer's records that are wanted, to be paged by the caller."""
    return sa.select(cdrs).where(*_conditions(customer_id, wanted))


def _conditions(customer_id: UUID, wanted: CdrFilter) -> list[sa.ColumnElement[bool]]:
    table = cdrs.c
    found: list[sa.ColumnElement[bool]] = [table.customer_id == customer_id]
    if wanted.tm_from is not None:
        found.append(table.tm_create >= wanted.tm_from)
    if wanted.tm_to is not None:
        found.append(table.tm_create < wanted.tm_to)
    if wanted.number is not None:
        found.append(sa.or_(table.source == wanted.number, table.destination == wanted.number))
    if wanted.answered is not None:
        found.append((table.billsec > 0) if wanted.answered else (table.billsec == 0))
    if wanted.min_duration is not None:
        found.append(table.billsec >= wanted.min_duration)
    same = ("direction", "hangup_reason", "cost_type", "activeflow_id", "groupcall_id")
    found += [table[name] == value for name in same if (value := getattr(wanted, name)) is not None]
    return found


async def lines(
    database: Database, customer_id: UUID, wanted: CdrFilter, kind: str, piece: int = PIECE
) -> AsyncIterator[bytes]:
    """The records as text, newest first: some lines at a time, each lot by a statement of its own.

    Between them no connection and no snapshot is held, however slowly they are read. Raises ``DatabaseUnavailable``.
    """
    line = _json() if kind == "jsonl" else _csv()
    statement = sa.select(cdrs.c.id, cdrs.c.tm_create, line.label("line")).where(
        *_conditions(customer_id, wanted)
    )
    last: tuple[datetime, UUID] | None = None
    while True:
        found = statement
        if last is not None:
            tm, row_id = last
            found = found.where(cdrs.c.tm_create <= tm, sa.or_(cdrs.c.tm_create < tm, cdrs.c.id < row_id))
        part = found.order_by(cdrs.c.tm_create.desc(), cdrs.c.id.desc()).limit(piece).cte("part")
        nothing: sa.ColumnElement[str] = sa.literal_column("''")
        in_order = postgresql.aggregate_order_by(nothing, part.c.tm_create.desc(), part.c.id.desc())
        whole = sa.select(
            sa.func.string_agg(part.c.line, in_order),
            sa.func.count(),
            sa.func.min(part.c.tm_create),
            # the last one is the smallest id of the oldest moment
            sa.select(part.c.id).order_by(part.c.tm_create, part.c.id).limit(1).scalar_subquery(),
        ).select_from(part)
        async with database.connect() as connection:
            text, count, oldest, row_id = (await connection.execute(whole)).one()
        if count:
            yield text.encode()
        if count < piece:
            return
        last = (oldest, UUID(str(row_id)))


def header() -> bytes:
    """The first line of a CSV file."""
    return (",".join(COLUMNS) + "\r\n").encode()


def _moment(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return sa.func.to_char(
        sa.func.timezone(sa.literal_column("'UTC'"), column),
        sa.literal_column('\'YYYY-MM-DD"T"HH24:MI:SS"Z"\''),
    )


def _json() -> sa.ColumnElement[Any]:
    pairs: list[Any] = []
    for name in COLUMNS:
        column = cdrs.c[name]
        pairs += [
            sa.literal_column(f"'{name}'"),
            _moment(column) if name.startswith("tm_") else column,
        ]
    made = sa.func.json_build_object(*pairs)
    return sa.cast(made, sa.Text).op("||")(sa.literal_column("E'\\n'"))


def _csv() -> sa.ColumnElement[Any]:
    cells: list[Any] = []
    for name in COLUMNS:
        column = cdrs.c[name]
        if name.startswith("tm_"):
            cells.append(sa.func.coalesce(_moment(column), sa.literal_column("''")))
        elif isinstance(column.type, sa.Text):
            cells.append(_quoted(column))
        else:
            cells.append(sa.cast(column, sa.Text))
    line = sa.func.concat_ws(sa.literal_column("','"), *cells)
    return line.op("||")(sa.literal_column("E'\\r\\n'"))


def _quoted(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Text of strangers as a cell (RFC 4180), which no spreadsheet runs: numbers stay as they are."""
    quote: sa.ColumnElement[str] = sa.literal_column("'\"'")
    dangerous = sa.and_(column.regexp_match(_DANGEROUS), sa.not_(column.regexp_match(_PLAIN_NUMBER)))
    shown = sa.case((dangerous, sa.func.concat(sa.literal_column("''''"), column)), else_=column)
    escaped = sa.func.replace(shown, quote, sa.literal_column("'\"\"'"))
    return sa.case((shown.regexp_match("[\",\\r\\n']"), sa.func.concat(quote, escaped, quote)), else_=shown)
