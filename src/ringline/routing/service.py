"""What may happen to providers and routes: checked, stored, and in force at the edge when the call returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID, uuid4

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from ringline.routing import store
from ringline.routing.kamailio import KamailioRpc
from ringline.routing.models import Provider, ProviderFields, Route, RouteFields
from ringline.storage import Database

log = structlog.get_logger(__name__)

T = TypeVar("T")


class RoutingService:
    """Providers and routes of the platform, an administrator's business.

    Every change is committed before Kamailio is told. Where Kamailio cannot be reached the method raises
    ``Unavailable`` although the change is stored: Kamailio reads it at its next start or reload.
    """

    def __init__(self, database: Database, kamailio: KamailioRpc) -> None:
        self._database = database
        self._kamailio = kamailio

    async def create_provider(self, fields: ProviderFields) -> Provider:
        """Add a provider; ``AlreadyExists`` when another one has one of its addresses."""
        provider_id = uuid4()
        await self._change(
            lambda connection: store.insert_provider(connection, provider_id, fields, datetime.now(UTC))
        )
        log.info("provider_created", provider_id=str(provider_id), hostname=fields.hostname)
        return await self.provider(provider_id)

    async def update_provider(self, provider_id: UUID, fields: ProviderFields) -> Provider:
        """Replace a provider's fields; ``NotFound``, ``AlreadyExists`` as for ``create_provider``."""

        async def work(connection: AsyncConnection) -> None:
            if not await store.update_provider(connection, provider_id, fields, datetime.now(UTC)):
                raise _no_provider(provider_id)

        await self._change(work)
        log.info("provider_updated", provider_id=str(provider_id), hostname=fields.hostname)
        return await self.provider(provider_id)

    async def delete_provider(self, provider_id: UUID) -> None:
        """Delete a provider; ``FailedPrecondition`` while routes lead to it."""

        async def work(connection: AsyncConnection) -> None:
            if used := await store.select_routes(connection, provider_id=provider_id):
                raise FailedPrecondition(
                    f"{len(used)} route(s) lead to this provider; delete or change them first",
                    details=[{"route_id": str(route.id)} for route in used[:20]],
                )
            if not await store.delete_provider(connection, provider_id, datetime.now(UTC)):
                raise _no_provider(provider_id)

        await self._change(work)
        log.info("provider_deleted", provider_id=str(provider_id))

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

    async def create_route(self, fields: RouteFields) -> Route:
        """Add a route; ``NotFound`` when its provider does not exist."""
        route_id = uuid4()

        async def work(connection: AsyncConnection) -> None:
            await _require_provider(connection, fields.provider_id)
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

    async def delete_route(self, route_id: UUID) -> None:
        """Delete a route; ``NotFound``."""

        async def work(connection: AsyncConnection) -> None:
            if not await store.delete_route(connection, route_id, datetime.now(UTC)):
                raise _no_route(route_id)

        await self._change(work)
        log.info("route_deleted", route_id=str(route_id))

    async def route(self, route_id: UUID) -> Route:
        """One route; ``NotFound``."""
        for route in await self.routes():
            if route.id == route_id:
                return route
        raise _no_route(route_id)

    async def routes(self) -> list[Route]:
        """All routes, in the order in which they are tried."""
        async with self._database.connect() as connection:
            return await store.select_routes(connection)

    async def _change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with self._database.begin() as connection:
                result = await work(connection)
        except IntegrityError as error:
            if "provider_addresses" in str(error.orig):
                raise AlreadyExists("addresses: another provider already sends from one of these") from error
            raise
        try:
            await self._kamailio.reload_routes()
        except Unavailable as error:
            raise Unavailable(
                f"The change is stored and comes into force when Kamailio is back. {error}"
            ) from error
        return result


async def _require_provider(connection: AsyncConnection, provider_id: UUID) -> None:
    if not await store.select_providers(connection, provider_id):
        raise _no_provider(provider_id)


def _no_provider(provider_id: UUID) -> NotFound:
    return NotFound(f"there is no provider {provider_id}")


def _no_route(route_id: UUID) -> NotFound:
    return NotFound(f"there is no route {route_id}")
