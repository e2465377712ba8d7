"""OpenAPI 3.1 from the routes and the very models that validate and serialise.

Pydantic emits JSON Schema 2020-12, which OpenAPI 3.1 takes as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from ringline import __version__
from ringline.errors import (
    InvalidArgument,
    PayloadTooLarge,
    PermissionDenied,
    ResourceExhausted,
    RinglineError,
    Unauthenticated,
    Unavailable,
)
from ringline.http import idempotency
from ringline.http.route import Route

_REF = "#/components/schemas/{model}"
_JSON = "application/json"

_INTRODUCTION = """\
Calls, flows and numbers of one Ringline. Names and values follow VoIPBIN's API; where its documents leave a
choice, this is what Ringline does:

- Success is 200 with the resource as body, also for POST and DELETE. `POST /v1.0/calls` answers an array.
- Every error has the body of `ErrorAnswer`. `reason` is for programs, `message` for people, and `request_id`
  is in our log. What does not exist, was deleted, or belongs to another customer is 404 alike.
- Unknown fields in a body are refused with 400; unknown query parameters are ignored. Values are not
  converted: `"5"` is not a number.
- Lists are newest first. `next_page_token` of a page goes into `page_token` of the next request; it is `""`
  on the last page.
- Times are UTC. Numbers show `YYYY-MM-DD HH:MM:SS.ffffff`, and `9999-01-01 00:00:00.000000` for what has not
  happened; everything else shows ISO 8601 with `Z`, and `null`.
- The zero UUID means none.
- Requests are limited, each customer's together and each credential's. Every answer says what is left
  (`X-RateLimit-Limit`, `-Remaining`, and `-Reset`, seconds since 1970); beyond it is 429 `RATE_LIMIT_EXCEEDED`
  with `Retry-After`. `GET /v1.0/limits` shows all limits.
- Credentials, the first that is there decides: `?token=` (from `POST /auth/login`), `?accesskey=`,
  `Authorization: Bearer` (either), cookie `token`.
"""


class ErrorDetail(BaseModel):
    """One fault of a request."""

    field: str = Field(description="Where it is, such as `destinations[0].target`.")
    message: str = Field(description="What would be right.")


class ErrorBody(BaseModel):
    """What went wrong."""

    status: str = Field(description="The class of the error, one for each HTTP status.")
    reason: str = Field(description="The precise reason, stable, for programs.")
    domain: str = Field(description="The part of the API that answered.")
    message: str = Field(description="What was wrong and what would be right, for people.")
    request_id: str = Field(description="Under this id the request is in our log.")
    details: list[ErrorDetail | dict[str, Any]] = Field(description="Machine-readable facts; may be empty.")


class ErrorAnswer(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorBody


_SECURITY_SCHEMES: dict[str, Any] = {
    "token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "The token of `POST /auth/login`; it lasts 7 days.",
    },
    "accesskey": {"type": "apiKey", "in": "query", "name": "accesskey", "description": "An access key."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token or an access key."},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "token",
        "description": "Set by `POST /auth/login`.",
    },
}

_SWITCHED: dict[str, Any] = {"101": {"description": "The connection is a WebSocket from now on."}}
_IDEMPOTENCY_PARAMETER: dict[str, Any] = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Any text of your choice. Within 24 hours the same key with the same body gets the first "
    "answer again (with the header `Idempotent-Replayed: true`) and nothing is done twice; with another body "
    "it is a 409. Only successes are kept: after an error the same key may try again.",
}


def openapi_document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document for ``routes``, as JSON-able data."""
    declared = list(routes)
    schemas, components = _schemas(declared)
    paths: dict[str, Any] = {}
    for route in declared:
        operation = _operation(route, schemas, components)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
        for alias in route.aliases:
            # two spellings of one path would have the same id
            old_id = f"{_operation_id(route.method, alias)}_deprecated"
            old = {**operation, "deprecated": True, "operationId": old_id}
            old["description"] = f"An older name of `{route.path}`."
            paths.setdefault(alias, {})[route.method.lower()] = old
    tags = sorted({tag for route in declared for tag in route.tags})
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": "Ringline", "version": __version__, "description": _INTRODUCTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {"schemas": dict(sorted(components.items())), "securitySchemes": _SECURITY_SCHEMES},
    }


Schemas = dict[tuple[int, JsonSchemaMode], Any]


