"""``ringline rates``: what things cost, imported and exported by the operator."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ringline import settings
from ringline.asking import table
from ringline.billing.rate_book import RateBook
from ringline.billing.rate_models import ExportQuery, ImportQuery
from ringline.billing.rate_service import RateService
from ringline.billing.rates import KINDS
from ringline.errors import RinglineError
from ringline.storage import Database

T = TypeVar("T")

rates_app = typer.Typer(no_args_is_help=True)

Kinds = Annotated[str, typer.Option(help=f"One of {', '.join(KINDS)}.")]


@rates_app.command("import")
def import_rates(
    file: Annotated[Path, typer.Argument(help="Comma-separated values; - is the standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check and count.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Rates of the same kinds that are not in the file end.")
    ] = False,
    start: Annotated[str, typer.Option(help="When they begin, such as 2027-01-01T00:00:00Z; else now.")] = "",
) -> None:
    """Take rates from a file: all of them, or none where a line is wrong."""
    try:
        text = (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode()
        query = ImportQuery(dry_run=dry_run, replace=replace, tm_start=_moment(start))
    except (OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    done = _run(lambda service, _: service.take(text, query))
    would = "would be " if dry_run else ""
    typer.echo(
        f"{done.lines} rates: {done.added} {would}added, {done.unchanged} unchanged, {done.ended} {would}ended."
    )


@rates_app.command("export")
def export_rates(kind: Kinds = "") -> None:
    """Write the rates that hold now to the standard output."""

    async def work(service: RateService, _: RateBook) -> None:
        query = ExportQuery.model_validate({"kind": kind or None})
        async for piece in service.export(query):
            sys.stdout.write(piece)

    _run(work)


@rates_app.command("find")
def find_rate(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.")],
    number: Annotated[str, typer.Argument(help="E.164, such as +442071838750.")] = "",
) -> None:
    """Show what something costs now."""
    if kind not in KINDS:
        typer.echo(f"There is no kind {kind}; there are {', '.join(KINDS)}.", err=True)
        raise typer.Exit(1)

    async def work(_: RateService, book: RateBook) -> Any:
        await book.read()
        return book.find(kind, number, datetime.now(UTC))

    rate = _run(work)
    unit = f"{rate.unit_seconds} s" if rate.unit_seconds else "piece"
    row = (kind, rate.prefix or "all", str(rate.credit_per_unit), str(rate.token_per_unit), unit)
    table(("KIND", "PREFIX", "MICRO-USD", "TOKENS", "FOR EACH"), [row], "")


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _run(work: Callable[[RateService, RateBook], Awaitable[T]]) -> T:
    async def run() -> T:
        database = Database(settings.load().database_url.get_secret_value(), statement_timeout=60.0)
        try:
            book = RateBook(database)
            return await work(RateService(database, book), book)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except (RinglineError, ValueError) as error:
        typer.echo(error.message if isinstance(error, RinglineError) else str(error), err=True)
        raise typer.Exit(1) from None
