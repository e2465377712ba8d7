"""The application: every room's routes, and what stands beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiohttp import web

from ringline.http.account_pages import account_page_routes
from ringline.http.auditing import Auditor
from ringline.http.carried import Carrier
from ringline.http.credentials import Authenticator
from ringline.http.documentation import Document, documentation_routes
from ringline.http.endpoint import Endpoint, Guards
from ringline.http.idempotency import IdempotencyStore
from ringline.http.middleware import around
from ringline.http.operations import operation_routes
from ringline.http.phone_page import phone_routes
from ringline.http.preparation import Preparation
from ringline.http.rates import Doors, Rates
from ringline.http.readiness import Readiness
from ringline.http.route import Route
from ringline.http.templates import apart
from ringline.settings import Settings


def create_app(
    routes: Iterable[Route],
    *,
    settings: Settings,
    authenticator: Authenticator,
    readiness: Readiness,
    idempotency: IdempotencyStore | None = None,
    auditor: Auditor | None = None,
    rates: Rates | None = None,
    doors: Doors | None = None,
    preparing: Iterable[Callable[[], object]] = (),
    aside: Iterable[Callable[[], object]] = (),
    carrier: Carrier | None = None,
) -> web.Application:
    """An application that serves ``routes``, their documentation and the operator's pages.

    Without ``rates`` and ``doors`` nobody is limited.

    ``preparing`` are called soon after the start, one by one, and ``aside`` in a thread: they make what the first
    request or call that needs it would have to wait for. ``carrier`` has routes that are not for this process carried
    out by another one.
    Raises ``ValueError`` when a route is declared wrongly.
    """
    declared = list(routes)
    app = web.Application(middlewares=[around], client_max_size=settings.max_body_bytes)
    guards = Guards(rates, doors, settings.trusted_proxies)
    template = apart(path for route in declared for path in (route.path, *route.aliases))
    makers: list[Callable[[], object]] = []
    for route in declared:
        endpoint = Endpoint(
            route,
            authenticator=authenticator,
            idempotency=idempotency,
            max_body_bytes=settings.max_body_bytes,
            behind_tls=settings.api_url.startswith("https://"),
            auditor=auditor,
            carrier=carrier,
            guards=guards,
        )
        for path in (route.path, *route.aliases):
            app.router.add_route(route.method, template(path), endpoint.serve)
        makers.append(endpoint.prepare)
    preparation = Preparation([*makers, *preparing], [*aside])
    app.cleanup_ctx.append(preparation.context)
    app.add_routes(operation_routes(readiness))
    app.add_routes(documentation_routes(Document(declared, preparation.done)))
    app.add_routes(phone_routes(settings))
    app.add_routes(account_page_routes())
    return app


def operations_app(readiness: Readiness) -> web.Application:
    """An application with the operator's pages only, for a process that serves no API."""
    app = web.Application(middlewares=[around])
    app.add_routes(operation_routes(readiness))
    return app
