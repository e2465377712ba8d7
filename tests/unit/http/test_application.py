"""Requests and answers over a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs
from tests.unit.http.conftest import Client, Serve

from ringline.errors import AlreadyExists, NotFound, ResourceExhausted, Unavailable
from ringline.http import ZERO_UUID, Page, PageQuery, Readiness, Request, RequestModel, ResponseModel, Route
from ringline.metrics import registry

ENVELOPE = {"status", "reason", "domain", "message", "request_id", "details"}


class Thing(RequestModel):
    name: str


class Shown(ResponseModel):
    id: UUID
    name: str


async def _create(request: Request[Thing]) -> Shown:
    return Shown(id=ZERO_UUID, name=request.body.name)


async def _get(request: Request) -> Shown:
    return Shown(id=request.path["thing_id"], name=request.principal.username)


async def _list(request: Request[None, PageQuery]) -> Page[Shown]:
    return Page[Shown](result=[], next_page_token=str(request.query.page_size))


_raises: list[Exception] = []


@asynccontextmanager
async def _raw(client: Client) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which a test says what it likes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(client.url.rsplit(":", 1)[1]))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _fail(request: Request) -> Shown:
    raise _raises.pop()


async def _sleep(request: Request) -> Shown:
    await asyncio.sleep(5)
    raise AssertionError("unreachable")


def _route(method: str, path: str, handler: object, **more: object) -> Route:
    return Route(
        method=method,
        path=path,
        handler=handler,
        summary="x",
        response=Shown,
        tags=("things",),
        **more,  # type: ignore[arg-type]
    )


ROUTES = (
    _route("POST", "/v1.0/things", _create, body=Thing, aliases=("/v1.0/old-things",)),
    Route(
        method="GET",
        path="/v1.0/things",
        handler=_list,
        summary="x",
        response=Page[Shown],
        query=PageQuery,
        tags=("things",),
    ),
    _route("GET", "/v1.0/things/{thing_id}", _get),
    _route("GET", "/v1.0/fail", _fail),
    _route("GET", "/v1.0/slow", _sleep, timeout=0.1),
    _route("DELETE", "/v1.0/things/{thing_id}", _get, auth="admin"),
    _route("GET", "/open/{thing_id}", _get, auth="none"),
)
KEY = {"accesskey": "admin"}


@pytest.fixture
async def client(serve: Serve) -> Client:
    return await serve(*ROUTES)


async def test_an_answer(client: Client) -> None:
    status, body = await client.ask("POST", "/v1.0/things", params=KEY, json={"name": "é"})
    assert (status, body) == (200, {"id": str(ZERO_UUID), "name": "é"})


async def test_the_content_type_does_not_matter_when_the_body_is_json(client: Client) -> None:
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ):
        status, _ = await client.ask(
            "POST", "/v1.0/things", params=KEY, data=b'{"name":"x"}', headers={"Content-Type": content_type}
        )
        assert status == 200


async def test_headers_of_every_answer(client: Client) -> None:
    for path in ("/v1.0/things", "/nothing", "/healthz"):
        async with client.session.get(client.url + path, params=KEY) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Server"] == "ringline"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Request-Id"].startswith("req_")


async def test_old_paths_are_served(client: Client) -> None:
    assert (await client.ask("POST", "/v1.0/old-things", params=KEY, json={"name": "x"}))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/v1.0/nothing", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/v1.0/auth/login", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/v1.0/things/", 404, "ROUTE_NOT_FOUND"),
        ("PATCH", "/v1.0/things", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1.0/things/1", 400, "INVALID_ID"),
        ("GET", "/v1.0/things/" + "0" * 36, 400, "INVALID_ID"),
        ("GET", "/v1.0/things?page_size=0", 400, "INVALID_ARGUMENT"),
        ("POST", "/v1.0/things", 400, "INVALID_JSON_BODY"),
        ("GET", "/v1.0/slow", 503, "REQUEST_TIMEOUT"),
    ],
)
async def test_refusals(client: Client, method: str, path: str, status: int, reason: str) -> None:
    got, body = await client.ask(method, path, params=KEY)
    assert (got, body["error"]["reason"]) == (status, reason)
    assert set(body["error"]) == ENVELOPE


async def test_credentials_are_asked_for_first(client: Client) -> None:
    status, body = await client.ask("POST", "/v1.0/things", data=b"{")
    assert (status, body["error"]["reason"]) == (401, "AUTHENTICATION_REQUIRED")
    assert body["error"]["domain"] == "things"
    for where in (
        {"headers": {"Authorization": "Bearer nonsense"}},
        {"headers": {"Authorization": "Basic YTpi"}},
        {"headers": {"Authorization": "Bearer"}},
        {"params": {"token": "x" * 5000}},
        {"headers": {"Cookie": "token=nonsense"}},
    ):
        status, body = await client.ask("GET", "/v1.0/things", **where)
        assert (status, body["error"]["reason"]) == (401, "INVALID_CREDENTIALS"), where


async def test_the_first_credential_decides(client: Client) -> None:
    status, _ = await client.ask(
        "GET", "/v1.0/things", params={"token": "nonsense"}, headers={"Authorization": "Bearer admin"}
    )
    assert status == 401


async def test_admin_routes(client: Client) -> None:
    path = f"/v1.0/things/{uuid4()}"
    status, body = await client.ask("DELETE", path, params={"accesskey": "agent"})
    assert (status, body["error"]["reason"]) == (403, "PERMISSION_DENIED")
    assert (await client.ask("DELETE", path, params=KEY))[0] == 200


async def test_a_route_without_a_customer_has_none(client: Client) -> None:
    status, body = await client.ask("GET", f"/open/{uuid4()}")
    assert (status, body["error"]["reason"]) == (401, "AUTHENTICATION_REQUIRED")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (NotFound("none"), 404, None),
        (AlreadyExists("twice"), 409, None),
        (Unavailable("not now"), 503, "1"),
        (ResourceExhausted("slowly", details=[{"retry_after": 7}]), 429, "7"),
    ],
)
async def test_errors_of_handlers(
    client: Client, error: NotFound, status: int, retry_after: str | None
) -> None:
    _raises.append(error)
    async with client.session.get(client.url + "/v1.0/fail", params=KEY) as response:
        body = (await response.json())["error"]
        assert (response.status, response.headers.get("Retry-After")) == (status, retry_after)
    assert (body["status"], body["message"]) == (error.status, error.message)
    assert body["request_id"] == response.headers["X-Request-Id"]


async def test_what_nobody_expected_is_logged_and_not_shown(client: Client) -> None:
    _raises.append(ZeroDivisionError("the secret is xyzzy"))
    with capture_logs() as logs:
        status, body = await client.ask("GET", "/v1.0/fail", params=KEY)
    assert (status, body["error"]["reason"]) == (500, "INTERNAL")
    assert "xyzzy" not in str(body)
    (line,) = [line for line in logs if line["event"] == "request_failed"]
    assert line["request_id"] == body["error"]["request_id"]


async def test_the_access_log_tells_no_credential(client: Client) -> None:
    with capture_logs() as logs:
        await client.ask("GET", "/v1.0/things", params={"accesskey": "admin", "page_size": "3"})
        await client.ask("GET", "/v1.0/things", params={"token": "hunter2"})
    lines = [line for line in logs if line["event"] == "request"]
    assert [line["status"] for line in lines] == [200, 401]
    assert lines[0]["route"] == "/v1.0/things"
    assert "hunter2" not in str(logs)
    assert "admin" not in str(logs)


async def test_a_body_that_announces_too_much_is_not_read(serve: Serve) -> None:
    client = await serve(*ROUTES, max_body_bytes=1000)
    async with _raw(client) as (reader, writer), asyncio.timeout(30):
        writer.write(
            b"POST /v1.0/things?accesskey=admin HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n{"
        )
        assert b"413" in await reader.readline()


async def test_a_body_that_goes_on_is_cut_off(serve: Serve) -> None:
    client = await serve(*ROUTES, max_body_bytes=1000)

    async def endless():  # type: ignore[no-untyped-def]
        for _ in range(100):
            yield b" " * 100

    status, body = await client.ask("POST", "/v1.0/things", params=KEY, data=endless())
    assert (status, body["error"]["reason"]) == (413, "PAYLOAD_TOO_LARGE")
    assert "1000 bytes" in body["error"]["message"]


async def test_a_body_that_does_not_come(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringline.http.body.READ_TIMEOUT", 0.2)
    monkeypatch.setattr("ringline.http.server._LINGER", 0.2)
    client = await serve(*ROUTES)
    async with _raw(client) as (reader, writer), asyncio.timeout(30):
        writer.write(b"POST /v1.0/things?accesskey=admin HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        assert b"400" in await reader.readline()
        assert b"REQUEST_TIMEOUT" in await reader.read()


async def test_headers_that_trickle_in(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringline.http.server._IDLE", 0.5)
    client = await serve(*ROUTES)
    start = time.monotonic()
    async with _raw(client) as (reader, writer), asyncio.timeout(30):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        with suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"X-Header: x\r\n")
                await writer.drain()
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.1)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("sent", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n"])
async def test_what_is_no_http_is_not_logged(
    client: Client, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    name = "ringline_http_unreadable_requests_total"
    before = registry.get_sample_value(name) or 0
    async with _raw(client) as (reader, writer), asyncio.timeout(30):
        writer.write(sent)
        assert b"400" in await reader.readline()
    assert caplog.records == []
    if sent.startswith(b"GET"):
        assert registry.get_sample_value(name) == before + 1


async def test_readiness_tells_the_state_of_each_part(serve: Serve) -> None:
    well = {"good": True}

    async def good() -> str | None:
        if not well["good"]:
            raise OSError("cable cut")
        return "version 1"

    async def hangs() -> str | None:
        await asyncio.sleep(5)
        return None

    readiness = Readiness()
    readiness.add("good", good)
    client = await serve(readiness=readiness)
    status, body = await client.ask("GET", "/readyz")
    assert (status, body["status"]) == (200, "ready")
    assert body["parts"]["good"]["detail"] == "version 1"
    readiness.add("slow", hangs, timeout=0.1)
    well["good"] = False
    await asyncio.sleep(0.6)  # answers are shared for half a second
    status, body = await client.ask("GET", "/readyz")
    assert (status, body["status"]) == (503, "not_ready")
    assert body["parts"]["good"] == {**body["parts"]["good"], "ok": False, "detail": "cable cut"}
    assert "0.1 s" in body["parts"]["slow"]["detail"]
    assert (await client.ask("GET", "/healthz"))[0] == 200


async def test_metrics_name_routes_not_paths(client: Client) -> None:
    thing = uuid4()
    await client.ask("GET", f"/v1.0/things/{thing}", params=KEY)
    await client.ask("GET", f"/{thing}")
    async with client.session.get(client.url + "/metrics") as response:
        text = await response.text()
    assert 'route="/v1.0/things/{thing_id}",status="200"' in text
    assert 'route="unmatched",status="404"' in text
    assert str(thing) not in text
    assert "process_cpu_seconds_total" in text


async def test_an_idempotent_route_needs_a_store(serve: Serve) -> None:
    with pytest.raises(ValueError, match="idempotent"):
        await serve(_route("POST", "/v1.0/x", _get, idempotent=True))
