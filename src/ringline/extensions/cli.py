"""``ringline extension``: SIP accounts of phones, asked of the running API with the access key of ``.env``."""

from __future__ import annotations

import secrets
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ringline.asking import Api, Refused, ask, table

extension_app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The extension's name, such as test11.")]
Password = Annotated[
    str,
    typer.Option(
        help="8 to 128 characters; - reads a line of the standard input. Left out, one is made and shown."
    ),
]


@extension_app.command("list")
def list_extensions() -> None:
    """Show all extensions: name, domain, phones that are registered, what it is for."""

    async def work(api: Api) -> list[Any]:
        return await api.all("/v1.0/extensions")

    found = ask(work)
    table(
        ("EXTENSION", "DOMAIN", "REGISTERED", "MAX CALLS", "NAME"),
        [
            (
                row["extension"],
                row["domain_name"],
                str(row["registered"]),
                str(row["max_calls"] or "-"),
                row["name"],
            )
            for row in sorted(found, key=lambda row: row["extension"])
        ],
        "There are no extensions yet: `ringline extension add NAME` makes one.",
    )


@extension_app.command("add")
def add(
    extension: Name,
    password: Password = "",
    name: Annotated[str, typer.Option(help="What it is called, such as Anna's desk.")] = "",
    detail: Annotated[str, typer.Option(help="A note of your own.")] = "",
    max_calls: Annotated[int, typer.Option(help="Calls at once; 0: no limit of its own.")] = 0,
) -> None:
    """Make an extension. A phone can register with it when this returns."""
    secret = _password(password)

    async def work(api: Api) -> Any:
        return await api.ask(
            "POST",
            "/v1.0/extensions",
            {
                "extension": extension,
                "password": secret,
                "name": name,
                "detail": detail,
                "max_calls": max_calls,
            },
        )

    made = ask(work)
    typer.echo(f"domain    {made['domain_name']}")
    typer.echo(f"username  {made['username']}")
    _show_made(password, secret)


@extension_app.command("password")
def set_password(extension: Name, password: Password = "") -> None:
    """Give an extension a new password. Its phones are registered no more until they have it."""
    secret = _password(password)

    async def work(api: Api) -> Any:
        row = await _extension(api, extension)
        return await api.ask("PUT", f"/v1.0/extensions/{row['id']}", {"password": secret})

    ask(work)
    _show_made(password, secret)


@extension_app.command("delete")
def delete(extension: Name) -> None:
    """Delete an extension. Its phones are registered no more."""

    async def work(api: Api) -> Any:
        row = await _extension(api, extension)
        return await api.ask("DELETE", f"/v1.0/extensions/{row['id']}")

    ask(work)


@extension_app.command("registrations")
def registrations(
    extension: Name,
    end: Annotated[
        str, typer.Option(metavar="ID", help="End this registration, or `all`; a phone may register again.")
    ] = "",
) -> None:
    """Show the phones that are registered with an extension."""

    async def work(api: Api) -> list[Any]:
        row = await _extension(api, extension)
        path = f"/v1.0/extensions/{row['id']}/registrations"
        found: list[Any] = (await api.ask("GET", path))["result"]
        for one in found:
            if end in (one["id"], "all"):
                await api.ask("DELETE", f"{path}/{one['id']}")
        if end and end != "all" and all(one["id"] != end for one in found):
            raise Refused(f"{extension} has no registration {end}.")
        return [] if end == "all" else [one for one in found if one["id"] != end]

    found = ask(work)
    now = datetime.now(UTC)
    table(
        ("ID", "CONTACT", "FROM", "VIA", "ENDS IN", "USER AGENT"),
        [
            (
                one["id"],
                one["contact"],
                one["source_address"],
                one["transport"],
                f"{max(0, round((datetime.fromisoformat(one['tm_expire']) - now).total_seconds()))} s",
                one["user_agent"],
            )
            for one in found
        ],
        f"No phone is registered with {extension}.",
    )


def _password(given: str) -> str:
    if given == "-":
        return sys.stdin.readline().rstrip("\r\n")
    return given or secrets.token_urlsafe(15)


def _show_made(given: str, secret: str) -> None:
    # what was typed needs no repetition on a screen
    if not given:
        typer.echo(f"password  {secret}")


async def _extension(api: Api, name: str) -> Any:
    """The extension of this name."""
    page = await api.ask("GET", "/v1.0/extensions", extension=name)
    if not page["result"]:
        raise Refused(f"There is no extension {name}; `ringline extension list` shows all.")
    return page["result"][0]
