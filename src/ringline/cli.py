"""The command ``ringline``. Each command imports what it needs, so that ``--help`` is quick."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Annotated

import aiohttp
import typer
from pydantic import ValidationError

from ringline import __version__, log, settings
from ringline.errors import RinglineError
from ringline.flows.cli import flow_app
from ringline.routing.cli import provider_app, route_app
from ringline.sandbox.cli import app as sandbox_app

app = typer.Typer(
    help="Ringline: calls, flows and numbers on Asterisk and Kamailio. Settings come from the environment "
    "(names begin with RINGLINE_), which `make up` writes into .env.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(flow_app, name="flow")
app.add_typer(provider_app, name="provider")
app.add_typer(route_app, name="route")


@app.callback()
def main() -> None:
    """Read the settings and set up logging."""
    try:
        chosen = settings.load()
    except ValidationError as problems:
        for problem in problems.errors():
            name = "RINGLINE_" + "_".join(str(part) for part in problem["loc"]).upper()
            typer.echo(f"{name}: {problem['msg']}", err=True)
        raise typer.Exit(2) from None
    log.configure(chosen.log_level, chosen.log_format)


@app.command()
def serve() -> None:
    """Run the controller: the API, and everything that drives Asterisk."""
    # until it has started (``app.run``): calls that another controller left are waiting
    gc.disable()
    from ringline.app import serve as run  # noqa: PLC0415

    run(settings.load())


@app.command()
def migrate() -> None:
    """Bring the database to the schema of this version. Safe to run twice, and from two places at once."""
    from ringline.storage.migrate import upgrade  # noqa: PLC0415

    with _explained():
        revision = asyncio.run(upgrade(settings.load().database_url.get_secret_value()))
    typer.echo(f"The database is at {revision}.")


@app.command()
def seed() -> None:
    """Make the first customer: a login, an access key, three numbers, two extensions, credit.

    Run again, it adds what is missing and leaves the rest.
    """
    from ringline import seed as first  # noqa: PLC0415
    from ringline.storage import Database  # noqa: PLC0415

    async def run() -> str:
        database = Database(settings.load().database_url.get_secret_value(), statement_timeout=30.0)
        try:
            return str(await first.seed(database, settings.load()))
        finally:
            await database.close()

    with _explained():
        try:
            customer_id = asyncio.run(run())
        except first.Incomplete as problem:
            typer.echo(str(problem), err=True)
            raise typer.Exit(2) from None
    typer.echo(f"The first customer is {customer_id}.")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check each part of the stack and say what to do about those that are not well.

    Exit status 0 if all are well, 1 otherwise.
    """
    from ringline.doctor import examine  # noqa: PLC0415

    findings = asyncio.run(examine(settings.load()))
    if as_json:
        rows = [{"name": f.name, "ok": f.ok, "detail": f.detail, "advice": f.advice} for f in findings]
        typer.echo(json.dumps(rows, indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            typer.echo(f"{'ok    ' if finding.ok else 'FAILED'}  {finding.name:<{width}}  {finding.detail}")
            if finding.advice:
                typer.echo(f"        {'':<{width}}  -> {finding.advice}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the running API."""
    url = f"{settings.load().api_url.rstrip('/')}/openapi.json"

    async def fetch() -> str:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            response.raise_for_status()
            return json.dumps(await response.json(), indent=2)

    try:
        typer.echo(asyncio.run(fetch()))
    except (aiohttp.ClientError, TimeoutError) as error:
        typer.echo(f"No answer from {url}: {error or 'timeout'}. Is the stack up?", err=True)
        raise typer.Exit(1) from None


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


class _explained:  # noqa: N801 - used as a statement
    """Say in one sentence what cannot be done, without a traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RinglineError):
            typer.echo(f"{error.message} `ringline doctor` looks at each part.", err=True)
            raise typer.Exit(1) from None
