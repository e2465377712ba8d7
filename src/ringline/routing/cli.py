"""``ringline provider`` and ``ringline route``: where calls to the telephone network go, and who may send some."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer

from ringline import settings
from ringline.errors import InvalidArgument, RinglineError
from ringline.routing.health import Health, ProviderHealth
from ringline.routing.kamailio import KamailioRpc
from ringline.routing.models import (
    DEFAULT_CUSTOMER_ID,
    ProviderFields,
    RouteFields,
    Source,
    target_of,
)
from ringline.routing.service import RoutingService
from ringline.sip.codecs import CODECS, codecs_of
from ringline.storage import Database

T = TypeVar("T")

provider_app = typer.Typer(no_args_is_help=True)
route_app = typer.Typer(no_args_is_help=True)


Hostname = Annotated[str, typer.Argument(help="The provider's SIP host name or IP address.")]
Port = Annotated[int | None, typer.Option(help="SIP port; 0 asks DNS for it. Left out: 5060, with tls 5061.")]
Transported = Annotated[str | None, typer.Option(help="udp, tcp or tls.")]
Addresses = Annotated[
    list[str] | None,
    typer.Option(
        "--from", help="Address that its calls come from: 203.0.113.7, 203.0.113.0/24 or with :port; several."
    ),
]
Prefix = Annotated[str | None, typer.Option(help="Written before each dialled number.")]
Postfix = Annotated[str | None, typer.Option(help="Written behind each dialled number.")]
Headers = Annotated[
    list[str] | None, typer.Option("--header", help="A header of its INVITEs: 'X-Account: 77'; several.")
]
Codecs = Annotated[str | None, typer.Option(help=f"All that it is offered, of {','.join(CODECS)}.")]
Username = Annotated[str | None, typer.Option(help="For its digest challenges; the password is asked for.")]
Realm = Annotated[str | None, typer.Option(help="Realm of its challenges: then only HA1 is kept.")]
Registers = Annotated[bool | None, typer.Option("--register/--no-register", help="Register there.")]
Contact = Annotated[str | None, typer.Option(help="User of the Contact that is registered.")]
Expires = Annotated[int | None, typer.Option(help="Seconds that a registration is asked for.")]
Check = Annotated[bool | None, typer.Option("--check/--no-check", help="Ask by OPTIONS whether it is there.")]
Detail = Annotated[str | None, typer.Option(help="A note of your own.")]


@provider_app.command("add")
def add_provider(
    name: Annotated[str, typer.Argument(help="A name of your own.")],
    hostname: Hostname,
    port: Port = None,
    transport: Transported = None,
    source: Addresses = None,
    prefix: Prefix = None,
    postfix: Postfix = None,
    header: Headers = None,
    codecs: Codecs = None,
    username: Username = None,
    realm: Realm = None,
    register: Registers = None,
    contact: Contact = None,
    expires: Expires = None,
    check: Check = None,
    detail: Detail = None,
) -> None:
    """Make a provider known. Calls go to it once a route leads there (`ringline route add`)."""
    if port is None:
        port = 5061 if transport == "tls" else 5060
    given = _given(
        port, transport, source, prefix, postfix, header, codecs, username, realm, register, contact, expires,
        check, detail,
    )  # fmt: skip

    async def work(routing: RoutingService) -> str:
        fields = ProviderFields(name=name, hostname=hostname, **given())
        return str((await routing.create_provider(fields)).id)

    typer.echo(_run(work))


@provider_app.command("set")
def set_provider(
    provider_id: Annotated[UUID, typer.Argument(help="The provider's id.")],
    name: Annotated[str | None, typer.Option(help="A name of your own.")] = None,
    hostname: Annotated[str | None, typer.Option(help="SIP host name or IP address.")] = None,
    port: Port = None,
    transport: Transported = None,
    source: Addresses = None,
    prefix: Prefix = None,
    postfix: Postfix = None,
    header: Headers = None,
    codecs: Codecs = None,
    username: Username = None,
    realm: Realm = None,
    register: Registers = None,
    contact: Contact = None,
    expires: Expires = None,
    check: Check = None,
    detail: Detail = None,
) -> None:
    """Change a provider: what is left out stays. It is in force when this returns."""
    given = _given(
        port, transport, source, prefix, postfix, header, codecs, username, realm, register, contact, expires,
        check, detail,
    )  # fmt: skip

    async def work(routing: RoutingService) -> None:
        changes = given()
        changes |= {
            key: value for key, value in (("name", name), ("hostname", hostname)) if value is not None
        }
        await routing.change_provider(provider_id, changes)

    _run(work)


def _given(
    port: int | None, transport: str | None, source: list[str] | None, prefix: str | None, postfix: str | None,
    header: list[str] | None, codecs: str | None, username: str | None, realm: str | None, register: bool | None,
    contact: str | None, expires: int | None, check: bool | None, detail: str | None,
) -> Callable[[], dict[str, Any]]:  # fmt: skip
    """What was said on the command line, by the names of ``ProviderFields``; the password is asked for at once.

    It is put together later: what is wrong with it is said as other refusals are.
    """
    password = typer.prompt("Password", hide_input=True) if username else None

    def fields() -> dict[str, Any]:
        values = {
            "port": port,
            "transport": transport,
            "sources": None if source is None else tuple(Source.parse(text) for text in source if text),
            "tech_prefix": prefix,
            "tech_postfix": postfix,
            "tech_headers": None if header is None else dict(_header(text) for text in header if text),
            "codecs": None if codecs is None else codecs_of(codecs),
            "username": username,
            "password": password,
            "realm": realm,
            "registration": register,
            "registration_contact": contact,
            "registration_expires": expires,
            "health_check": check,
            "detail": detail,
        }
        return {name: value for name, value in values.items() if value is not None}

    return fields


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise InvalidArgument(f"header: {text[:80]!r} is not like 'X-Account: 77'")
    return name.strip(), value.strip()


@provider_app.command("list")
def list_providers() -> None:
    """Show all providers: id, name, how it is, address, and where its calls come from."""

    async def work(routing: RoutingService, health: ProviderHealth) -> list[str]:
        providers = await routing.providers()
        return [
            f"{provider.id}  {provider.name:<20}  {_condition(found):<26}"
            f"  {provider.transport}:{provider.hostname}:{provider.port}"
            f"  from {', '.join(map(str, provider.sources)) or 'nowhere'}"
            for provider, found in zip(providers, await health.of(*providers), strict=True)
        ]

    _print(_run_with_health(work))


def _condition(health: Health) -> str:
    since = "" if health.tm_status is None else f" since {health.tm_status:%m-%d %H:%M:%S}"
    registration = health.registration
    if registration.status == "off":
        return health.status + since
    why = f" ({registration.error})" if registration.error else ""
    return f"{health.status}{since}, {registration.status}{why}"


@provider_app.command("delete")
def delete_provider(provider_id: Annotated[UUID, typer.Argument(help="The provider's id.")]) -> None:
    """Forget a provider. Its routes must be deleted before."""
    _run(lambda routing: routing.delete_provider(provider_id))


@route_app.command("add")
def add_route(
    provider_id: Annotated[UUID, typer.Argument(help="The provider's id.")],
    target: Annotated[
        str, typer.Option(help="Beginning of the number such as +82, a country such as kr, or all.")
    ] = "all",
    priority: Annotated[int, typer.Option(help="Lower is tried first.")] = 0,
    customer: Annotated[
        UUID, typer.Option(help="The customer it is for; left out, everybody.")
    ] = DEFAULT_CUSTOMER_ID,
    name: Annotated[str, typer.Option(help="A name of your own.")] = "",
) -> None:
    """Have a provider take calls to some numbers. It is in force when this returns."""

    async def work(routing: RoutingService) -> str:
        fields = RouteFields(
            provider_id=provider_id,
            target=target_of(target),
            priority=priority,
            customer_id=customer,
            name=name,
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
    return _run_with_health(lambda routing, _: work(routing))


def _run_with_health(work: Callable[[RoutingService, ProviderHealth], Awaitable[T]]) -> T:
    chosen = settings.load()

    async def run() -> T:
        database = Database(chosen.database_url.get_secret_value(), pool_size=2)
        kamailio = KamailioRpc(chosen.kamailio_rpc_url, chosen.kamailio_secret.get_secret_value())
        try:
            return await work(RoutingService(database, kamailio), ProviderHealth(kamailio))
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
