"""Fixed paths stand beside those with parameters, and keep their own methods."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ringline.http.templates import apart

PATHS = [
    ("GET", "/numbers"),
    ("POST", "/numbers/renew"),
    ("GET", "/numbers/{number_id}"),
    ("PUT", "/numbers/{number_id}/flow_ids"),
    ("GET", "/calls/{call_id}/sip"),
    ("GET", "/calls/{id}/{name}"),
]


async def _resolve(method: str, path: str) -> tuple[int, str, set[str]]:
    template = apart(path for _, path in PATHS)
    app = web.Application()

    async def nothing(request: web.Request) -> web.Response:
        return web.Response()

    for known, given in PATHS:
        app.router.add_route(known, template(given), nothing)
    found = await app.router.resolve(make_mocked_request(method, path))
    if isinstance(found.http_exception, web.HTTPMethodNotAllowed):
        return 405, "", set(found.http_exception.allowed_methods)
    if found.http_exception is not None:
        return found.http_exception.status, "", set()
    assert found.route.resource is not None
    return 200, found.route.resource.canonical, set()


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/numbers/renew", (200, "/numbers/renew", set())),
        ("GET", "/numbers/renew", (405, "", {"POST"})),
        ("GET", "/numbers/renewal", (200, "/numbers/{number_id}", set())),
        ("GET", "/numbers/re.new", (200, "/numbers/{number_id}", set())),
        ("PUT", "/numbers/4/flow_ids", (200, "/numbers/{number_id}/flow_ids", set())),
        ("PUT", "/numbers/renew/flow_ids", (404, "", set())),
        ("GET", "/calls/4/sip", (200, "/calls/{call_id}/sip", set())),
        ("GET", "/calls/4/pcap", (200, "/calls/{id}/{name}", set())),
        ("DELETE", "/numbers", (405, "", {"GET", "HEAD"})),
    ],
)
async def test_a_parameter_is_no_fixed_path(
    method: str, path: str, expected: tuple[int, str, set[str]]
) -> None:
    status, template, allowed = await _resolve(method, path)
    assert (status, template) == expected[:2]
    assert allowed - {"HEAD"} == expected[2] - {"HEAD"}
