"""The command ``ringline``. Each command imports what it needs, so that ``--help`` is quick."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from ringline import __version__, serving
from ringline.errors import RinglineError

app = typer.Typer(
    help="Ringline: calls, flows and numbers on Asterisk and Kamailio. Settings come from the environment "
    "(names begin with RINGLINE_), which `make up` writes into .env.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Later(TyperGroup):
    """A group of commands whose module is imported when one of them is wanted."""

    home = ""
    """``module:name`` of its ``typer.Typer``."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        module, _, name = self.home.partition(":")
        group = get_group(getattr(import_module(module), name))
        group.name, group.help = self.name, self.help
        return group.make_context(info_name, args, parent=parent, **extra)


ROOMS = {
    "sandbox": ("ringline.sandbox.cli:app", "The simulated telephone network (the sandbox carrier)."),
    "flow": (
        "ringline.flows.cli:flow_app",
        "Flows in files: lists of actions, or bodies of POST /v1.0/flows. A file named - is the standard input.",
    ),
    "extension": (
        "ringline.extensions.cli:extension_app",
        "SIP accounts of phones: made, listed, given new passwords; and which phones are registered.",
    ),
    "provider": (
        "ringline.routing.cli:provider_app",
        "SIP providers: who carries calls to the telephone network, and from where theirs come.",
    ),
    "route": (
        "ringline.routing.cli:route_app",
        "Routes: which provider takes calls to which numbers, for whom.",
    ),
    "rates": ("ringline.billing.cli:rates_app", "What things cost: imported, exported, looked up."),
    "call": ("ringline.traces.cli:call_app", "Calls."),
    "keys": ("ringline.customers.cli:keys_app", "Keys that sign logins: made, listed, all logins voided."),
    "number": (
        "ringline.numbers.cli:number_app",
        "Numbers: searched, bought, given flows, suspended, given back.",
    ),
    "message": ("ringline.messages.cli:message_app", "Texts: sent and listed."),
    "webhook": (
        "ringline.webhooks.cli:webhook_app",
        "Webhooks: made, tried, given new secrets; what was delivered, and sending it again.",
    ),
    "customer": (
        "ringline.customers.people_cli:customer_app",
        "Customers: made, listed, frozen, recovered, deleted, by the administrator of this installation.",
    ),
    "agent": (
        "ringline.customers.people_cli:agent_app",
        "People who log in: listed, and given new passwords.",
    ),
    "ban": (
        "ringline.routing.ban_cli:ban_app",
        "Addresses that the edge takes nothing from: after floods, scans and wrong passwords, or by your word.",
    ),
}
"""Groups of commands: where each is, and what it is for."""

for _name, (_home, _help) in ROOMS.items():
    _group = type("Later", (Later,), {"home": _home})
    app.add_typer(typer.Typer(cls=_group, help=_help), name=_name)


@app.callback()
def main() -> None:
    """Read the settings and set up logging."""
    serving.configured()


@app.command()
def serve(
    role: Annotated[
        str,
        typer.Option(
            help="all: everything in this process. api, controller (drives Asterisk), worker (webhooks, texts,"
            " orders, sweeping): apart, any number of each; docs/scaling.md. RINGLINE_ROLE says the same."
        ),
    ] = "",
) -> None:
    """Run the controller: the API, and everything that drives Asterisk; or one of these parts."""
    serving.serve(role)


@app.command()
def migrate() -> None:
    """Bring the database to the schema of this version. Safe to run twice, and from two places at once."""
    import asyncio  # noqa: PLC0415

    from ringline import settings  # noqa: PLC0415
    from ringline.storage.migrate import upgrade  # noqa: PLC0415

    with _explained():
        revision = asyncio.run(upgrade(settings.load().database_url.get_secret_value()))
    typer.echo(f"The database is at {revision}.")


@app.command()
def seed() -> None:
    """Make the first customer: a login, an access key, three numbers, two extensions, credit.

    Run again, it adds what is missing and leaves the rest.
    """
    import asyncio  # noqa: PLC0415

    from ringline import seed as first  # noqa: PLC0415
    from ringline import settings  # noqa: PLC0415
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
    import asyncio  # noqa: PLC0415

    from ringline import settings  # noqa: PLC0415
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
def listen(
    forward: Annotated[
        str,
        typer.Option(help="Post each event to this address as its webhook would be, signed.", metavar="URL"),
    ] = "",
    events: Annotated[
        list[str] | None,
        typer.Option(
            help="Only events of these names, `*` for any characters (call_*); several times for several."
        ),
    ] = None,
    form: Annotated[str, typer.Option("--print", help="line: one for people; json: as they come.")] = "line",
    since: Annotated[
        str,
        typer.Option(
            help="Begin after this event's id; `begin`: with the oldest that is kept.", metavar="ID"
        ),
    ] = "",
    most: Annotated[int, typer.Option(min=0, help="End after so many events; 0: when you say so.")] = 0,
    secret: Annotated[
        str,
        typer.Option(
            envvar="RINGLINE_LISTEN_SECRET",
            help="What to sign with (whsec_...); else a new one is made and printed.",
            show_default=False,
        ),
    ] = "",
    accesskey: Annotated[
        str,
        typer.Option(
            envvar="RINGLINE_ACCESSKEY",
            help="An access key of the customer whose events.",
            show_default=False,
        ),
    ] = "",
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> None:
    """Print events as they happen, and forward them to a server on this machine.

    When the connection breaks it is made again, and nothing is missed. What is forwarded is sent once: the body, the
    headers and the signature (Standard Webhooks) are those of webhooks. Ctrl-C ends it.

    Exit status 0 when it was ended, 1 when it is refused or nobody answers, 2 when an option is wrong.
    """
    from fnmatch import fnmatchcase  # noqa: PLC0415
    from uuid import UUID  # noqa: PLC0415

    from ringline import settings  # noqa: PLC0415
    from ringline.events import catalogue  # noqa: PLC0415
    from ringline.listening import command, forwarding, stream  # noqa: PLC0415

    if form not in ("line", "json"):
        raise typer.BadParameter("must be `line` or `json`", param_hint="--print")
    if forward and not forward.startswith(("http://", "https://")):
        raise typer.BadParameter(
            "must be an address such as http://localhost:3000/hook", param_hint="--forward"
        )
    for name in events or ():
        if not any(fnmatchcase(known, name) for known in catalogue.TYPES):
            raise typer.BadParameter(
                f"no event is called {name}; docs/events.md lists them all", param_hint="--events"
            )
    try:
        after = stream.ZERO if since == "begin" else str(UUID(since)) if since else ""
    except ValueError:
        raise typer.BadParameter("must be the id of an event, or `begin`", param_hint="--since") from None
    secret = secret or forwarding.new_secret()
    try:
        forwarding.key(secret)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--secret") from None
    chosen = settings.load()
    if forward:
        typer.echo(f"Forwarding to {forward}, signed with {secret}", err=True)
    wish = command.Wish(
        url=chosen.api_url.rstrip("/"),
        credential=accesskey or chosen.accesskey.get_secret_value(),
        events=events or (),
        forward=forward,
        secret=secret,
        as_json=form == "json",
        since=after,
        most=most,
        until_eof=until_eof,
    )
    raise typer.Exit(command.run(wish))


@app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the running API."""
    import asyncio  # noqa: PLC0415

    import aiohttp  # noqa: PLC0415

    from ringline import settings  # noqa: PLC0415

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
