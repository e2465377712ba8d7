"""Rates as comma-separated values (RFC 4180), read and checked line by line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast, get_args

from ringline.billing.rate_models import LARGEST_PRICE, LONGEST_UNIT, NATIONAL
from ringline.billing.rates import BUILT_IN, DOLLAR, KINDS, LONGEST_PREFIX, Rate, Rounding

COLUMNS: Final = (
    *("kind", "prefix", "name", "credit_per_unit", "token_per_unit", "unit_seconds", "minimum_units"),
    *("rounding", "tm_start", "tm_end"),
)
PRICE: Final = "price"
"""Instead of ``credit_per_unit``: US dollars, with at most six decimals."""
_ROUNDINGS: Final = get_args(Rounding)
_LONGEST_LINE: Final = 4_096
MOST_LINES: Final = 200_000
"""Rates of one file: some 150 MB while they are compared with those that hold."""
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_ASSUMED: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line (counted from 1, the header among them)."""

    line: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}, `{self.field}`" if self.field else f"line {self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Line:
    """A rate of a file; one that does not say when it begins has ``begins`` unset."""

    line: int
    rate: Rate
    name: str
    begins: datetime | None


def read(text: str) -> Iterator[Line | Fault]:
    """The lines of a file. After a fault in the header there is nothing more."""
    reader = csv.reader(_lines(text), strict=True)
    try:
        head = [name.strip().lower() for name in next(reader)]
    except StopIteration:
        yield Fault(1, "", f"the file is empty; its first line names the columns: {','.join(COLUMNS)}")
        return
    except csv.Error as error:
        yield Fault(1, "", str(error))
        return
    fault = _head_fault(head)
    if fault is not None:
        yield fault
        return
    seen: dict[tuple[str, str, datetime | None], int] = {}
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Fault(reader.line_num, "", str(error))
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if len(seen) >= MOST_LINES:
            yield Fault(
                reader.line_num,
                "",
                f"is one rate more than {MOST_LINES:,}, the most of a file; send it in parts",
            )
            return
        found = _line(reader.line_num, head, cells)
        if isinstance(found, Line):
            key = (found.rate.kind, found.rate.prefix, found.begins)
            if key in seen:
                yield Fault(
                    found.line, "prefix", f"the same kind and prefix stand in line {seen[key]} already"
                )
                continue
            seen[key] = found.line
        yield found


def _lines(text: str) -> Iterator[str]:
    # slices of what is there: a buffer of text takes four bytes for each character of its own
    return (found[0] for found in _LINE.finditer(text, 1 if text.startswith("\ufeff") else 0) if found[0])


def write(rows: Iterable[Any], *, head: bool) -> str:
    """Rows of the table ``rates`` as they can be imported."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    if head:
        writer.writerow(COLUMNS)
    for row in rows:
        values = [getattr(row, name) for name in COLUMNS]
        writer.writerow([_cell(value) for value in values])
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    text = str(value)
    # a program for tables takes what begins like this for a formula
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _head_fault(head: list[str]) -> Fault | None:
    known = {*COLUMNS, PRICE}
    for name in head:
        if name not in known:
            return Fault(
                1, name[:40], f"is no column; there are {', '.join(COLUMNS)}, and {PRICE} (US dollars)"
            )
        if head.count(name) > 1:
            return Fault(1, name, "stands there twice")
    for name in ("kind", "prefix"):
        if name not in head:
            return Fault(1, name, "is missing: the first line names the columns")
    if (PRICE in head) == ("credit_per_unit" in head):
        return Fault(
            1, PRICE, "give either credit_per_unit (millionths of a US dollar) or price (US dollars)"
        )
    return None


class _Wrong(Exception):
    def __init__(self, field: str, message: str) -> None:
        self.field, self.message = field, message


def _line(number: int, head: list[str], cells: list[str]) -> Line | Fault:
    if len(cells) != len(head):
        return Fault(number, "", f"has {len(cells)} values, and the first line names {len(head)} columns")
    if sum(map(len, cells)) > _LONGEST_LINE:
        return Fault(number, "", f"is longer than {_LONGEST_LINE} characters")
    given = {name: cell.strip() for name, cell in zip(head, cells, strict=True)}
    try:
        return _rate(number, given)
    except _Wrong as wrong:
        return Fault(number, wrong.field, wrong.message)


def _rate(number: int, given: dict[str, str]) -> Line:
    kind = given["kind"]
    if kind not in KINDS:
        raise _Wrong("kind", f"must be one of {', '.join(KINDS)}")
    usual = BUILT_IN[kind]
    rounding = given.get("rounding") or "up"
    if rounding not in _ROUNDINGS:
        raise _Wrong("rounding", f"must be one of {', '.join(_ROUNDINGS)}")
    begins, ends = _moment(given, "tm_start"), _moment(given, "tm_end")
    if begins is not None and ends is not None and ends <= begins:
        raise _Wrong("tm_end", "must be later than tm_start")
    name = (
        given.get("name", "").removeprefix("'")
        if given.get("name", "")[1:2] in "=+-@"
        else given.get("name", "")
    )
    if len(name) > 255 or "\0" in name:
        raise _Wrong("name", "must have at most 255 characters, none of them U+0000")
    rate = Rate(
        kind=kind,
        prefix=_prefix(given["prefix"]),
        credit_per_unit=_dollars(given)
        if PRICE in given
        else _whole(given, "credit_per_unit", LARGEST_PRICE),
        token_per_unit=_whole(given, "token_per_unit", LARGEST_PRICE, 0),
        unit_seconds=_whole(given, "unit_seconds", LONGEST_UNIT, usual.unit_seconds),
        minimum_units=_whole(given, "minimum_units", LONGEST_UNIT, 1),
        rounding=cast("Rounding", rounding),
        tm_start=_ASSUMED if begins is None else begins,
        tm_end=ends,
    )
    return Line(number, rate, name, begins)


def _prefix(text: str) -> str:
    digits = text.removeprefix("'").removeprefix("+")
    if digits and not (digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_PREFIX):
        raise _Wrong(
            "prefix",
            f"must be the first digits of numbers, at most {LONGEST_PREFIX}, or empty for all numbers",
        )
    if digits.startswith("0"):
        raise _Wrong("prefix", NATIONAL)
    return digits


def _whole(given: dict[str, str], field: str, most: int, usual: int | None = None) -> int:
    text = given.get(field, "")
    if not text and usual is not None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) <= most):
        raise _Wrong(field, f"must be a whole number from 0 to {most}")
    return int(text)


def _dollars(given: dict[str, str]) -> int:
    text = given[PRICE]
    try:
        micro = Decimal(text) * DOLLAR if len(text) <= 24 else Decimal("NaN")
    except InvalidOperation:
        micro = Decimal("NaN")
    if not micro.is_finite() or micro != micro.to_integral_value() or not 0 <= micro <= LARGEST_PRICE:
        raise _Wrong(PRICE, "must be US dollars such as 0.0123, with at most six decimals")
    return int(micro)


def _moment(given: dict[str, str], field: str) -> datetime | None:
    text = given.get(field, "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Wrong(field, "must be a time such as 2026-12-01T00:00:00Z") from None
