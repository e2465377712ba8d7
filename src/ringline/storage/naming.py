"""Where a statement says whose rows it is about: found once in its text, read in its values each time.

The text is what the driver gets (``$1`` and so on). What counts is a value that ``customer_id`` (of ``customers``:
``id``) is compared with in a condition, or that an INSERT puts there; rows that come as JSON say it under that name.
What is selected, set or returned says nothing. Not seen: whether an OR beside the condition, or another table of a
join, lets in more than the condition says.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import orjson

_STARTS: Final = r"SELECT|FROM|WHERE|SET|RETURNING|VALUES|GROUP\s+BY|ORDER\s+BY|WITH|CONFLICT"
_TELLS_NOTHING: Final = frozenset({"SELECT", "SET", "RETURNING", "VALUES", "GROUP", "ORDER", "CONFLICT"})
_CAST: Final = r"(?:CAST\s*\(\s*)?"
_VALUES: Final = (
    rf"(?:=|IN)\s*(?:ANY\s*)?\(*\s*(?:ARRAY\s*\[)?\s*{_CAST}(?P<values>\$\d+(?:::[\w\[\]]+|\s*,\s*|\$\d+)*)"
)
_WHOSE: Final = r"(?:(?P<table>\w+)\.)?(?P<column>customer_id|id)"
_TOKEN: Final = re.compile(
    rf"'(?:[^']|'')*'|(?P<open>\()|(?P<close>\))|\b{_WHOSE}\s*{_VALUES}"
    rf"|(?P<value>\$\d+)(?:::\w+)?\s*=\s*(?:(?P<table2>\w+)\.)?(?P<column2>customer_id|id)\b"
    rf"|\b(?P<start>{_STARTS})\b",
    re.IGNORECASE,
)
_INSERT: Final = re.compile(
    r"\bINSERT\s+INTO\s+(?P<table>\w+)(?:\s+AS\s+\w+)?\s*\((?P<columns>[^()]*)\)\s*", re.I
)
_ROWS: Final = re.compile(r"\bjsonb?_(?:populate_recordset|to_recordset)\b", re.IGNORECASE)
_PLACE: Final = re.compile(r"\$(\d+)")
_TABLES: Final = re.compile(r"\b(?:FROM|JOIN|INTO|USING|(?<!FOR )UPDATE)\b", re.IGNORECASE)
_CUSTOMERS: Final = re.compile(r"\b(?:FROM|UPDATE)\s+customers\s", re.IGNORECASE)
_STRINGS: Final = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True, slots=True)
class Naming:
    """What a statement's text says. ``places``: indexes of values that are customers; ``rows``: it takes JSON."""

    places: tuple[int, ...]
    rows: bool

    def names(self, customer_id: UUID, values: Sequence[Any]) -> bool:
        """Whether it names this customer with these values, and no other one."""
        if self.places:
            return all(place < len(values) and _only(values[place], customer_id) for place in self.places)
        return self.rows and _in_rows(values, customer_id)


def naming(statement: str, tables: Collection[str]) -> Naming | None:
    """How a statement names customers; ``None``: it touches none of ``tables``, which are what customers have."""
    text = _STRINGS.sub("''", statement)
    if _any_of(frozenset(tables)).search(text) is None:
        return None
    places = tuple(sorted({*_compared(text), *_inserted(text)}))
    return Naming(places, _ROWS.search(text) is not None)


@lru_cache(maxsize=8)
def _any_of(tables: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(tables)))})\b")


