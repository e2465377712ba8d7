"""``ringline ban``: addresses that the edge takes nothing from."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer

from ringline import settings
from ringline.errors import RinglineError
from ringline.routing.bans import Bans
from ringline.routing.kamailio import KamailioRpc

T = TypeVar("T")

ban_app = typer.Typer(no_args_is_help=True)


@ban_app.command("list")
def list_bans() -> None:
    """Show who is banned: address, seconds left, reason, and how far the address is to be believed.

    `proven` hears nothing any more. `unproven` addresses may have been forged: phones that have registered from
    there go on.
    """
    bans = _run(lambda known: known.all())
    now = datetime.now(UTC)
    for ban in bans:
        left = max(1, round((ban.until - now).total_seconds()))
        proof = "proven" if ban.proven else "unproven"
        typer.echo(f"{ban.address:<39}  {left:>8} s  {ban.reason:<9}  {proof}")
    if not bans:
        typer.echo("Nobody is banned.")


@ban_app.command("add")
def add_ban(
    address: Annotated[str, typer.Argument(help="IP address.")],
    seconds: Annotated[int, typer.Option(help="For how long.")] = 86_400,
) -> None:
    """Ban an address. This machine, Asterisk and providers are heard all the same."""
    ban = _run(lambda known: known.add(address, seconds))
    typer.echo(f"{ban.address} is banned until {ban.until:%Y-%m-%d %H:%M:%S} UTC.")


@ban_app.command("clear")
def clear_ban(
    address: Annotated[str, typer.Argument(help="IP address.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Lift all bans.")] = False,
) -> None:
    """Lift a ban, and forget what led to it."""
    if every == bool(address):
        typer.echo("Name one address, or --all.", err=True)
        raise typer.Exit(2)
    if every:
        typer.echo(f"{_run(lambda known: known.clear_all())} bans lifted.")
        return
    _run(lambda known: known.clear(address))
    typer.echo(f"{address} is not banned any more.")


def _run(work: Callable[[Bans], Awaitable[T]]) -> T:
    chosen = settings.load()

    async def run() -> T:
        kamailio = KamailioRpc(chosen.kamailio_rpc_url, chosen.kamailio_secret.get_secret_value())
        try:
            return await work(Bans(kamailio))
        finally:
            await kamailio.close()

    try:
        return asyncio.run(run())
    except RinglineError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(1) from None
