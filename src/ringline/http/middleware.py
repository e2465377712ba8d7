"""What happens around every request: its id, its errors, its log line, its metrics, its headers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import Counter, Histogram

from ringline.errors import InvalidArgument, NotFound, RinglineError
from ringline.http import answers, problems
from ringline.http.endpoint import ALLOWANCE, PRINCIPAL, REQUEST_ID, ROUTE
from ringline.metrics import registry

log = structlog.get_logger("ringline.http.access")

requests_total = Counter(
    "ringline_http_requests_total", "Answered requests.", ("method", "route", "status"), registry=registry
)
request_seconds = Histogram(
    "ringline_http_request_seconds",
    "Time from the end of a request's headers to its answer.",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Asked every few seconds by machines; their successes are not worth a line.
_SWITCHED: Final = 101
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class _RouteNotFound(NotFound):
    default_reason = "ROUTE_NOT_FOUND"


class _MethodNotAllowed(RinglineError):
    http_status = 405
    status = "INVALID_ARGUMENT"
    default_reason = "METHOD_NOT_ALLOWED"


@web.middleware
async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The one middleware. Nothing that is raised below leaves it, save cancellation."""
    start = time.perf_counter()
    request_id = answers.new_request_id()
    request[REQUEST_ID] = request_id
    route = _template(request)
    try:
        response = await handler(request)
    except RinglineError as error:
        response = _failure(error, request, request_id)
    except web.HTTPException as raised:
        response = _from_aiohttp(raised, request, request_id)
    except Exception:
        log.exception("request_failed", request_id=request_id, method=request.method, route=route)
        response = _failure(problems.unexpected(request_id), request, request_id)
    if not response.prepared:
        for name, value in answers.HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["X-Request-Id"] = request_id
        if (allowance := request.get(ALLOWANCE)) is not None:
            response.headers.extend(allowance.headers())
    _account(request, response.status, route, request_id, time.perf_counter() - start)
    return response


def _template(request: web.Request) -> str:
    """The route's path as it was declared: a label of few values, whatever is asked for."""
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical


def _failure(
    error: RinglineError, request: web.Request, request_id: str, *, status: int | None = None
) -> web.Response:
    route = request.get(ROUTE)
    domain = "api" if route is None else route.domain
    return answers.failure(error, request_id, domain=domain, status=status)


def _from_aiohttp(raised: web.HTTPException, request: web.Request, request_id: str) -> web.Response:
    """What aiohttp raises by itself, in our envelope."""
    where = request.path[:200]
    if isinstance(raised, web.HTTPNotFound):
        return _failure(
            _RouteNotFound(f"There is no {where} here; /docs lists what there is."), request, request_id
        )
    if isinstance(raised, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(raised.allowed_methods))
        error = _MethodNotAllowed(f"{where} does not know {request.method[:20]}; it knows {allowed}.")
        response = _failure(error, request, request_id)
        response.headers["Allow"] = allowed
        return response
    refused = InvalidArgument(raised.reason or "The request cannot be served.")
    return _failure(refused, request, request_id, status=raised.status)


# Looking a label set up costs more than counting; there are few of them.
@lru_cache(maxsize=1024)
def _counter(method: str, route: str, status: int) -> Counter:
    return requests_total.labels(method, route, status)


@lru_cache(maxsize=1024)
def _histogram(method: str, route: str) -> Histogram:
    return request_seconds.labels(method, route)


def _account(request: web.Request, status: int, route: str, request_id: str, seconds: float) -> None:
    method = request.method if request.method in _METHODS else "other"
    _counter(method, route, status).inc()
    if status != _SWITCHED:
        # how long a WebSocket lasted says nothing of requests
        _histogram(method, route).observe(seconds)
    if route in _QUIET and status < 400:
        return
    principal = request.get(PRINCIPAL)
    # The query string is left out as a whole: it is where credentials travel.
    log.info(
        "request",
        request_id=request_id,
        method=method,
        path=request.path[:200],
        route=route,
        status=status,
        milliseconds=round(seconds * 1000, 2),
        remote=request.remote,
        customer_id=None if principal is None else str(principal.customer_id),
    )
