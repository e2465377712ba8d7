"""``ringline call trace``: the SIP messages of a call, by the API."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import UUID

import aiohttp
import typer

from ringline import settings

call_app = typer.Typer(no_args_is_help=True)

_SECONDS = 30


@call_app.callback()
def _calls() -> None:
    """Calls."""


@call_app.command("trace")
def trace(
    call_id: Annotated[UUID, typer.Argument(help="The call's id.")],
    pcap: Annotated[
        Path | None,
        typer.Option(
            help="Write a capture file that Wireshark opens; - is the standard output.",
            dir_okay=False,
            allow_dash=True,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    messages: Annotated[
        bool, typer.Option("--messages", help="The ladder, and each message in full.")
    ] = False,
    own: Annotated[bool, typer.Option("--own", help="Without the calls that belong to it.")] = False,
    accesskey: Annotated[
        str,
        typer.Option(
            envvar="RINGLINE_ACCESSKEY", help="An access key of the call's customer.", show_default=False
        ),
    ] = "",
) -> None:
    """Print the ladder of a call's SIP messages: who sent what to whom, and when."""
    query = {"legs": "own" if own else "all", "texts": str(messages).lower()}
    query["format"] = "pcap" if pcap else "json" if as_json else "ladder"
    content = asyncio.run(_fetch(f"/v1.0/calls/{call_id}/sip", query, accesskey))
    if str(pcap) == "-":
        typer.get_binary_stream("stdout").write(content)
        return
    if pcap is not None:
        try:
            pcap.write_bytes(content)
        except OSError as error:
            typer.echo(f"{pcap}: {error.strerror}", err=True)
            raise typer.Exit(2) from None
        typer.echo(f"{pcap}: {len(content)} bytes")
        return
    typer.echo(content.decode(), nl=as_json)


async def _fetch(path: str, query: dict[str, str], accesskey: str) -> bytes:
    chosen = settings.load()
    key = accesskey or chosen.accesskey.get_secret_value()
    url = chosen.api_url.rstrip("/") + path
    headers = {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, params=query, headers=headers) as response,
        ):
            if response.status != 200:
                fault = await response.json(content_type=None)
                typer.echo(str(fault["error"]["message"]), err=True)
                raise typer.Exit(1)
            return await response.read()
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
        typer.echo(f"No answer from {url}: {error or 'timeout'}. Is the stack up?", err=True)
        raise typer.Exit(1) from None
