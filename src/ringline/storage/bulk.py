"""Many rows in one statement, whose only parameter is the rows as JSON.

A parameter for each value of each row costs the controller more than the rest of a call does; PostgreSQL takes the
JSON apart by the table's own types (``jsonb_populate_recordset``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


async def run(connection: AsyncConnection, statement: sa.TextClause, rows: Sequence[dict[str, Any]]) -> None:
    """Run one of the statements above. No two rows may have the same id."""
    # asyncpg has a UUID class of its own, which orjson does not know
    await connection.execute(statement, {"rows": orjson.dumps(rows, default=str).decode()})


def _known(table: sa.Table, names: Iterable[str]) -> list[str]:
    return [table.c[name].name for name in names]


def _rows(table: sa.Table) -> str:
    return f"jsonb_populate_recordset(NULL::{table.name}, CAST(:rows AS jsonb))"


def _statement(text: str) -> sa.TextClause:
    return sa.text(text).bindparams(sa.bindparam("rows", type_=sa.Text))
