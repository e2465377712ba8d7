"""The routes of call detail records."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

from ringline.cdrs import store
from ringline.cdrs.models import CdrAnswer, CdrExport, CdrFilter, CdrQuery
from ringline.cdrs.tables import cdrs
from ringline.errors import NotFound, ResourceExhausted
from ringline.http import Page, Request, Route, StreamReply, page_of, page_statement
from ringline.storage import Database

CSV: Final = "text/csv; charset=utf-8"
JSON_LINES: Final = "application/jsonl"
AT_ONCE: Final = 2
"""Exports of one customer."""


class CdrNotFound(NotFound):
    """404: no such call detail record."""

    default_reason = "CDR_NOT_FOUND"


class _Place:
    """That of an export among those of its customer, from before it reads anything; left once."""

    def __init__(self, exporting: Counter[UUID], customer_id: UUID) -> None:
        self._exporting, self._customer_id, self._taken = exporting, customer_id, True
        exporting[customer_id] += 1

    def leave(self) -> None:
        if not self._taken:
            return
        self._taken = False
        self._exporting[self._customer_id] -= 1
        if not self._exporting[self._customer_id]:
            del self._exporting[self._customer_id]


def cdr_routes(database: Database) -> list[Route]:
    """Read and export call detail records."""
    exporting: Counter[UUID] = Counter()

    async def page(request: Request[None, CdrQuery]) -> Page[CdrAnswer] | StreamReply:
        if _wants_csv(request.headers.get("Accept", "")):
            return await exported(request.customer_id, request.query, "csv")
        statement = page_statement(store.listing(request.customer_id, request.query), cdrs, request.query)
        async with database.connect() as connection:
            rows = (await connection.execute(statement)).all()
        return page_of(rows, request.query, CdrAnswer.model_validate)

    async def get(request: Request) -> CdrAnswer:
        wanted = store.listing(request.customer_id, CdrFilter()).where(cdrs.c.id == request.path["call_id"])
        async with database.connect() as connection:
            row = (await connection.execute(wanted)).first()
        if row is None:
            raise CdrNotFound(
                "There is no such call detail record; it is made when the call has ended. GET /v1.0/cdrs lists yours."
            )
        return CdrAnswer.model_validate(row)

    async def export(request: Request[None, CdrExport]) -> StreamReply:
        return await exported(request.customer_id, request.query, request.query.format)

    async def exported(customer_id: UUID, wanted: CdrFilter, kind: str) -> StreamReply:
        if exporting[customer_id] >= AT_ONCE:
            raise ResourceExhausted(
                f"{AT_ONCE} exports of yours are under way; one after the other, please.",
                details=[{"retry_after": 5}],
            )
        place = _Place(exporting, customer_id)
        try:
            lines = store.lines(database, customer_id, wanted, kind)
            # what goes wrong at once is told as an error, and not by a file that breaks off
            first = await anext(lines, b"")
        except BaseException:
            place.leave()
            raise
        chunks = sent(place, kind, first, lines)
        # a client that has gone before the first chunk never has it asked for
        weakref.finalize(chunks, place.leave).atexit = False
        return StreamReply(chunks, CSV if kind == "csv" else JSON_LINES, f"cdrs.{kind}")

    async def sent(
        place: _Place, kind: str, first: bytes, lines: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        try:
            yield (store.header() if kind == "csv" else b"") + first
            async for chunk in lines:
                yield chunk
        finally:
            place.leave()

    shared: dict[str, Any] = {"tags": ("billing",)}
    return [
        Route(
            method="GET",
            path="/v1.0/cdrs",
            handler=page,
            summary="List call detail records",
            description="Newest first. With `Accept: text/csv` all of them as a file, as by `/v1.0/cdrs/export`.",
            query=CdrQuery,
            response=Page[CdrAnswer],
            produces=("text/csv",),
            errors=(ResourceExhausted,),
            **shared,
        ),
        Route(
            method="GET",
            path="/v1.0/cdrs/export",
            handler=export,
            summary="Export call detail records",
            description="All that the filters leave, newest first, sent while they are read: as many as there are."
            " In CSV text that a spreadsheet could take for a formula begins with an apostrophe; numbers in E.164"
            " stay as they are. An export that fails on the way breaks its connection off.",
            query=CdrExport,
            response=bytes,
            produces=("text/csv", JSON_LINES),
            errors=(ResourceExhausted,),
            **shared,
        ),
        Route(
            method="GET",
            path="/v1.0/cdrs/{call_id}",
            handler=get,
            summary="Get a call detail record",
            response=CdrAnswer,
            errors=(CdrNotFound,),
            **shared,
        ),
    ]


def _wants_csv(accept: str) -> bool:
    return accept.split(",", maxsplit=1)[0].split(";", maxsplit=1)[0].strip().lower() == "text/csv"
