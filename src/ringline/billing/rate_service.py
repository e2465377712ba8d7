"""Reading, adding and ending rates, one at a time or by the hundred thousand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

import sqlalchemy as sa
import structlog
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.audit import Happening, note
from ringline.billing import rate_csv
from ringline.billing.rate_book import RateBook
from ringline.billing.rate_csv import Fault, Line
from ringline.billing.rate_models import (
    ExportQuery,
    ImportAnswer,
    ImportQuery,
    RateChange,
    RateCreate,
    RateQuery,
    not_past,
)
from ringline.billing.rates import BUILT_IN, ZERO, Rate
from ringline.billing.tables import rates
from ringline.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from ringline.http import page_statement, utc_now
from ringline.storage import Database

log = structlog.get_logger(__name__)

MOST_FAULTS: Final = 20
"""That are told of a file; more are only counted."""
_PIECE: Final = 250
"""Lines that are read without letting others have the event loop."""
_PAGE: Final = 5_000
_SECONDS: Final = 60
_MICROSECOND: Final = timedelta(microseconds=1)
_FIELDS: Final = (
    *("kind", "prefix", "name", "credit_per_unit", "token_per_unit", "unit_seconds", "minimum_units"),
    *("rounding", "tm_start", "tm_end"),
)


_CHARGED: Final = (
    *("credit_per_unit", "token_per_unit", "unit_seconds", "minimum_units", "rounding", "tm_end"),
)


class RateNotFound(NotFound):
    """404: no such rate."""

    default_reason = "RATE_NOT_FOUND"


class RateStarts(AlreadyExists):
    """409: a rate of this kind and prefix begins at this very moment already."""


class RateOver(FailedPrecondition):
    """409: the rate has ended."""


class RateService:
    """The prices of the installation. ``book`` is what this process charges by."""

    def __init__(self, database: Database, book: RateBook) -> None:
        self._database = database
        self._book = book

    async def page(self, query: RateQuery) -> list[Row[Any]]:
        statement = sa.select(rates)
        if query.kind is not None:
            statement = statement.where(rates.c.kind == query.kind)
        if query.prefix is not None:
            statement = statement.where(rates.c.prefix == query.prefix.removeprefix("+"))
        if query.number is not None:
            digits = query.number.removeprefix("+")
            statement = statement.where(
                rates.c.prefix.in_([digits[:length] for length in range(len(digits) + 1)])
            )
        if query.at is not None:
            statement = statement.where(*_holds(query.at))
        async with self._database.connect() as connection:
            return list((await connection.execute(page_statement(statement, rates, query))).all())

    async def get(self, rate_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            return await _one(connection, rate_id)

    async def create(self, wanted: RateCreate, seed: UUID | None) -> Row[Any]:
        """A new rate. Raises ``InvalidArgument`` and ``RateStarts``."""
        now = utc_now()
        values = {**wanted.model_dump(), "tm_start": _start(wanted.tm_start, now)}
        if wanted.unit_seconds is None:
            # a call that is paid by the piece costs the same however long it is: nobody means that by leaving it out
            values["unit_seconds"] = BUILT_IN[wanted.kind].unit_seconds
        _check_end(values["tm_start"], wanted.tm_end)
        rate_id = uuid4() if seed is None else uuid5(seed, "rate")
        async with self._database.begin() as connection:
            row = (await connection.execute(sa.select(rates).where(rates.c.id == rate_id))).first()
            if row is None:
                row = await _insert(connection, {**values, "id": rate_id}, now)
        await self._book.read()
        log.info("rate_created", rate_id=str(row.id), kind=row.kind, prefix=row.prefix)
        return row

    async def change(self, rate_id: UUID, wanted: RateChange) -> Row[Any]:
        """Another rate in place of this one from ``tm_start`` on; returns the new one. Raises ``RateOver`` too."""
        now = utc_now()
        begins = _start(wanted.tm_start, now)
        named = wanted.model_fields_set - {"tm_start"}
        async with self._database.begin() as connection:
            before = await _one(connection, rate_id, lock=True)
            _check_alive(before, now)
            begins = max(begins, before.tm_start)
            values = {name: getattr(before, name) for name in _FIELDS}
            values |= wanted.model_dump(include=set(named))
            values |= {"id": uuid4(), "tm_start": begins}
            _check_end(begins, values["tm_end"])
            # one that ends before the other begins ends when it would have: what lies between was not asked about
            ends = begins if before.tm_end is None else min(begins, before.tm_end)
            await connection.execute(
                sa.update(rates).where(rates.c.id == rate_id).values(tm_end=ends, tm_update=now)
            )
            if begins == before.tm_start:
                # it has not begun: it never will, and leaves its place
                values["tm_start"] = begins + _MICROSECOND
            row = await _insert(connection, values, now)
        await self._book.read()
        log.info("rate_changed", rate_id=str(row.id), before=str(rate_id), kind=row.kind, prefix=row.prefix)
        return row

    async def end(self, rate_id: UUID) -> Row[Any]:
        """Have a rate end now. What has begun keeps it. Raises ``RateOver``."""
        now = utc_now()
        async with self._database.begin() as connection:
            before = await _one(connection, rate_id, lock=True)
            _check_alive(before, now)
            ended = sa.update(rates).where(rates.c.id == rate_id).returning(rates)
            moment = max(now, before.tm_start)
            row: Row[Any] = (await connection.execute(ended.values(tm_end=moment, tm_update=now))).one()
        await self._book.read()
        log.info("rate_ended", rate_id=str(rate_id), kind=row.kind, prefix=row.prefix)
        return row

    async def take(self, text: str, query: ImportQuery) -> ImportAnswer:
        """Import a file of rates: all of it, or nothing where a line is wrong (``InvalidArgument`` names them)."""
        now = utc_now()
        begins = _start(query.tm_start, now)
        await self._book.read()
        lines = await self._checked(text, begins, now)
        added = []
        for number, line in enumerate(lines):
            if number % _PIECE == 0:
                await asyncio.sleep(0)
            if not self._same(line):
                added.append(line)
        ended: list[UUID] = []
        if query.replace:
            ended = await self._missing(lines, begins)
        if not query.dry_run and (added or ended):
            await self._write(added, ended, begins, now)
            await self._book.read()
            log.info("rates_imported", lines=len(lines), added=len(added), ended=len(ended))
        return ImportAnswer(
            dry_run=query.dry_run,
            lines=len(lines),
            added=len(added),
            unchanged=len(lines) - len(added),
            ended=len(ended),
        )

    async def export(self, query: ExportQuery) -> AsyncIterator[str]:
        """The rates that hold at a time, as a file that can be imported, in pieces."""
        statement = sa.select(rates).where(*_holds(query.at or utc_now()))
        if query.kind is not None:
            statement = statement.where(rates.c.kind == query.kind)
        statement = statement.order_by(rates.c.kind, rates.c.prefix, rates.c.tm_start).limit(_PAGE)
        place = sa.tuple_(rates.c.kind, rates.c.prefix, rates.c.tm_start)
        last: Row[Any] | None = None
        head = True
        while True:
            following = statement
            if last is not None:
                following = statement.where(place > sa.tuple_(last.kind, last.prefix, last.tm_start))
            # none is held while somebody reads slowly
            async with self._database.connect() as connection:
                rows = (await connection.execute(following)).all()
            yield rate_csv.write(rows, head=head)
            head = False
            if len(rows) < _PAGE:
                return
            last = rows[-1]

    async def _checked(self, text: str, begins: datetime, now: datetime) -> list[Line]:
        lines: list[Line] = []
        faults: list[Fault] = []
        count = 0
        for number, found in enumerate(rate_csv.read(text)):
            if number % _PIECE == 0:
                await asyncio.sleep(0)
            if isinstance(found, Fault):
                count += 1
                faults += [found][: MOST_FAULTS - len(faults)]
                continue
            try:
                start = begins if found.begins is None else self._begins(found, found.begins, now)
            except ValueError:
                count += 1
                fault = Fault(found.line, "tm_start", "is in the past; leave it empty to begin now")
                faults += [fault][: MOST_FAULTS - len(faults)]
                continue
            if found.rate.tm_end is not None and found.rate.tm_end <= start:
                count += 1
                fault = Fault(found.line, "tm_end", "must be later than the beginning")
                faults += [fault][: MOST_FAULTS - len(faults)]
                continue
            lines.append(replace(found, rate=replace(found.rate, tm_start=start)))
        if not faults and not lines:
            faults, count = [Fault(1, "", "there is no rate in the file")], 1
        if faults:
            told = "; ".join(map(str, faults[:3])) + (f"; and {count - 3} more" if count > 3 else "")
            raise InvalidArgument(
                f"Nothing was imported: {told}.",
                details=[
                    {"line": fault.line, "field": fault.field, "message": fault.message} for fault in faults
                ],
            )
        return lines

    def _begins(self, line: Line, moment: datetime, now: datetime) -> datetime:
        """When a line begins. In the past only what began just so: it was exported. Raises ``ValueError``."""
        held = self._book.exact(line.rate.kind, line.rate.prefix, moment)
        if held is not None and held.tm_start == moment and _charged_alike(held, line.rate):
            return moment
        return not_past(moment, now)

    def _same(self, line: Line) -> bool:
        """Whether what is charged from the line's beginning on is what the line says."""
        held = self._book.exact(line.rate.kind, line.rate.prefix, line.rate.tm_start)
        return held is not None and _charged_alike(held, line.rate)

    async def _missing(self, lines: list[Line], begins: datetime) -> list[UUID]:
        """Rates that hold from ``begins`` on, of kinds in the file, and are not in it."""
        kinds = {line.rate.kind for line in lines}
        named = {(line.rate.kind, line.rate.prefix) for line in lines}
        missing: list[UUID] = []
        for number, rate in enumerate(list(self._book.all())):
            if number % _PAGE == 0:
                await asyncio.sleep(0)
            if (
                rate.kind in kinds
                and (rate.kind, rate.prefix) not in named
                and (rate.tm_end is None or rate.tm_end > begins)
            ):
                missing.append(rate.id)
        return missing

    async def _write(self, added: list[Line], ended: list[UUID], begins: datetime, now: datetime) -> None:
        columns = ["id", "revision", *_FIELDS, "tm_create"]
        try:
            async with self._database.begin() as connection:
                await connection.execute(sa.text(f"SET LOCAL statement_timeout = '{_SECONDS}s'"))
                # one line of the trail says it; a hundred thousand would hide everything else
                await connection.execute(sa.text("SET LOCAL ringline.audit = ''"))
                if ended:
                    moment = sa.func.greatest(rates.c.tm_start, begins)
                    gone = sa.update(rates).where(rates.c.id == sa.any_(sa.cast(ended, sa.ARRAY(sa.Uuid))))
                    await connection.execute(gone.values(tm_end=moment, tm_update=now))
                raw: Any = (await connection.get_raw_connection()).driver_connection
                for place in range(0, len(added), _PIECE):
                    records = [_record(line, now) for line in added[place : place + _PIECE]]
                    await raw.copy_records_to_table(
                        rates.name, records=records, columns=columns, timeout=_SECONDS
                    )
                counts = {"added": len(added), "ended": len(ended)}
                changes = {name: {"before": 0, "after": count} for name, count in counts.items()}
                await note(connection, Happening(ZERO, "import", "rate", ZERO, changes))
        except Exception as error:
            if "uq_rates_start" not in str(error):
                raise
            raise _starts() from error


