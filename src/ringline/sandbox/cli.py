"""``ringline sandbox``: calls and texts from the simulated telephone network, and the texts that reached it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import aiohttp
import typer

from ringline import settings

app = typer.Typer(no_args_is_help=True)

_MEANING = {
    400: "the carrier's request was not understood",
    403: "the call is not allowed",
    404: "the number is not known",
    408: "nothing answered in time",
    480: "nobody can be reached there now",
    484: "the number is not complete",
    486: "busy",
    487: "given up before an answer",
    488: "no common audio format",
    500: "something failed on the other side",
    503: "the service is not available",
    603: "declined",
}


@app.callback()
def group() -> None:
    """The simulated telephone network (the sandbox carrier)."""


@app.command()
def dial(
    from_number: Annotated[str, typer.Option("--from", help="The caller's number, such as +15557654321.")],
    to_number: Annotated[str, typer.Option("--to", help="The provisioned number to call.")],
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Withhold the caller's number.")] = False,
    press: Annotated[str, typer.Option(help="Keys to press after the answer; a comma waits a second.")] = "",
    seconds: Annotated[float, typer.Option(help="How long to stay after the answer.")] = 30.0,
) -> None:
    """Call a provisioned number as a caller in the telephone network would.

    Prints what happens. Exit status 0 if the call was answered, 1 with the reason otherwise.
    """
    body = {
        "from": from_number,
        "to": to_number,
        "anonymous": anonymous,
        "press": press.upper(),
        "seconds": seconds,
    }
    url = settings.load().carrier_control_url
    try:
        answered = asyncio.run(_dial(url, body, seconds))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        typer.echo(f"the sandbox carrier does not answer at {url}: {error or type(error).__name__}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if answered else 1)


@app.command()
def text(
    from_number: Annotated[str, typer.Option("--from", help="The handset's number, such as +15557654321.")],
    to_number: Annotated[str, typer.Option("--to", help="The provisioned number to text.")],
    words: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")] = "",
    media: Annotated[list[str] | None, typer.Option(help="URL of a picture or the like; repeatable.")] = None,
) -> None:
    """Text a provisioned number as somebody with a handset would.

    Exit status 0 once the text is on its way, 1 with the reason otherwise.
    """
    body = {"from": from_number, "to": to_number, "text": words, "media": media or []}
    sent = _ask("POST", "/handset/texts", json=body)
    parts = f"{sent['parts']} part" + ("" if sent["parts"] == 1 else "s")
    typer.echo(f"sent ({sent['id']}, {parts})")


@app.command()
def texts(
    of: Annotated[str, typer.Option(help="Only those that this handset got.")] = "",
) -> None:
    """List what the simulated handsets got, oldest first (the last hundred)."""
    found = _ask("GET", "/handset/texts", params={"of": of} if of else {})["texts"]
    for one in found:
        words = "".join(letter if letter.isprintable() else " " for letter in one["text"])
        line = f"{one['tm']}  {one['from']} -> {one['to']}  {one['status']}  {words}"
        typer.echo(" ".join([line, *one["media"]]))
    if not found:
        typer.echo("no texts yet", err=True)


def _ask(method: str, path: str, **kwargs: Any) -> dict[str, Any]:
    """One exchange with the carrier. Ends the command where it is refused or nobody answers."""
    url = settings.load().carrier_control_url

    async def exchange() -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=10, connect=5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, f"{url.rstrip('/')}{path}", **kwargs) as response,
        ):
            if response.status >= 300:
                typer.echo(_refusal(await response.text()), err=True)
                raise typer.Exit(1)
            answer: dict[str, Any] = await response.json()
            return answer

    try:
        return asyncio.run(exchange())
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        typer.echo(f"the sandbox carrier does not answer at {url}: {error or type(error).__name__}", err=True)
        raise typer.Exit(1) from None


async def _dial(url: str, body: dict[str, Any], seconds: float) -> bool:
    timeout = aiohttp.ClientTimeout(total=max(0.0, seconds) + 120, connect=5)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"{url.rstrip('/')}/dial", json=body) as response,
    ):
        if response.status != 200:
            typer.echo(_refusal(await response.text()), err=True)
            return False
        async for line in response.content:
            event = json.loads(line)
            typer.echo(describe(event), err=event["event"] == "ended" and not event["answered"])
            if event["event"] == "ended":
                return bool(event["answered"])
    typer.echo("the carrier stopped before the call ended", err=True)
    return False


def _refusal(text: str) -> str:
    try:
        error = json.loads(text)["error"]
        return f"refused: {error['message'] if isinstance(error, dict) else error}"
    except (ValueError, KeyError, TypeError):
        return f"refused: {text[:200]}"


def describe(event: dict[str, Any]) -> str:
    """One line for a person about one step of the call."""
    match event["event"]:
        case "calling":
            return f"calling (Call-ID {event['sip_call_id']})"
        case "digit":
            return f"heard key {event['digit']}"
        case "ended" if not event["answered"]:
            meaning = _MEANING.get(event["status"])
            return f"not answered: {event['status']} {event['reason']}" + (f": {meaning}" if meaning else "")
        case "ended":
            who = {"remote": "the other side", "local": "us"}.get(
                event["by"], f"a failure ({event['reason']})"
            )
            lines = [f"ended by {who} after {event['seconds']:.1f} s"]
            if event["dtmf"]:
                lines.append(f"keys heard: {event['dtmf']}")
            lines.append(f"recording: {event['recording'] or 'none'}")
            return "\n".join(lines)
        case name:
            return f"{name} ({event['status']} {event['reason']})"
