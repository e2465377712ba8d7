"""What may happen to providers and routes: checked, stored, and in force at the edge when the call returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4, uuid5

import structlog
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from ringline.http import PageQuery, page_statement
from ringline.routing import store
from ringline.routing.kamailio import KamailioRpc
from ringline.routing.models import Provider, ProviderFields, Route, RouteFields
from ringline.routing.registrations import Registrations
from ringline.storage import Database

log = structlog.get_logger(__name__)

T = TypeVar("T")


class ProviderNotFound(NotFound):
    """404: no such provider."""

    default_reason = "PROVIDER_NOT_FOUND"


class RouteNotFound(NotFound):
    """404: no such route."""

    default_reason = "ROUTE_NOT_FOUND"


class RoutingService:
    """Providers and routes of the platform, an administrator's business.

    Every change is committed before Kamailio is told. Where Kamailio cannot be reached the method raises
    ``Unavailable`` although the change is stored: Kamailio reads it at its next start or reload. ``seed`` makes the
    id of what is created: with the same one the same resource is found again instead of made twice.
    """

    def __init__(self, database: Database, kamailio: KamailioRpc) -> None:
        self._database = database
        self._kamailio = kamailio
        self._registrations = Registrations(kamailio)
        self.stale = False
        """Whether Kamailio has not heard of the last change, or not of all of it."""

    async def create_provider(self, fields: ProviderFields, seed: UUID | None = None) -> Provider:
        """Add a provider; ``AlreadyExists`` when another one has one of its addresses."""
        provider_id = uuid4() if seed is None else uuid5(seed, "provider")

        async def work(connection: AsyncConnection) -> None:
            if not await store.select_providers(connection, provider_id):
                await store.insert_provider(connection, provider_id, fields.sealed(), datetime.now(UTC))

        await self._change(work)
        log.info("provider_created", provider_id=str(provider_id), hostname=fields.hostname)
        return await self.provider(provider_id)

    async def update_provider(self, provider_id: UUID, fields: ProviderFields) -> Provider:
        """Replace a provider's fields; ``NotFound``, ``AlreadyExists`` as for ``create_provider``."""

        async def work(connection: AsyncConnection) -> None:
            if not await store.update_provider(connection, provider_id, fields.sealed(), datetime.now(UTC)):
                raise _no_provider(provider_id)

        await self._change(work)
        log.info("provider_updated", provider_id=str(provider_id), hostname=fields.hostname)
        return await self.provider(provider_id)

    async def change_provider(self, provider_id: UUID, changes: Mapping[str, Any]) -> Provider:
        """Change some of a provider's fields (names of ``ProviderFields``) and leave the others.

        An HA1 is made of user name, realm and password: who changes one of the first two gives the password again.
        """

        async def work(connection: AsyncConnection) -> None:
            found = await store.select_providers(connection, provider_id)
            if not found:
                raise _no_provider(provider_id)
            fields = _changed(found[0], changes)
            await store.update_provider(connection, provider_id, fields, datetime.now(UTC))

        await self._change(work)
        log.info("provider_updated", provider_id=str(provider_id), fields=sorted(changes))
        return await self.provider(provider_id)

    async def delete_provider(self, provider_id: UUID) -> Provider:
        """Delete a provider and return it as it was; ``FailedPrecondition`` while routes lead to it."""
        now = datetime.now(UTC)

        async def work(connection: AsyncConnection) -> Provider:
            if used := await store.select_routes(connection, provider_id=provider_id):
                raise FailedPrecondition(
                    f"{len(used)} route(s) lead to this provider; delete or change them first",
                    reason="PROVIDER_IN_USE",
                    details=[{"route_id": str(route.id)} for route in used[:20]],
                )
            found = await store.select_providers(connection, provider_id)
            if not found:
                raise _no_provider(provider_id)
            await store.delete_provider(connection, provider_id, now)
            return replace(found[0], tm_update=now, tm_delete=now)

        provider = await self._change(work)
        log.info("provider_deleted", provider_id=str(provider_id))
        return provider

    async def provider(self, provider_id: UUID) -> Provider:
        """One provider; ``NotFound``."""
        async with self._database.connect() as connection:
            found = await store.select_providers(connection, provider_id)
        if not found:
            raise _no_provider(provider_id)
        return found[0]

    async def providers(self) -> list[Provider]:
        """All providers, in order of creation."""
        async with self._database.connect() as connection:
            return await store.select_providers(connection)

    async def create_route(self, fields: RouteFields, seed: UUID | None = None) -> Route:
        """Add a route; ``NotFound`` when its provider does not exist."""
        route_id = uuid4() if seed is None else uuid5(seed, "route")

        async def work(connection: AsyncConnection) -> None:
            await _require_provider(connection, fields.provider_id)
            if await store.select_route(connection, route_id) is None:
                await store.insert_route(connection, route_id, fields, datetime.now(UTC))

        await self._change(work)
        log.info(
            "route_created", route_id=str(route_id), target=fields.target, customer_id=str(fields.customer_id)
        )
        return await self.route(route_id)

    async def update_route(self, route_id: UUID, fields: RouteFields) -> Route:
        """Replace a route's fields, except its customer; ``NotFound`` for the route and for its provider."""

        async def work(connection: AsyncConnection) -> None:
            await _require_provider(connection, fields.provider_id)
            if not await store.update_route(connection, route_id, fields, datetime.now(UTC)):
                raise _no_route(route_id)

        await self._change(work)
        log.info("route_updated", route_id=str(route_id), target=fields.target)
        return await self.route(route_id)

    async def change_route(self, route_id: UUID, changes: Mapping[str, Any]) -> Route:
        """Change some of a route's fields (names of ``RouteFields``), except its customer."""

        async def work(connection: AsyncConnection) -> None:
            route = await store.select_route(connection, route_id)
            if route is None:
                raise _no_route(route_id)
            values = {item.name: getattr(route, item.name) for item in fields_of(RouteFields)}
            fields = RouteFields(**{**values, **changes})
            await _require_provider(connection, fields.provider_id)
            await store.update_route(connection, route_id, fields, datetime.now(UTC))

        await self._change(work)
        log.info("route_updated", route_id=str(route_id), fields=sorted(changes))
        return await self.route(route_id)

    async def delete_route(self, route_id: UUID) -> Route:
        """Delete a route and return it as it was; ``NotFound``."""
        now = datetime.now(UTC)

        async def work(connection: AsyncConnection) -> Route:
            route = await store.select_route(connection, route_id)
            if route is None:
                raise _no_route(route_id)
            await store.delete_route(connection, route_id, now)
            return replace(route, tm_update=now, tm_delete=now)

        route = await self._change(work)
        log.info("route_deleted", route_id=str(route_id))
        return route

    async def route(self, route_id: UUID) -> Route:
        """One route; ``NotFound``."""
        async with self._database.connect() as connection:
            route = await store.select_route(connection, route_id)
        if route is None:
            raise _no_route(route_id)
        return route

    async def routes(self) -> list[Route]:
        """All routes, in the order in which they are tried."""
        async with self._database.connect() as connection:
            return await store.select_routes(connection)

    async def provider_page(self, query: PageQuery) -> list[Row[Any]]:
        """A page of providers, newest first, as rows for ``store.provider_of``."""
        statement = page_statement(store.providers_statement(), store.providers, query)
        async with self._database.connect() as connection:
            return list((await connection.execute(statement)).all())

    async def route_page(
        self, query: PageQuery, *, customer_id: UUID | None = None, provider_id: UUID | None = None
    ) -> list[Row[Any]]:
        """A page of routes, newest first, as rows for ``store.route_of``; of one customer or provider if named."""
        statement = store.routes_statement()
        if customer_id is not None:
            statement = statement.where(store.routes.c.customer_id == customer_id)
        if provider_id is not None:
            statement = statement.where(store.routes.c.provider_id == provider_id)
        async with self._database.connect() as connection:
            return list((await connection.execute(page_statement(statement, store.routes, query))).all())

    async def tell(self) -> None:
        """Have Kamailio read everything again, and return when it is in force. Raises ``Unavailable``."""
        self.stale = True
        await self._kamailio.reload_routes()
        async with self._database.connect() as connection:
            wanted = await store.select_registrations(connection)
        await self._registrations.follow(wanted)
        self.stale = False

    async def _change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with self._database.begin() as connection:
                result = await work(connection)
        except IntegrityError as error:
            if "provider_addresses" in str(error.orig):
                raise AlreadyExists("addresses: another provider already sends from one of these") from error
            if "registration_contact" in str(error.orig):
                raise AlreadyExists(
                    "registration_contact: another provider is registered with it already"
                ) from error
            raise
        try:
            await self.tell()
        except Unavailable as error:
            raise Unavailable(
                f"The change is stored and comes into force when Kamailio is back. {error}"
            ) from error
        return result


async def _require_provider(connection: AsyncConnection, provider_id: UUID) -> None:
    if not await store.select_providers(connection, provider_id):
        raise _no_provider(provider_id)


def _changed(provider: Provider, changes: Mapping[str, Any]) -> ProviderFields:
    values = {item.name: getattr(provider, item.name) for item in fields_of(ProviderFields)} | dict(changes)
    if changes.get("username") == "":
        values |= {"password": "", "ha1": "", "realm": changes.get("realm", "")}
    elif changes.get("password"):
        values["ha1"] = ""
    elif provider.ha1 and (values["username"], values["realm"]) != (provider.username, provider.realm):
        raise InvalidArgument("password: username and realm are parts of the secret; give the password again")
    return ProviderFields(**values).sealed()


def _no_provider(provider_id: UUID) -> NotFound:
    return ProviderNotFound(f"there is no provider {provider_id}")


def _no_route(route_id: UUID) -> NotFound:
    return RouteNotFound(f"there is no route {route_id}")