def _schemas(routes: Sequence[Route]) -> tuple[Schemas, dict[str, Any]]:
    """The schema of each body and answer, and the models they refer to."""
    wanted: dict[tuple[int, JsonSchemaMode], tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = {}
    for number, route in enumerate([*routes]):
        wanted[number, "serialization"] = (number, "serialization", TypeAdapter(route.response))
        if route.body is not None:
            wanted[number, "validation"] = (number, "validation", TypeAdapter(route.body))
    error = len(routes)
    wanted[error, "serialization"] = (error, "serialization", TypeAdapter(ErrorAnswer))
    found, shared = TypeAdapter.json_schemas(wanted.values(), ref_template=_REF)
    keyed: Schemas = {}
    for (number, mode), schema in found.items():
        key = id(routes[number]) if number < error else 0
        keyed[key, mode] = schema
    return keyed, dict(shared.get("$defs", {}))


def _operation(route: Route, schemas: Schemas, components: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"schema": schemas[id(route), "serialization"]}
    if route.response_example is not None:
        answer["example"] = route.response_example
    # a file is described by its type alone (OpenAPI 3.1)
    content: dict[str, Any] = {kind: {} for kind in route.produces}
    if route.response is not bytes:
        content = {_JSON: answer, **content}
    operation: dict[str, Any] = {
        "operationId": _operation_id(route.method, route.path),
        "summary": route.summary,
        "description": route.description,
        "tags": list(route.tags),
        "parameters": _parameters(route, components),
        "responses": {
            **(_SWITCHED if route.socket else {"200": {"description": "Done.", "content": content}}),
            **_errors(route),
        },
        "security": [] if route.auth == "none" else [{name: []} for name in _SECURITY_SCHEMES],
        # customer: everybody of a customer; admin: its administrators and access keys; project: the installation's
        "x-permission": route.auth,
    }
    if route.body is not None:
        body: dict[str, Any] = {"schema": schemas[id(route), "validation"]}
        if route.body_examples:
            body["examples"] = {name: {"value": value} for name, value in route.body_examples.items()}
        operation["requestBody"] = {"required": not route.body_optional, "content": {_JSON: body}}
    elif route.accepts:
        operation["requestBody"] = {"required": True, "content": {kind: {} for kind in route.accepts}}
    return operation


def _operation_id(method: str, path: str) -> str:
    words = [word for word in re.split(r"[^a-zA-Z0-9_]+", path.removeprefix("/v1.0")) if word]
    return "_".join([method.lower(), *words])


def _parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"} if name in route.words else {"type": "string", "format": "uuid"},
        }
        for name in route.parameters
    ]
    if route.query is not None:
        schema = route.query.model_json_schema(ref_template=_REF)
        components.update(schema.get("$defs", {}))
        required = schema.get("required", [])
        for name, described in schema.get("properties", {}).items():
            parameter = {"name": name, "in": "query", "required": name in required, "schema": described}
            if text := described.get("description"):
                parameter["description"] = text
            found.append(parameter)
    if route.idempotent:
        found.append(_IDEMPOTENCY_PARAMETER)
    return found


def _errors(route: Route) -> dict[str, Any]:
    kinds: list[type[RinglineError]] = [InvalidArgument, *route.errors, RinglineError, Unavailable]
    if route.auth != "none":
        kinds += [Unauthenticated, PermissionDenied]
    if route.auth != "none" or route.path.startswith("/auth/"):
        kinds.append(ResourceExhausted)
    if route.body is not None or route.accepts:
        kinds.append(PayloadTooLarge)
    if route.idempotent:
        kinds += [idempotency.KeyReused, idempotency.KeyInUse]
    by_status: dict[int, list[type[RinglineError]]] = {}
    for kind in kinds:
        known = by_status.setdefault(kind.http_status, [])
        if kind not in known:
            known.append(kind)
    return {
        str(status): {
            "description": " ".join(f"`{kind.default_reason}`: {_first_line(kind)}" for kind in found),
            "content": {_JSON: {"schema": {"$ref": _REF.format(model="ErrorAnswer")}}},
        }
        for status, found in sorted(by_status.items())
    }


def _first_line(kind: type[RinglineError]) -> str:
    if kind is RinglineError:
        return "a fault of ours; tell us the `request_id`."
    text = (kind.__doc__ or "").strip().splitlines()[0] if kind.__doc__ else ""
    return re.sub(r"^\d{3}: ", "", text)
