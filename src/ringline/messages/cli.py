"""``ringline message``: texts, by the API."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from ringline import settings

message_app = typer.Typer(help="Texts.", no_args_is_help=True)

_SECONDS = 30
_Key = Annotated[
    str,
    typer.Option(envvar="RINGLINE_ACCESSKEY", help="An access key of the customer.", show_default=False),
]


@message_app.command("send")
def send(
    text: Annotated[str, typer.Argument(help="What to say.")],
    to: Annotated[list[str], typer.Option("--to", help="Whom, in E.164; several times for several.")],
    source: Annotated[
        str, typer.Option("--from", help="One of your numbers; else the default outgoing number.")
    ] = "",
    media: Annotated[
        list[str] | None, typer.Option("--media", help="The address of a picture; makes it an MMS.")
    ] = None,
    accesskey: _Key = "",
) -> None:
    """Send a text and print the message's id, and each target's state."""
    body = {"source": source, "destinations": to, "text": text, "media": media or []}
    made = asyncio.run(_ask("POST", "/v1.0/messages", accesskey, json=body))
    typer.echo(made["id"])
    for target in made["targets"]:
        typer.echo(f"{target['destination']['target']:<18} {_state(target)}, {_parts(target['parts'])}")


@message_app.command("list")
def listing(
    direction: Annotated[str, typer.Option(help="Only inbound or outbound ones.")] = "",
    status: Annotated[str, typer.Option(help="Only those: sending, sent, delivered, failed.")] = "",
    number: Annotated[str, typer.Option("--to", help="Only those to this number.")] = "",
    source: Annotated[str, typer.Option("--from", help="Only those from this number.")] = "",
    most: Annotated[int, typer.Option("--most", min=1, max=1000, help="How many.")] = 20,
    accesskey: _Key = "",
) -> None:
    """Print the newest texts."""
    query = {"page_size": str(most), "direction": direction, "status": status, "destination": number}
    query["source"] = source
    given = {name: value for name, value in query.items() if value}
    page = asyncio.run(_ask("GET", "/v1.0/messages", accesskey, params=given))
    for message in page["result"]:
        for target in message["targets"]:
            arrow = "<-" if message["direction"] == "inbound" else "->"
            line = f"{message['tm_create']}  {message['source']['target']} {arrow} {target['destination']['target']}"
            typer.echo(f"{line}  {_state(target)}  {message['text'][:60]!r}")


def _state(target: dict[str, Any]) -> str:
    return f"{target['status']} ({target['reason']})" if target["reason"] else str(target["status"])


def _parts(count: int) -> str:
    return "1 part" if count == 1 else f"{count} parts"


async def _ask(method: str, path: str, accesskey: str, **more: Any) -> Any:
    import aiohttp  # noqa: PLC0415 - the command line starts without it

    chosen = settings.load()
    url = chosen.api_url.rstrip("/") + path
    headers = {"Authorization": f"Bearer {accesskey or chosen.accesskey.get_secret_value()}"}
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, headers=headers, **more) as response,
        ):
            answer = await response.json(content_type=None)
            if response.status != 200:
                typer.echo(str(answer["error"]["message"]), err=True)
                raise typer.Exit(1)
            return answer
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
        typer.echo(f"No answer from {url}: {error or 'timeout'}. Is the stack up?", err=True)
        raise typer.Exit(1) from None
