"""The document that describes the API is generated from what serves it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.http.conftest import Serve

from ringline.customers.http import accesskey_routes, customer_routes, login_routes
from ringline.http import (
    Page,
    PageQuery,
    Request,
    RequestModel,
    ResponseModel,
    Route,
    Timestamp,
)
from ringline.http.openapi import openapi_document


class Inner(RequestModel):
    text: str


class Thing(RequestModel):
    """A thing to make."""

    inner: Inner
    size: int = 3


class Shown(ResponseModel):
    """A thing."""

    name: str
    tm: Timestamp


async def _nothing(request: Request) -> Any:
    raise AssertionError


ROUTES = [
    Route(
        method="POST",
        path="/v1.0/things",
        aliases=("/v1.0/old-things",),
        handler=_nothing,
        summary="Make a thing",
        tags=("things",),
        body=Thing,
        response=list[Shown],
        idempotent=True,
        body_examples={"small": {"inner": {"text": "x"}}},
    ),
    Route(
        method="GET",
        path="/v1.0/things/{thing_id}",
        handler=_nothing,
        summary="Read",
        query=PageQuery,
        response=Page[Shown],
    ),
    Route(method="GET", path="/open", handler=_nothing, summary="Open", response=Shown, auth="none"),
]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    # Through JSON and back: what clients get.
    return json.loads(json.dumps(openapi_document(ROUTES)))  # type: ignore[no-any-return]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert {"title", "version"} <= document["info"].keys()


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(_references(document))
    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_bodies_answers_and_parameters(document: dict[str, Any]) -> None:
    make = document["paths"]["/v1.0/things"]["post"]
    assert make["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Thing"
    }
    assert make["requestBody"]["content"]["application/json"]["examples"]["small"]["value"]
    assert make["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array"
    assert document["components"]["schemas"]["Thing"]["additionalProperties"] is False
    assert [parameter["name"] for parameter in make["parameters"]] == ["Idempotency-Key"]
    read = document["paths"]["/v1.0/things/{thing_id}"]["get"]
    assert [(p["name"], p["in"]) for p in read["parameters"]] == [
        ("thing_id", "path"),
        ("page_size", "query"),
        ("page_token", "query"),
    ]
    assert read["parameters"][1]["schema"]["maximum"] == 1000


def test_errors_and_credentials(document: dict[str, Any]) -> None:
    make = document["paths"]["/v1.0/things"]["post"]
    assert {"400", "401", "403", "413", "500", "503"} <= make["responses"].keys()
    assert {name for entry in make["security"] for name in entry} == set(
        document["components"]["securitySchemes"]
    )
    is_open = document["paths"]["/open"]["get"]
    assert is_open["security"] == []
    assert "401" not in is_open["responses"]


def test_operation_ids_are_unique_and_old_paths_deprecated(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids)) == 4
    assert document["paths"]["/v1.0/old-things"]["post"]["deprecated"] is True


def test_every_field_and_route_of_the_product_s_own_rooms_is_there() -> None:
    nobody: Any = None
    routes = [*login_routes(nobody, nobody), *customer_routes(nobody), *accesskey_routes(nobody)]
    document = openapi_document(routes)
    assert set(document["paths"]) == {route.path for route in routes}
    assert (
        "default_outgoing_source_number_id"
        in document["components"]["schemas"]["CustomerChange"]["properties"]
    )


async def test_the_page_needs_nothing_from_elsewhere(serve: Serve) -> None:
    client = await serve()
    for path, kind in (
        ("/docs", "text/html"),
        ("/docs/docs.js", "text/javascript"),
        ("/docs/docs.css", "text/css"),
    ):
        async with client.session.get(client.url + path) as response:
            text = await response.text()
            assert (response.status, response.content_type) == (200, kind)
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert "http://" not in text
            assert "https://" not in text
        etag = response.headers["ETag"]
        async with client.session.get(client.url + path, headers={"If-None-Match": etag}) as response:
            assert response.status == 304
    async with client.session.get(client.url + "/", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/docs")
    status, document = await client.ask("GET", "/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
