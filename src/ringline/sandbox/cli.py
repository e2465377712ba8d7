"""``ringline sandbox``: calls from the simulated telephone network."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import aiohttp
import typer

from ringline import settings

app = typer.Typer(help="The simulated telephone network (the sandbox carrier).", no_args_is_help=True)

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
        return f"refused: {json.loads(text)['error']}"
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
