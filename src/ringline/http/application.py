"""The application: every room's routes, and what stands beside them."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from ringline.http.credentials import Authenticator
from ringline.http.documentation import documentation_routes
from ringline.http.endpoint import Endpoint
from ringline.http.idempotency import IdempotencyStore
from ringline.http.middleware import around
from ringline.http.openapi import openapi_document
from ringline.http.operations import operation_routes
from ringline.http.readiness import Readiness
from ringline.http.route import Route
from ringline.settings import Settings


def create_app(
    routes: Iterable[Route],
    *,
    settings: Settings,
    authenticator: Authenticator,
    readiness: Readiness,
    idempotency: IdempotencyStore | None = None,
) -> web.Application:
    """An application that serves ``routes``, their documentation and the operator's pages.

    Raises ``ValueError`` when a route is declared wrongly.
    """
    declared = list(routes)
    app = web.Application(middlewares=[around], client_max_size=settings.max_body_bytes)
    for route in declared:
        endpoint = Endpoint(
            route,
            authenticator=authenticator,
            idempotency=idempotency,
            max_body_bytes=settings.max_body_bytes,
            behind_tls=settings.api_url.startswith("https://"),
        )
        for path in (route.path, *route.aliases):
            app.router.add_route(route.method, path, endpoint.serve)
    app.add_routes(operation_routes(readiness))
    app.add_routes(documentation_routes(openapi_document(declared)))
    return app
