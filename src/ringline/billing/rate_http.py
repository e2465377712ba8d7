"""The routes of rates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from ringline.billing.rate_csv import MOST_LINES
from ringline.billing.rate_models import (
    ExportQuery,
    ImportAnswer,
    ImportQuery,
    RateAnswer,
    RateChange,
    RateCreate,
    RateQuery,
)
from ringline.billing.rate_service import RateNotFound, RateOver, RateService, RateStarts
from ringline.errors import InvalidArgument
from ringline.http import Page, Request, Resource, Route, StreamReply, page_of

MAX_BYTES: Final = 32 * 1024 * 1024
_CSV: Final = "text/csv"

_RATES = Resource("/v1.0/rates", "rate_id", RateAnswer, RateNotFound, "billing", writing="project")


def rate_routes(service: RateService) -> list[Route]:
    """What things cost: read by everybody, set by the installation's administrator."""

    async def page(request: Request[None, RateQuery]) -> Page[RateAnswer]:
        return page_of(await service.page(request.query), request.query, RateAnswer.model_validate)

    async def get(request: Request) -> RateAnswer:
        return RateAnswer.model_validate(await service.get(request.path["rate_id"]))

    async def create(request: Request[RateCreate]) -> RateAnswer:
        return RateAnswer.model_validate(await service.create(request.body, request.idempotency_seed))

    async def update(request: Request[RateChange]) -> RateAnswer:
        return RateAnswer.model_validate(await service.change(request.path["rate_id"], request.body))

    async def end(request: Request) -> RateAnswer:
        return RateAnswer.model_validate(await service.end(request.path["rate_id"]))

    async def take(request: Request[None, ImportQuery]) -> ImportAnswer:
        try:
            text = request.content.decode()
        except UnicodeDecodeError as error:
            line = request.content.count(b"\n", 0, error.start) + 1
            raise InvalidArgument(
                f"Nothing was imported: line {line} is not UTF-8.",
                details=[{"line": line, "field": "", "message": "is not UTF-8"}],
            ) from None
        return await service.take(text, request.query)

    async def export(request: Request[None, ExportQuery]) -> StreamReply:
        pieces = service.export(request.query)
        # what goes wrong at once is told as an error, and not by a file that breaks off
        return StreamReply(_encoded(await anext(pieces), pieces), _CSV, "rates.csv")

    return [
        Route(
            method="GET",
            path="/v1.0/rates/export",
            handler=export,
            summary="Export rates",
            description="Comma-separated values, as the import takes them: the rates that hold now, or at `at`.",
            tags=("billing",),
            query=ExportQuery,
            response=bytes,
            produces=(_CSV,),
        ),
        Route(
            method="POST",
            path="/v1.0/rates/import",
            handler=take,
            summary="Import rates",
            description=f"Comma-separated values in UTF-8, at most 32 MB and {MOST_LINES:,} rates at a time."
            " The first line names the columns: `kind`,"
            " `prefix`, either `credit_per_unit` (millionths of a US dollar) or `price` (US dollars, at most six"
            " decimals), and, if you like, `name`, `token_per_unit`, `unit_seconds`, `minimum_units`, `rounding`,"
            " `tm_start`, `tm_end`. All of it is taken or, where a line is wrong, nothing; then the lines are named."
            " Rates that hold like this already are left alone, so that the same file may be sent again.",
            tags=("billing",),
            auth="project",
            query=ImportQuery,
            accepts=(_CSV,),
            max_body_bytes=MAX_BYTES,
            body_seconds=60.0,
            timeout=120.0,
            response=ImportAnswer,
            errors=(RateStarts,),
        ),
        _RATES.list(
            page,
            "List rates",
            RateQuery,
            description="Newest first. The price of a call is that of the longest `prefix` that begins its number, of"
            " these the one that began last: `?kind=call_pstn_outgoing&number=%2B4420&at=...` shows those that come"
            " into question. Where there is none VoIPBIN's price holds.",
        ),
        _RATES.create(
            create,
            "Make a rate",
            RateCreate,
            description="It holds from `tm_start` on, before others of its kind and prefix that began earlier; calls"
            " that have begun keep theirs.",
            errors=(RateStarts,),
            body_examples={
                "to London": {
                    "kind": "call_pstn_outgoing",
                    "prefix": "+4420",
                    "name": "United Kingdom, London",
                    "credit_per_unit": 9_500,
                    "unit_seconds": 60,
                }
            },
        ),
        _RATES.get(get, "Read a rate"),
        _RATES.update(
            update,
            "Change a rate",
            RateChange,
            description="A rate stays what it was, for what began while it held: it ends, and the answer is the one"
            " that takes its place at `tm_start`. One that has ended is 409.",
            errors=(RateOver, RateStarts),
            body_examples={"dearer": {"credit_per_unit": 11_000, "tm_start": "2027-01-01T00:00:00Z"}},
        ),
        _RATES.delete(
            end,
            "End a rate",
            description="From now on an earlier rate of the prefix holds, where one has not ended, else the next"
            " shorter prefix; what has begun keeps this rate.",
            errors=(RateOver,),
        ),
    ]


async def _encoded(first: str, pieces: AsyncIterator[str]) -> AsyncIterator[bytes]:
    yield first.encode()
    async for piece in pieces:
        yield piece.encode()
