"""The API of providers and routes, for the installation's administrator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields as fields_of
from uuid import UUID

from ringline.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from ringline.http import Page, PageQuery, Request, Resource, Route, page_of
from ringline.routing import store
from ringline.routing.health import Health, ProviderHealth
from ringline.routing.models import DEFAULT_CUSTOMER_ID, Provider, ProviderFields, RouteFields
from ringline.routing.models import Route as StoredRoute
from ringline.routing.schemas import (
    ProviderAnswer,
    ProviderChange,
    ProviderCreate,
    RouteAnswer,
    RouteChange,
    RouteCreate,
    RouteQuery,
)
from ringline.routing.service import ProviderNotFound, RouteNotFound, RoutingService

_PROVIDERS = Resource(
    "/v1.0/providers",
    "provider_id",
    ProviderAnswer,
    ProviderNotFound,
    "providers",
    reading="project",
    writing="project",
)
_ROUTES = Resource(
    "/v1.0/routes", "route_id", RouteAnswer, RouteNotFound, "routes", reading="project", writing="project"
)

_IN_FORCE = "It is in force when the answer arrives."


def provider_routes(service: RoutingService, health: ProviderHealth) -> list[Route]:
    """SIP providers."""

    def view(provider: Provider, how: Health) -> ProviderAnswer:
        values = {item.name: getattr(provider, item.name) for item in fields_of(provider)}
        return ProviderAnswer.model_validate(
            {
                **values,
                "type": "sip",
                "addresses": [str(source) for source in provider.sources],
                "password_set": bool(provider.password or provider.ha1),
                "status": how.status,
                "tm_status": how.tm_status,
                "status_code": how.code,
                "latency": how.latency_ms,
                "failovers": how.failovers,
                "registration_status": how.registration.status,
                "registration_error": how.registration.error,
                "tm_registration_expire": how.registration.tm_expire,
            }
        )

    async def shown(provider: Provider) -> ProviderAnswer:
        return view(provider, *await health.of(provider))

    async def page(request: Request[None, PageQuery]) -> Page[ProviderAnswer]:
        rows = await service.provider_page(request.query)
        found = {row.id: store.provider_of(row) for row in rows}
        known = dict(zip(found, await health.of(*found.values()), strict=True))
        return page_of(rows, request.query, lambda row: view(found[row.id], known[row.id]))

    async def get(request: Request) -> ProviderAnswer:
        return await shown(await service.provider(request.path["provider_id"]))

    async def create(request: Request[ProviderCreate]) -> ProviderAnswer:
        fields = ProviderFields(**request.body.fields())
        return await shown(await service.create_provider(fields, request.idempotency_seed))

    async def update(request: Request[ProviderChange]) -> ProviderAnswer:
        return await shown(await service.change_provider(request.path["provider_id"], request.body.fields()))

    async def delete(request: Request) -> ProviderAnswer:
        return await shown(await service.delete_provider(request.path["provider_id"]))

    return [
        _PROVIDERS.list(page, "List providers"),
        _PROVIDERS.create(
            create,
            "Make a provider known",
            ProviderCreate,
            description=f"Calls go to it once a route leads there, and come from its `addresses`. {_IN_FORCE}",
            body_examples={
                "by address": {
                    "name": "carrier",
                    "hostname": "sip.carrier.example",
                    "addresses": ["203.0.113.0/24"],
                    "codecs": "PCMA,PCMU",
                },
                "by password": {
                    "name": "carrier",
                    "hostname": "sip.carrier.example",
                    "transport": "tls",
                    "username": "ringline",
                    "password": "secret",
                    "registration": True,
                },
            },
            errors=(AlreadyExists,),
        ),
        _PROVIDERS.get(
            get,
            "Read a provider",
            description="And how it is: whether it answers, and whether we are registered there.",
        ),
        _PROVIDERS.update(
            update,
            "Change a provider",
            ProviderChange,
            description=f"Fields that are left out stay as they are. {_IN_FORCE} Calls that last are not touched.",
            errors=(AlreadyExists,),
        ),
        _PROVIDERS.delete(
            delete,
            "Forget a provider",
            description="409 `PROVIDER_IN_USE` while routes lead to it. Its addresses are strangers at once.",
            errors=(FailedPrecondition,),
        ),
    ]


def route_routes(service: RoutingService, customer_exists: Callable[[UUID], bool]) -> list[Route]:
    """Routes: which provider takes calls to which numbers, for whom."""

    def view(route: StoredRoute) -> RouteAnswer:
        return RouteAnswer.model_validate(route)

    async def page(request: Request[None, RouteQuery]) -> Page[RouteAnswer]:
        query = request.query
        rows = await service.route_page(query, customer_id=query.customer_id, provider_id=query.provider_id)
        return page_of(rows, query, lambda row: view(store.route_of(row)))

    async def get(request: Request) -> RouteAnswer:
        return view(await service.route(request.path["route_id"]))

    async def create(request: Request[RouteCreate]) -> RouteAnswer:
        fields = RouteFields(**request.body.fields())
        if fields.customer_id != DEFAULT_CUSTOMER_ID and not customer_exists(fields.customer_id):
            raise InvalidArgument(
                f"customer_id: there is no customer {fields.customer_id};"
                f" {DEFAULT_CUSTOMER_ID} stands for everybody"
            )
        return view(await service.create_route(fields, request.idempotency_seed))

    async def update(request: Request[RouteChange]) -> RouteAnswer:
        return view(await service.change_route(request.path["route_id"], request.body.fields()))

    async def delete(request: Request) -> RouteAnswer:
        return view(await service.delete_route(request.path["route_id"]))

    return [
        _ROUTES.list(page, "List routes", RouteQuery),
        _ROUTES.create(
            create,
            "Make a route",
            RouteCreate,
            description="A call tries the customer's own routes, then those for everybody; among them the longest "
            f"target that fits first, then the lowest priority; no provider twice. {_IN_FORCE}",
            body_examples={
                "Germany, for everybody": {
                    "provider_id": "5a4db0c5-0000-4000-8000-000000000001",
                    "target": "+49",
                    "priority": 10,
                }
            },
            errors=(ProviderNotFound,),
        ),
        _ROUTES.get(get, "Read a route"),
        _ROUTES.update(
            update,
            "Change a route",
            RouteChange,
            description=f"Fields that are left out stay as they are; a route keeps its customer. {_IN_FORCE}",
            errors=(ProviderNotFound,),
        ),
        _ROUTES.delete(delete, "Delete a route"),
    ]
