"""Lists in pages, newest first, without losing or repeating a row.

The token is the ``tm_create`` of a page's last row, as the documents say, to the microsecond. When the next
row was made in that very microsecond the last row's id is appended: rows made together are not skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import BeforeValidator, Field, InstanceOf, WithJsonSchema
from sqlalchemy import Row, Select, Table, or_

from ringline.http import times
from ringline.http.models import Page, QueryModel

T = TypeVar("T")

DEFAULT_SIZE = 100
LARGEST_SIZE = 1000
_SEPARATOR = "_"
_LONGEST_TOKEN = 80


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended. Rows before ``tm`` follow; with ``id`` also those of the same moment below it."""

    tm: datetime
    id: UUID | None = None


def _read_cursor(value: object) -> Cursor | None:
    if value is None or value == "" or isinstance(value, Cursor):
        return value or None  # type: ignore[return-value]  # "" and None both mean the first page
    if not isinstance(value, str) or len(value) > _LONGEST_TOKEN:
        raise ValueError("must be the `next_page_token` of a page, or a time such as 2021-02-06T08:54:38Z")
    moment, _, row_id = value.partition(_SEPARATOR)
    try:
        return Cursor(times.parse(moment), UUID(row_id) if row_id else None)
    except ValueError:
        raise ValueError(
            "must be the `next_page_token` of a page, or a time such as 2021-02-06T08:54:38Z or "
            "2021-02-06 08:54:38.000000"
        ) from None


class PageQuery(QueryModel):
    """What every list understands."""

    page_size: int = Field(
        DEFAULT_SIZE, ge=1, le=LARGEST_SIZE, description=f"Rows in a page, 1 to {LARGEST_SIZE}."
    )
    page_token: Annotated[
        InstanceOf[Cursor] | None,
        BeforeValidator(_read_cursor),
        WithJsonSchema({"type": "string", "examples": ["2021-02-06T08:54:38.123456Z"]}),
    ] = Field(
        None,
        description="The `next_page_token` of the page before. Any time in ISO 8601 or as "
        "`YYYY-MM-DD HH:MM:SS.ffffff` (UTC) will do: rows made before it follow.",
    )


def page_statement(statement: Select[Any], table: Table, query: PageQuery) -> Select[Any]:
    """Order ``statement`` newest first, cut to the page and one row more, which tells of a next page."""
    tm, row_id = table.c.tm_create, table.c.id
    cursor = query.page_token
    if cursor is not None:
        older = tm < cursor.tm
        if cursor.id is None:
            statement = statement.where(older)
        else:
            # the first half says nothing new, but only by it an index is entered where the page begins
            statement = statement.where(tm <= cursor.tm, or_(older, row_id < cursor.id))
    return statement.order_by(tm.desc(), row_id.desc()).limit(query.page_size + 1)


def page_of(
    rows: Sequence[Row[Any]],
    query: PageQuery,
    build: Callable[[Row[Any]], T],
    *,
    style: times.Style = "iso",
) -> Page[T]:
    """The page of rows that ``page_statement`` fetched; ``build`` makes the answer of one row."""
    shown = rows[: query.page_size]
    token = ""
    if len(rows) > query.page_size:
        last, following = shown[-1], rows[query.page_size]
        token = times.iso_exact(last.tm_create) if style == "iso" else times.number_style(last.tm_create)
        if following.tm_create == last.tm_create:
            token += f"{_SEPARATOR}{last.id}"
    return Page[Any](result=[build(row) for row in shown], next_page_token=token)