def _compared(text: str) -> set[int]:
    """Indexes of values in conditions. A query within a SELECT list counts where the one around it reads no table."""
    clauses = [""]
    plain: set[int] = set()
    within: set[int] = set()
    reads = False
    for token in _TOKEN.finditer(text):
        clause = clauses[-1]
        if token["start"]:
            clauses[-1] = token["start"].split()[0].upper()
            reads = reads or (len(clauses) == 1 and clauses[-1] == "FROM")
            continue
        found = _PLACE.findall(token["values"] or token["value"] or "")
        if found and clause not in _TELLS_NOTHING and _is_customer(token, text):
            outer = [one for one in clauses[:-1] if one in _TELLS_NOTHING]
            if not outer:
                plain.update(int(number) - 1 for number in found)
            elif set(outer) == {"SELECT"}:
                within.update(int(number) - 1 for number in found)
        if token["open"]:
            clauses.append(clause)
        elif token["close"] and len(clauses) > 1:
            clauses.pop()
        elif found:
            clauses += [clause] * token[0].count("(")
    return plain if plain or reads else within


def _is_customer(token: re.Match[str], text: str) -> bool:
    table, column = token["table"] or token["table2"] or "", token["column"] or token["column2"]
    if column.lower() == "customer_id":
        return True
    if table:
        return table == "customers"
    # a text that asks of nothing else
    return len(_TABLES.findall(text)) == 1 and _CUSTOMERS.search(text) is not None


def _inserted(text: str) -> Iterator[int]:
    """Indexes of values that are put into ``customer_id``."""
    for insert in _INSERT.finditer(text):
        columns = [name.strip().strip('"') for name in insert["columns"].split(",")]
        name = "id" if insert["table"] == "customers" else "customer_id"
        if name not in columns:
            continue
        at, rest = columns.index(name), text[insert.end() :]
        if rest[:6].upper() == "VALUES":
            rows = _groups(rest[6:])
        elif rest[:6].upper() == "SELECT":
            rows = [_items(rest[6:])]
            if at < len(rows[0]) and (renamed := re.match(r"\s*(p\d+)\b", rows[0][at])):
                # how SQLAlchemy inserts many rows and gets them back in their order
                many = re.search(r"\bVALUES\s*(.*?)\s*AS\s+imp_sen\s*\(([^()]*)\)", rest, re.DOTALL)
                if many is not None:
                    rows, names = _groups(many[1]), [one.strip() for one in many[2].split(",")]
                    at = names.index(renamed[1])
        else:
            continue
        for row in rows:
            if at < len(row) and (place := _PLACE.search(row[at])):
                yield int(place[1]) - 1


def _groups(text: str) -> list[list[str]]:
    """The items of ``(a, b), (c, d)``, up to what is no such group."""
    groups, rest = [], text.lstrip(" \n,")
    while rest.startswith("("):
        end = _end(rest)
        groups.append(_items(rest[1:end]))
        rest = rest[end + 1 :].lstrip(" \n,")
    return groups


def _end(text: str) -> int:
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return index
    return len(text)


def _items(text: str) -> list[str]:
    """What stands between commas, up to the end of a SELECT's list."""
    items: list[str] = []
    depth = start = 0
    for token in re.finditer(r"[(),\[\]]|\b(?:FROM|WHERE|ON|RETURNING|UNION)\b", text):
        if token[0] in "([":
            depth += 1
        elif token[0] in ")]":
            depth -= 1
            if depth < 0:
                return [*items, text[start : token.start()]]
        elif not depth:
            items.append(text[start : token.start()])
            start = token.end()
            if token[0] != ",":
                return items
    return [*items, text[start:]]


def _only(value: Any, customer_id: UUID) -> bool:
    match value:
        case UUID():
            return value == customer_id
        case str():
            return value.replace("-", "").lower() == customer_id.hex
        case list() | tuple():
            return bool(value) and all(_only(one, customer_id) for one in value)
    return False


def _in_rows(values: Sequence[Any], customer_id: UUID) -> bool:
    """Whether rows as JSON have this ``customer_id``, and none has another."""
    named = False
    for value in values:
        if not isinstance(value, str) or '"customer_id"' not in value:
            continue
        try:
            rows = orjson.loads(value)
        except orjson.JSONDecodeError:
            continue
        for row in rows if isinstance(rows, list) else ():
            if not isinstance(row, dict) or "customer_id" not in row:
                continue
            if not _only(row["customer_id"], customer_id):
                return False
            named = True
    return named
