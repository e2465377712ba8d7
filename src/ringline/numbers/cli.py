"""``ringline number``: numbers searched, bought, given flows, suspended and given back, by the API."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import typer

from ringline.asking import Api, Refused, ask, table

number_app = typer.Typer(no_args_is_help=True)

Number = Annotated[str, typer.Argument(help="E.164, such as +16062067563.")]
Flow = Annotated[str | None, typer.Option(help="A flow's id; - for none.")]
_ZERO = "00000000-0000-0000-0000-000000000000"
_POLL_SECONDS = 1.0


@number_app.command("list")
def list_numbers(
    status: Annotated[str, typer.Option(help="active, purchase-pending, suspended or deleted.")] = "",
    kind: Annotated[str, typer.Option("--type", help="normal or virtual.")] = "",
) -> None:
    """Show your numbers, newest first."""
    wanted = {name: value for name, value in (("status", status), ("type", kind)) if value}

    async def work(api: Api) -> list[Any]:
        return await api.all("/v1.0/numbers", **wanted)

    table(
        ("NUMBER", "STATUS", "CALLS", "MESSAGES", "NAME", ""),
        [
            (
                row["number"],
                row["status"],
                _flow(row["call_flow_id"]),
                _flow(row["message_flow_id"]),
                row["name"],
                row["status_reason"],
            )
            for row in ask(work)
        ],
        "There are none: `ringline number search` shows some that may be had, `ringline number buy` gets one.",
    )


@number_app.command("search")
def search(
    country: Annotated[str, typer.Option(help="Two letters, such as US.")] = "US",
    kind: Annotated[str, typer.Option("--type", help="local, toll_free, mobile or virtual.")] = "",
    contains: Annotated[str, typer.Option(help="Digits; * for any one.")] = "",
    most: Annotated[int, typer.Option("--most", min=1, max=1000, help="How many.")] = 20,
) -> None:
    """Show numbers that may be had."""
    given = {"country_code": country, "type": kind, "contains": contains, "page_size": str(most)}

    async def work(api: Api) -> list[Any]:
        query = {name: value for name, value in given.items() if value}
        found: list[Any] = (await api.ask("GET", "/v1.0/available_numbers", **query))["result"]
        return found

    table(
        ("NUMBER", "COUNTRY", "REGION", "FEATURES"),
        [(row["number"], row["country"], row["region"], " ".join(row["features"])) for row in ask(work)],
        "No such number is for sale.",
    )


@number_app.command("buy")
def buy(
    number: Number,
    call_flow: Flow = None,
    message_flow: Flow = None,
    name: Annotated[str, typer.Option(help="What it is called.")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait until the purchase is confirmed.")] = 30.0,
) -> None:
    """Get a number. A normal one costs money, a virtual one (+899) does not."""

    async def work(api: Api) -> Any:
        body = {"number": number, "name": name, **_flows(call_flow, message_flow)}
        row = await api.ask("POST", "/v1.0/numbers", body)
        until = time.monotonic() + wait
        while row["status"] == "purchase-pending" and time.monotonic() < until:
            await asyncio.sleep(_POLL_SECONDS)
            row = await api.ask("GET", f"/v1.0/numbers/{row['id']}")
        return row

    row = ask(work)
    typer.echo(f"{row['number']}  {row['status']}  {row['id']}")


@number_app.command("flow")
def assign(number: Number, call_flow: Flow = None, message_flow: Flow = None) -> None:
    """Say which flows calls and messages to a number run."""
    body = _flows(call_flow, message_flow)
    if not body:
        typer.echo("Give --call-flow, --message-flow or both.", err=True)
        raise typer.Exit(2)
    _act(number, "PUT", "/flow_ids", body)


@number_app.command("suspend")
def suspend(number: Number) -> None:
    """Refuse calls and messages to a number until it is reactivated."""
    _act(number, "POST", "/suspend")


@number_app.command("reactivate")
def reactivate(number: Number) -> None:
    """Let calls and messages in again; pays the month where that is what is missing."""
    _act(number, "POST", "/reactivate")


@number_app.command("release")
def release(
    number: Number,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give a number back. Somebody else may have it soon."""
    if not yes and not typer.confirm(f"Give {number} back?"):
        raise typer.Exit(1)
    _act(number, "DELETE", "")


@number_app.command("renew")
def renew(
    days: Annotated[int, typer.Option(min=0, max=27, help="Also what falls due within so many days.")] = 0,
) -> None:
    """Pay the next month of numbers that are due. It is done by itself; this is for those that could not be paid."""

    async def work(api: Api) -> list[Any]:
        rows: list[Any] = await api.ask("POST", "/v1.0/numbers/renew", {"days": days})
        return rows

    table(
        ("NUMBER", "STATUS", "PAID UNTIL"),
        [(row["number"], row["status"], row["tm_renew"][:10]) for row in ask(work)],
        "Nothing is due.",
    )


def _act(number: str, method: str, part: str, body: Any = None) -> None:
    async def work(api: Api) -> Any:
        row = await _owned(api, number)
        return await api.ask(method, f"/v1.0/numbers/{row['id']}{part}", body)

    row = ask(work)
    typer.echo(f"{row['number']}  {row['status']}")


async def _owned(api: Api, number: str) -> Any:
    page = await api.ask("GET", "/v1.0/numbers", number=number)
    if not page["result"]:
        raise Refused(f"{number} is not one of your numbers; `ringline number list` shows them.")
    return page["result"][0]


def _flows(call_flow: str | None, message_flow: str | None) -> dict[str, str]:
    given = (("call_flow_id", call_flow), ("message_flow_id", message_flow))
    return {name: _ZERO if value == "-" else value for name, value in given if value is not None}


def _flow(flow_id: str) -> str:
    return "-" if flow_id == _ZERO else flow_id
