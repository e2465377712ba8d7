"""Tables of providers and routes, and every query on them.

Kamailio reads them through the views of migration 0002.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.routing.models import Provider, ProviderFields, Route, RouteFields, Source
from ringline.storage import metadata, types

providers = sa.Table(
    "providers",
    metadata,
    types.id_column(),
    # drouting knows gateways by integers.
    sa.Column("key", sa.Integer, sa.Identity(always=True), nullable=False, unique=True),
    types.text_column("name"),
    types.text_column("detail"),
    sa.Column("type", sa.Text, nullable=False, server_default="sip"),
    sa.Column("hostname", sa.Text, nullable=False),
    sa.Column("port", sa.Integer, nullable=False, server_default=sa.text("5060")),
    sa.Column("transport", sa.Text, nullable=False, server_default="udp"),
    types.text_column("tech_prefix"),
    types.text_column("tech_postfix"),
    sa.Column("tech_headers", types.Json, nullable=False, server_default=sa.text("'{}'::jsonb")),
    types.text_column("codecs"),
    types.text_column("username"),
    types.text_column("realm"),
    # One of the two: the password is kept only where the realm is not known, and Kamailio makes HA1 of it.
    types.text_column("password"),
    types.text_column("ha1"),
    sa.Column("registration", sa.Boolean, nullable=False, server_default=sa.false()),
    types.text_column("registration_contact"),
    sa.Column("registration_expires", sa.Integer, nullable=False, server_default=sa.text("3600")),
    sa.Column("health_check", sa.Boolean, nullable=False, server_default=sa.true()),
    *types.tm_columns(),
    sa.Index(
        "uq_providers_registration_contact",
        "registration_contact",
        unique=True,
        postgresql_where=sa.text("tm_delete IS NULL AND registration AND registration_contact <> ''"),
    ),
)

# One row per address, so that two providers cannot claim the same one: Kamailio would take either.
provider_addresses = sa.Table(
    "provider_addresses",
    metadata,
    sa.Column("provider_id", sa.Uuid, sa.ForeignKey("providers.id"), nullable=False),
    sa.Column("network", postgresql.CIDR, nullable=False),
    sa.Column("port", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.PrimaryKeyConstraint("network", "port"),
)

routes = sa.Table(
    "routes",
    metadata,
    types.id_column(),
    # No foreign key: the default customer of VoIPBIN's API is nobody.
    sa.Column("customer_id", sa.Uuid, nullable=False),
    types.text_column("name"),
    types.text_column("detail"),
    sa.Column("provider_id", sa.Uuid, sa.ForeignKey("providers.id"), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("target", sa.Text, nullable=False, server_default="all"),
    *types.tm_columns(),
)

# The number by which drouting knows a customer with routes of its own; 1 is the default customer's.
routing_groups = sa.Table(
    "routing_groups",
    metadata,
    sa.Column("customer_id", sa.Uuid, primary_key=True),
    sa.Column("key", sa.Integer, sa.Identity(always=True, start=2), nullable=False, unique=True),
)

_live_provider = providers.c.tm_delete.is_(None)
_live_route = routes.c.tm_delete.is_(None)


async def insert_provider(
    connection: AsyncConnection, provider_id: UUID, fields: ProviderFields, now: datetime
) -> None:
    """Add a provider and its addresses."""
    await connection.execute(
        providers.insert().values(id=provider_id, tm_create=now, **_provider_values(fields))
    )
    await _insert_sources(connection, provider_id, fields)


async def update_provider(
    connection: AsyncConnection, provider_id: UUID, fields: ProviderFields, now: datetime
) -> bool:
    """Replace a live provider's fields and addresses; whether there was one."""
    changed = await connection.execute(
        providers.update()
        .where(providers.c.id == provider_id, _live_provider)
        .values(tm_update=now, **_provider_values(fields))
    )
    if not changed.rowcount:
        return False
    await _delete_sources(connection, provider_id)
    await _insert_sources(connection, provider_id, fields)
    return True


async def delete_provider(connection: AsyncConnection, provider_id: UUID, now: datetime) -> bool:
    """Mark a provider as deleted and give its addresses free; whether there was one."""
    changed = await connection.execute(
        providers.update()
        .where(providers.c.id == provider_id, _live_provider)
        .values(tm_update=now, tm_delete=now)
    )
    await _delete_sources(connection, provider_id)
    return bool(changed.rowcount)


async def select_providers(connection: AsyncConnection, provider_id: UUID | None = None) -> list[Provider]:
    """Live providers in order of creation, or the one that is named."""
    statement = providers_statement().order_by(providers.c.tm_create, providers.c.id)
    if provider_id is not None:
        statement = statement.where(providers.c.id == provider_id)
    return [provider_of(row) for row in await connection.execute(statement)]


def providers_statement() -> sa.Select[Any]:
    """Rows of live providers for ``provider_of``."""
    sources = (
        sa.select(
            provider_addresses.c.provider_id,
            sa.func.array_agg(
                sa.func.text(provider_addresses.c.network) + "|" + sa.cast(provider_addresses.c.port, sa.Text)
            ).label("sources"),
        )
        .group_by(provider_addresses.c.provider_id)
        .subquery()
    )
    return (
        sa.select(providers, sources.c.sources)
        .outerjoin(sources, sources.c.provider_id == providers.c.id)
        .where(_live_provider)
    )