def _holds(at: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return rates.c.tm_start <= at, sa.or_(rates.c.tm_end.is_(None), rates.c.tm_end > at)


async def _one(connection: AsyncConnection, rate_id: UUID, *, lock: bool = False) -> Row[Any]:
    statement = sa.select(rates).where(rates.c.id == rate_id)
    row = (await connection.execute(statement.with_for_update() if lock else statement)).first()
    if row is None:
        raise RateNotFound("There is no such rate; GET /v1.0/rates lists them.")
    return row


async def _insert(connection: AsyncConnection, values: dict[str, Any], now: datetime) -> Row[Any]:
    statement = sa.insert(rates).values(**values, revision=0, tm_create=now).returning(rates)
    try:
        row: Row[Any] = (await connection.execute(statement)).one()
    except IntegrityError as error:
        if "uq_rates_start" in str(error.orig):
            raise _starts() from error
        raise
    return row


def _charged_alike(one: Rate, other: Rate) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in _CHARGED)


def _record(line: Line, now: datetime) -> tuple[Any, ...]:
    values = (line.name if name == "name" else getattr(line.rate, name) for name in _FIELDS)
    return uuid4(), 0, *values, now


def _starts() -> RateStarts:
    return RateStarts(
        "`tm_start`: a rate of this kind and prefix begins at this very moment already; choose another one.",
        details=[{"field": "tm_start", "message": "is taken"}],
    )


def _start(moment: datetime | None, now: datetime) -> datetime:
    try:
        return not_past(moment, now)
    except ValueError as wrong:
        raise InvalidArgument(
            f"{wrong}.", details=[{"field": "tm_start", "message": "is in the past"}]
        ) from None


def _check_end(begins: datetime, ends: datetime | None) -> None:
    if ends is not None and ends <= begins:
        raise InvalidArgument(
            "`tm_end`: must be later than `tm_start`; leave it out for a rate without an end.",
            details=[{"field": "tm_end", "message": "must be later than `tm_start`"}],
        )


def _check_alive(row: Row[Any], now: datetime) -> None:
    if row.tm_end is not None and row.tm_end <= now:
        raise RateOver(
            f"This rate ended at {row.tm_end:%Y-%m-%dT%H:%M:%SZ}; GET /v1.0/rates lists those that hold."
        )
