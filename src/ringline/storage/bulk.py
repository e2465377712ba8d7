"""Many rows in one statement, whose only parameter is the rows as JSON.

A parameter for each value of each row costs the controller more than the rest of a call does; PostgreSQL takes the
JSON apart by the table's own types (``jsonb_populate_recordset``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection


def insert(table: sa.Table, columns: Iterable[str]) -> sa.TextClause:
    """Insert rows that hold exactly ``columns``; an id that is there already is an ``IntegrityError``."""
    names = ", ".join(_known(table, columns))
    return _statement(
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_rows(table)}"  # noqa: S608 - names of our own
    )


def insert_new(table: sa.Table, columns: Iterable[str]) -> sa.TextClause:
    """Insert rows that hold exactly ``columns``; where the id is there already the row stays as it is."""
    return _statement(f"{insert(table, columns).text} ON CONFLICT (id) DO NOTHING")


def upsert(
    table: sa.Table, columns: Iterable[str], update: Iterable[str], keep: Iterable[str] = ()
) -> sa.TextClause:
    """Insert rows that hold exactly ``columns``; where the id is there already, change the columns in ``update``.

    Columns in ``keep`` are filled once: what stands there already is not taken back.
    """
    names = ", ".join(_known(table, columns))
    changes = ", ".join(
        [f"{name} = excluded.{name}" for name in _known(table, update)]
        + [f"{name} = COALESCE({table.name}.{name}, excluded.{name})" for name in _known(table, keep)]
    )
    return _statement(
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_rows(table)}"  # noqa: S608 - names of our own
        f" ON CONFLICT (id) DO UPDATE SET {changes}"
    )


def update(table: sa.Table, columns: Iterable[str]) -> sa.TextClause:
    """Change these columns of the rows that have the given ids."""
    changes = ", ".join(f"{name} = given.{name}" for name in _known(table, columns))
    return _statement(
        f"UPDATE {table.name} SET {changes} FROM {_rows(table)} AS given"  # noqa: S608 - names of our own
        f" WHERE {table.name}.id = given.id"
    )


@dataclass(frozen=True, slots=True)
class Last:
    """The end of a statement of ``together``: what is more than one step. ``:rows0`` in it are its rows.

    ``parts`` are named queries (``name AS (...)``) that may change tables, ``select`` is what is asked at the end.
    """

    parts: str
    select: str


def together(*statements: sa.TextClause, last: Last | None = None) -> sa.TextClause:
    """One statement out of several that touch different rows: one round trip, and all of them or none."""
    parts = [
        f"part{index} AS ({statement.text.replace(':rows0', f':rows{index}')})"
        for index, statement in enumerate(statements)
    ]
    if last is None:
        return _statement(f"WITH {', '.join(parts)} SELECT 1", len(statements))
    parts.append(last.parts.replace(":rows0", f":rows{len(statements)}"))
    return _statement(f"WITH {', '.join(parts)} {last.select}", len(statements) + 1)


async def run(
    connection: AsyncConnection, statement: sa.TextClause, *batches: Sequence[dict[str, Any]]
) -> None:
    """Run one of the statements above with its rows; ``together`` takes rows for each of its parts.

    No two rows of a batch may have the same id.
    """
    # asyncpg has a UUID class of its own, which orjson does not know
    await connection.execute(
        statement,
        {f"rows{index}": orjson.dumps(rows, default=str).decode() for index, rows in enumerate(batches)},
    )


def _known(table: sa.Table, names: Iterable[str]) -> list[str]:
    return [table.c[name].name for name in names]


def _rows(table: sa.Table) -> str:
    return f"jsonb_populate_recordset(NULL::{table.name}, CAST(:rows0 AS jsonb))"


def _statement(text: str, batches: int = 1) -> sa.TextClause:
    parameters = (sa.bindparam(f"rows{index}", type_=sa.Text) for index in range(batches))
    return sa.text(text).bindparams(*parameters)