async def insert_route(
    connection: AsyncConnection, route_id: UUID, fields: RouteFields, now: datetime
) -> None:
    """Add a route, and its customer to those who have routes of their own."""
    await connection.execute(
        postgresql.insert(routing_groups).values(customer_id=fields.customer_id).on_conflict_do_nothing()
    )
    await connection.execute(routes.insert().values(id=route_id, tm_create=now, **_route_values(fields)))


async def update_route(
    connection: AsyncConnection, route_id: UUID, fields: RouteFields, now: datetime
) -> bool:
    """Replace a live route's fields, except its customer; whether there was one."""
    values = _route_values(fields)
    del values["customer_id"]
    changed = await connection.execute(
        routes.update().where(routes.c.id == route_id, _live_route).values(tm_update=now, **values)
    )
    return bool(changed.rowcount)


async def select_route(connection: AsyncConnection, route_id: UUID) -> Route | None:
    """A live route."""
    row = (await connection.execute(routes_statement().where(routes.c.id == route_id))).first()
    return None if row is None else route_of(row)


async def delete_route(connection: AsyncConnection, route_id: UUID, now: datetime) -> bool:
    """Mark a route as deleted; whether there was one."""
    changed = await connection.execute(
        routes.update().where(routes.c.id == route_id, _live_route).values(tm_update=now, tm_delete=now)
    )
    return bool(changed.rowcount)


def routes_statement() -> sa.Select[Any]:
    """Rows of live routes for ``route_of``."""
    return sa.select(routes).where(_live_route)


async def select_routes(connection: AsyncConnection, *, provider_id: UUID | None = None) -> list[Route]:
    """Live routes, in the order in which they are tried: by customer, target, priority."""
    statement = (
        sa.select(routes)
        .where(_live_route)
        .order_by(routes.c.customer_id, routes.c.target, routes.c.priority, routes.c.tm_create, routes.c.id)
    )
    if provider_id is not None:
        statement = statement.where(routes.c.provider_id == provider_id)
    return [route_of(row) for row in await connection.execute(statement)]


async def select_registrations(connection: AsyncConnection) -> list[dict[str, Any]]:
    """The registrations that Kamailio shall keep up, as it reads them."""
    found = await connection.execute(sa.text("SELECT * FROM kamailio.uacreg ORDER BY id"))
    return [dict(row) for row in found.mappings()]


def _provider_values(fields: ProviderFields) -> dict[str, Any]:
    return {
        "name": fields.name,
        "detail": fields.detail,
        "hostname": fields.hostname,
        "port": fields.port,
        "transport": fields.transport,
        "tech_prefix": fields.tech_prefix,
        "tech_postfix": fields.tech_postfix,
        "tech_headers": dict(fields.tech_headers),
        "codecs": fields.codecs,
        "username": fields.username,
        "realm": fields.realm,
        "password": fields.password,
        "ha1": fields.ha1,
        "registration": fields.registration,
        "registration_contact": fields.registration_contact,
        "registration_expires": fields.registration_expires,
        "health_check": fields.health_check,
    }


def _route_values(fields: RouteFields) -> dict[str, Any]:
    return {
        "customer_id": fields.customer_id,
        "provider_id": fields.provider_id,
        "name": fields.name,
        "detail": fields.detail,
        "priority": fields.priority,
        "target": fields.target,
    }


async def _insert_sources(connection: AsyncConnection, provider_id: UUID, fields: ProviderFields) -> None:
    rows = [
        {"provider_id": provider_id, "network": source.network, "port": source.port}
        for source in set(fields.sources)
    ]
    if rows:
        await connection.execute(provider_addresses.insert(), rows)


async def _delete_sources(connection: AsyncConnection, provider_id: UUID) -> None:
    await connection.execute(
        provider_addresses.delete().where(provider_addresses.c.provider_id == provider_id)
    )


def provider_of(row: sa.Row[Any]) -> Provider:
    """The provider of a row of ``providers_statement``."""
    return Provider(
        id=row.id,
        key=row.key,
        sources=tuple(sorted((_source(text) for text in row.sources or ()), key=str)),
        tm_create=row.tm_create,
        tm_update=row.tm_update,
        **{name: getattr(row, name) for name in _PROVIDER_COLUMNS},
    )


_PROVIDER_COLUMNS = (
    "name",
    "detail",
    "hostname",
    "port",
    "transport",
    "tech_prefix",
    "tech_postfix",
    "tech_headers",
    "codecs",
    "username",
    "realm",
    "password",
    "ha1",
    "registration",
    "registration_contact",
    "registration_expires",
    "health_check",
)


def _source(text: str) -> Source:
    network, _, port = text.rpartition("|")
    return Source(Source.parse(network).network, int(port))


def route_of(row: sa.Row[Any]) -> Route:
    """The route of a row of ``routes_statement``."""
    return Route(
        id=row.id,
        customer_id=row.customer_id,
        provider_id=row.provider_id,
        name=row.name,
        detail=row.detail,
        priority=row.priority,
        target=row.target,
        tm_create=row.tm_create,
        tm_update=row.tm_update,
    )
