"""``ringline keys``: what tokens of logins are signed with."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

keys_app = typer.Typer(no_args_is_help=True)


@keys_app.command()
def rotate(
    revoke_all: Annotated[
        bool, typer.Option("--revoke-all", help="Void every login at once; everybody logs in again.")
    ] = False,
) -> None:
    """Make a new key that signs logins. Present logins stay valid until they end, unless all are revoked."""
    from ringline import settings  # noqa: PLC0415
    from ringline.customers import signing  # noqa: PLC0415
    from ringline.storage import Database, DatabaseUnavailable  # noqa: PLC0415

    async def run() -> str:
        database = Database(settings.load().database_url.get_secret_value(), pool_size=1)
        try:
            return str(await signing.rotate(database, revoke=revoke_all))
        finally:
            await database.close()

    try:
        key_id = asyncio.run(run())
    except DatabaseUnavailable as problem:
        typer.echo(f"{problem.message} `ringline doctor` looks at each part.", err=True)
        raise typer.Exit(1) from None
    if revoke_all:
        typer.echo(f"Key {key_id} signs logins from now on; every login there was is void.")
    else:
        typer.echo(f"Key {key_id} signs logins in {signing.AHEAD_SECONDS:g} s; present ones stay valid.")


@keys_app.command("list")
def show() -> None:
    """List the keys whose logins are accepted, the newest first."""
    from sqlalchemy import select  # noqa: PLC0415

    from ringline import settings  # noqa: PLC0415
    from ringline.customers.token_tables import signing_keys as table  # noqa: PLC0415
    from ringline.storage import Database, DatabaseUnavailable  # noqa: PLC0415

    async def run() -> list[str]:
        database = Database(settings.load().database_url.get_secret_value(), pool_size=1)
        live = select(table).where(table.c.tm_delete.is_(None)).order_by(table.c.tm_sign.desc())
        try:
            async with database.connect() as connection:
                rows = (await connection.execute(live)).all()
        finally:
            await database.close()
        return [
            f"{row.id}  signs since {row.tm_sign:%Y-%m-%d %H:%M}  "
            + ("newest" if row.tm_expire is None else f"accepted until {row.tm_expire:%Y-%m-%d %H:%M}")
            for row in rows
        ]

    try:
        lines = asyncio.run(run())
    except DatabaseUnavailable as problem:
        typer.echo(f"{problem.message} `ringline doctor` looks at each part.", err=True)
        raise typer.Exit(1) from None
    for line in lines:
        typer.echo(line)
