"""``ringline provider`` and ``ringline route``: where calls to the telephone network go, and who may send some."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from ringline import settings
from ringline.errors import InvalidArgument, RinglineError
from ringline.routing.kamailio import KamailioRpc
from ringline.routing.models import DEFAULT_CUSTOMER_ID, ProviderFields, RouteFields, Source, Transport
from ringline.routing.service import RoutingService
from ringline.storage import Database

T = TypeVar("T")

provider_app = typer.Typer(
    help="SIP providers: who carries calls to the telephone network, and from where theirs come.",
    no_args_is_help=True,
)
route_app = typer.Typer(
    help="Routes: which provider takes calls to which numbers, for whom.", no_args_is_help=True
)


@provider_app.command("add")
def add_provider(
    name: Annotated[str, typer.Argument(help="A name of your own.")],
    hostname: Annotated[str, typer.Argument(help="The provider's SIP host name or IP address.")],
    port: Annotated[int, typer.Option(help="SIP port; 0 asks DNS for it.")] = 5060,
    transport: Annotated[str, typer.Option(help="udp or tcp.")] = "udp",
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from", help="Address that its calls come from: 203.0.113.7, 203.0.113.0/24 or with :port."
        ),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Written before each dialled number.")] = "",
    postfix: Annotated[str, typer.Option(help="Written behind each dialled number.")] = "",
    detail: Annotated[str, typer.Option(help="A note of your own.")] = "",
) -> None:
    """Make a provider known. Calls go to it once a route leads there (`ringline route add`)."""

    async def work(routing: RoutingService) -> str:
        kind: Transport = "tcp" if transport == "tcp" else "udp"
        if transport != kind:
            raise InvalidArgument(f"transport: {transport!r} is not supported; udp or tcp")
        fields = ProviderFields(
            name=name,
            hostname=hostname,
            port=port,
            transport=kind,
            sources=tuple(Source.parse(text) for text in source or ()),
            tech_prefix=prefix,
            tech_postfix=postfix,
            detail=detail,
        )
        return str((await routing.create_provider(fields)).id)

    typer.echo(_run(work))


@provider_app.command("list")
def list_providers() -> None:
    """Show all providers: id, name, address, and where their calls come from."""

    async def work(routing: RoutingService) -> list[str]:
        return [
            f"{provider.id}  {provider.name:<20}  {provider.transport}:{provider.hostname}:{provider.port}"
            f"  from {', '.join(map(str, provider.sources)) or 'nowhere'}"
            for provider in await routing.providers()
        ]

    _print(_run(work))


@provider_app.command("delete")
def delete_provider(provider_id: Annotated[UUID, typer.Argument(help="The provider's id.")]) -> None:
    """Forget a provider. Its routes must be deleted before."""
    _run(lambda routing: routing.delete_provider(provider_id))


@route_app.command("add")
def add_route(
    provider_id: Annotated[UUID, typer.Argument(help="The provider's id.")],
    target: Annotated[str, typer.Option(help="Beginning of the number such as +82, or all.")] = "all",
    priority: Annotated[int, typer.Option(help="Lower is tried first.")] = 0,
    customer: Annotated[
        UUID, typer.Option(help="The customer it is for; left out, everybody.")
    ] = DEFAULT_CUSTOMER_ID,
    name: Annotated[str, typer.Option(help="A name of your own.")] = "",
) -> None:
    """Have a provider take calls to some numbers. It is in force when this returns."""

    async def work(routing: RoutingService) -> str:
        fields = RouteFields(
            provider_id=provider_id, target=target, priority=priority, customer_id=customer, name=name
        )
        return str((await routing.create_route(fields)).id)

    typer.echo(_run(work))


@route_app.command("list")
def list_routes() -> None:
    """Show all routes in the order in which they are tried."""

    async def work(routing: RoutingService) -> list[str]:
        names = {provider.id: provider.name for provider in await routing.providers()}
        return [
            f"{route.id}  {'everybody' if route.customer_id == DEFAULT_CUSTOMER_ID else route.customer_id}"
            f"  {route.target:<6}  priority {route.priority:<5} -> {names.get(route.provider_id, route.provider_id)}"
            for route in await routing.routes()
        ]

    _print(_run(work))


@route_app.command("delete")
def delete_route(route_id: Annotated[UUID, typer.Argument(help="The route's id.")]) -> None:
    """Forget a route, for example the sandbox's once a real provider is there."""
    _run(lambda routing: routing.delete_route(route_id))


def _run(work: Callable[[RoutingService], Awaitable[T]]) -> T:
    chosen = settings.load()

    async def run() -> T:
        database = Database(chosen.database_url.get_secret_value(), pool_size=2)
        kamailio = KamailioRpc(chosen.kamailio_rpc_url, chosen.kamailio_secret.get_secret_value())
        try:
            return await work(RoutingService(database, kamailio))
        finally:
            await kamailio.close()
            await database.close()

    try:
        return asyncio.run(run())
    except RinglineError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(1) from None


def _print(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
