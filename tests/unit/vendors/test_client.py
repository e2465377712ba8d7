"""The client of vendors' APIs against a server that does what servers should not."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from structlog.testing import capture_logs

from ringline.vendors import client as module
from ringline.vendors.client import Complaint, VendorClient
from ringline.vendors.errors import (
    VendorBusy,
    VendorError,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
    VendorUncertain,
    VendorUnknown,
)

SECRET = "KEY0123456789-very-secret"
URL = "https://api.vendor.example/v2/orders"


@dataclass
class Seen:
    """A request as the server read it."""

    head: str
    body: bytes
    connection: int

    @property
    def method(self) -> str:
        return self.head.split(" ", 1)[0]


Behave = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """Reads whole requests and behaves as scripted, one entry for each request; the last one stays."""

    script: list[Behave]
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while True:
                try:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                except (asyncio.IncompleteReadError, ConnectionResetError):
                    return
                lengths = [line for line in head.split("\r\n") if line.lower().startswith("content-length:")]
                body = await reader.readexactly(int(lengths[0].split(":")[1])) if lengths else b""
                seen = Seen(head, body, number)
                behave = self.script[min(len(self.seen), len(self.script) - 1)]
                self.seen.append(seen)
                await behave(seen, writer)
                if writer.is_closing():
                    return
        finally:
            writer.close()


@asynccontextmanager
async def serving(*script: Behave, **options: Any) -> AsyncIterator[tuple[Server, VendorClient]]:
    server = Server(list(script))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    client = make(f"http://127.0.0.1:{server.port}", **options)
    try:
        yield server, client
    finally:
        await client.close()
        listening.close()


def make(base: str, **options: Any) -> VendorClient:
    def complaint(body: Any) -> Complaint:
        body = body if isinstance(body, dict) else {}
        return Complaint(
            str(body.get("code", "")), str(body.get("said", "")), ours=body.get("code") == "broke"
        )

    options.setdefault("headers", {"Authorization": f"Bearer {SECRET}"})
    return VendorClient("acme", base_url=base, complaint=complaint, **options)


def answer(status: int, body: bytes = b"{}", *headers: str, close: bool = False) -> Behave:
    async def behave(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        if close:
            writer.close()

    return behave


def raw(data: bytes) -> Behave:
    async def behave(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return behave


async def reset(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    transport.abort()


async def silence(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(3):
            await writer.wait_closed()


OK = answer(200, b'{"data": {"id": "1"}}')


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.random, "uniform", lambda _low, _high: 0.01)


async def failing(call: Awaitable[object]) -> VendorError:
    with pytest.raises(VendorError) as caught:
        await call
    return caught.value


async def test_an_answer_is_read_whole() -> None:
    many = b'{"data": "' + b"x" * 3_000_000 + b'"}'

    async def in_pieces(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(many)}\r\n\r\n".encode())
        for start in range(0, len(many), 700_000):
            writer.write(many[start : start + 700_000])
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(in_pieces, answer(200, b""), answer(204, b"")) as (server, client):
        got = await client.request("GET", URL, query={"filter[number]": "+1555", "limit": 3})
        assert (got.status, len(got.body["data"])) == (200, 3_000_000)
        target = server.seen[0].head.split(" ")[1]
        assert parse_qsl(urlsplit(target).query) == [("filter[number]", "+1555"), ("limit", "3")]
        assert (await client.request("DELETE", URL)).body is None
        assert (await client.request("DELETE", URL)).body is None


async def test_what_is_sent() -> None:
    async with serving(OK, OK, OK) as (server, client):
        await client.request("POST", URL, json={"a": ["é", 1]})
        await client.request(
            "POST", URL, form=[("To", "+49"), ("A", "x y"), ("A", "2")], headers={"X-A": "b"}
        )
        form = aiohttp.FormData()
        form.add_field("file", b"%PDF", filename="a.pdf", content_type="application/pdf")
        await client.request("POST", URL, data=form)
    as_json, as_form, as_parts = server.seen
    assert as_json.body == '{"a":["é",1]}'.encode()
    assert "Content-Type: application/json\r\n" in as_json.head
    assert f"Authorization: Bearer {SECRET}\r\n" in as_json.head
    assert as_form.body == b"To=%2B49&A=x+y&A=2"
    assert "Content-Type: application/x-www-form-urlencoded\r\n" in as_form.head
    assert "X-A: b\r\n" in as_form.head
    assert "Content-Type: multipart/form-data; boundary=" in as_parts.head
    assert b'filename="a.pdf"' in as_parts.body


async def test_nobody_there_is_tried_again_and_nothing_was_done() -> None:
    async with serving(OK) as (server, _client):
        port = server.port
    client = make(f"http://127.0.0.1:{port}")
    with capture_logs() as logs:
        error = await failing(client.request("POST", URL, json={}))
    await client.close()
    assert isinstance(error, VendorUnavailable)
    assert not error.uncertain
    assert [entry["event"] for entry in logs] == ["vendor_asked_again"] * 2


async def test_no_name_no_route_no_url_no_tls_is_unavailable() -> None:
    async with serving(OK) as (server, _client):
        for base in (
            "http://no-such-host.invalid",
            f"https://127.0.0.1:{server.port}",
            "http://127.0.0.1:99999",
            "nonsense",
        ):
            client = make(base, total_seconds=1.0)
            error = await failing(client.request("POST", URL, json={}))
            assert isinstance(error, VendorUnavailable), base
            await client.close()
    assert server.seen == []


async def test_a_place_that_does_not_come_free_is_not_an_uncertain_request() -> None:
    async with serving(silence, total_seconds=0.4, connections=1) as (server, client):
        first = asyncio.create_task(failing(client.request("POST", URL, json={"n": 1})))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(failing(client.request("POST", URL, json={"n": 2})))
        third = asyncio.create_task(failing(client.request("POST", URL, json={"n": 3})))
        errors = [await first, await second, await third]
        bodies = [seen.body for seen in server.seen]
    assert isinstance(errors[0], VendorUncertain)
    for number, error in ((2, errors[1]), (3, errors[2])):
        # uncertain exactly if it went out
        assert error.uncertain == (b'{"n":%d}' % number in bodies)
    assert not errors[2].uncertain


@pytest.mark.parametrize(
    "behave",
    [
        reset,
        raw(b""),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a"'),
        raw(b"HTTP/1.1 20"),
        raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n{}"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nzzzz"),
        answer(200, b"<html>proxy</html>"),
        answer(201, b'{"data": {"id"'),
        answer(500, b'{"said": "charged"}'),
        answer(502, b"<html>"),
        answer(503),
        answer(504),
        answer(408),
        silence,
    ],
)
async def test_money_is_spent_once_when_an_answer_is_lost(behave: Behave) -> None:
    async with serving(behave, OK, total_seconds=1.0) as (server, client):
        error = await failing(client.request("POST", URL, json={"number": "+1"}))
        assert isinstance(error, VendorUncertain)
        assert error.uncertain
        assert len(server.seen) == 1
    # the same of a question does no harm
    async with serving(behave, OK, total_seconds=1.0) as (server, client):
        if behave is silence:
            assert isinstance(await failing(client.request("GET", URL)), VendorUnavailable)
        else:
            assert (await client.request("GET", URL)).body == {"data": {"id": "1"}}


async def test_a_question_that_fails_for_good_leaves_nothing_open() -> None:
    async with serving(answer(500)) as (server, client):
        error = await failing(client.request("GET", URL))
        assert isinstance(error, VendorUnavailable)
        assert (error.uncertain, error.status, len(server.seen)) == (False, 500, 3)


async def test_what_is_safe_is_asked_again_and_stays_open_if_that_fails() -> None:
    async with serving(answer(500), reset, OK) as (server, client):
        assert (await client.request("DELETE", URL, safe=True)).status == 200
        assert len(server.seen) == 3
    async with serving(answer(500)) as (server, client):
        assert (await failing(client.request("PATCH", URL, json={}, safe=True))).uncertain


async def test_a_key_lets_a_lost_answer_be_asked_for_again_but_not_a_failed_one() -> None:
    async with serving(reset, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), OK) as (server, client):
        await client.request("POST", URL, json={"b": 1, "a": [2]}, key="a-b:1")
        assert len(server.seen) == 3
        assert len({seen.body for seen in server.seen}) == 1
        assert all("Idempotency-Key: a-b:1\r\n" in seen.head for seen in server.seen)
    async with serving(answer(500), OK) as (server, client):
        assert (await failing(client.request("POST", URL, json={}, key="k"))).uncertain
        assert len(server.seen) == 1


@pytest.mark.parametrize("options", [{"key": "k"}, {"safe": True}])
async def test_what_an_earlier_try_left_open_stays_open(options: Any) -> None:
    async with serving(reset, answer(429, b"{}", "Retry-After: 60")) as (server, client):
        error = await failing(client.request("POST", URL, json={}, **options))
        assert isinstance(error, VendorUncertain)
        assert len(server.seen) == 2
    # and an answer at last is an answer
    async with serving(reset, answer(422, b'{"said": "no"}')) as (server, client):
        assert isinstance(await failing(client.request("POST", URL, json={}, **options)), VendorRefused)


async def test_what_spends_money_gets_a_connection_of_its_own() -> None:
    async def and_close_a_little_later(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await OK(seen, writer)
        await asyncio.sleep(0.05)
        writer.close()

    async with serving(and_close_a_little_later) as (server, client):
        for _ in range(4):
            await client.request("GET", URL)  # leaves an idle connection that the server closes
            await asyncio.sleep(0.05)
            await client.request("POST", URL, json={})
        posts = [seen for seen in server.seen if seen.method == "POST"]
        assert len({seen.connection for seen in posts}) == len(posts) == 4
        assert not {seen.connection for seen in posts} & {
            s.connection for s in server.seen if s.method == "GET"
        }


async def test_a_connection_that_died_idle_is_no_failure_of_a_question() -> None:
    async with serving(answer(200, b'{"a": 1}'), reset, answer(200, b'{"a": 2}')) as (_server, client):
        assert (await client.request("GET", URL)).body == {"a": 1}
        assert (await client.request("GET", URL)).body == {"a": 2}


async def test_asked_too_often() -> None:
    async with serving(answer(429, b"{}", "Retry-After: 0.3"), OK) as (server, client):
        loop = asyncio.get_running_loop()
        began = loop.time()
        # it was not done, so even a purchase may be sent again
        assert (await client.request("POST", URL, json={})).status == 200
        assert loop.time() - began >= 0.3
        assert len(server.seen) == 2
    async with serving(answer(429, b'{"code": "63038"}', "Retry-After: 60"), OK) as (server, client):
        error = await failing(client.request("GET", URL))
        assert isinstance(error, VendorBusy)
        assert (error.retry_after, error.code) == (60.0, "63038")
        # others do not ask either until then
        again = await failing(client.request("GET", URL))
        assert isinstance(again, VendorBusy)
        assert 59 < again.retry_after <= 60
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        ("0", 0.1),
        ("-5", 0.1),
        ("1e9", 3600.0),
        ("nan", 1.0),
        ("inf", 3600.0),
        ("", 1.0),
        ("Wed, 21", 1.0),
    ],
)
def test_pauses_asked_for(text: str, seconds: float) -> None:
    assert module._retry_after(text) == seconds


async def test_too_much() -> None:
    async def endless(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            for _ in range(500):
                writer.write(b" " * 65_536)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    packed = gzip.compress(b" " * 40_000_000)
    bomb = answer(200, packed, "Content-Encoding: gzip")
    for behave in (endless, bomb):
        async with serving(behave) as (server, client):
            assert isinstance(await failing(client.request("POST", URL, json={})), VendorUncertain)
            assert len(server.seen) == 1


async def test_nowhere_else() -> None:
    async with serving(answer(302, b"", "Location: http://169.254.169.254/latest"), OK) as (server, client):
        error = await failing(client.request("POST", URL, json={}))
        assert isinstance(error, VendorMisconfigured)
        assert len(server.seen) == 1


async def test_refusals() -> None:
    async with serving(
        answer(422, b'{"code": "10015", "said": "The number is\\n gone"}'),
        answer(400, b"<html>"),
        answer(404, b'{"code": "10005", "said": "no such order"}'),
        answer(404, b"<html>not an API</html>"),
        answer(401, b'{"code": "10009", "said": "bad key"}'),
        answer(402, b'{"code": "1", "said": "pay"}'),
        answer(403, b'{"code": "10010", "said": "no"}'),
        answer(400, b'{"code": "broke", "said": "no money"}'),
        answer(422, b'{"code": "9", "said": "%s"}' % (b"x" * 5000)),
        answer(429, b'{"code": "broke", "said": "the day\'s limit is reached"}'),
    ) as (_server, client):
        errors = [await failing(client.request("POST", URL, json={})) for _ in range(10)]
    assert [type(error) for error in errors] == [
        VendorRefused,
        VendorRefused,
        VendorUnknown,
        VendorMisconfigured,
        VendorMisconfigured,
        VendorMisconfigured,
        VendorMisconfigured,
        VendorMisconfigured,
        VendorRefused,
        VendorMisconfigured,
    ]
    assert not any(error.uncertain for error in errors)
    assert (errors[0].message, errors[0].code, errors[0].status) == ("acme: The number is gone", "10015", 422)
    assert errors[1].message == "acme: answered 400"
    assert (errors[4].code, errors[7].code) == ("10009", "broke")
    assert "money" not in errors[7].message
    assert len(errors[8].message) < 400


async def test_secrets_come_out_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    told = f'{{"code": "1", "said": "your key {SECRET} is odd"}}'.encode()
    with capture_logs() as logs:
        async with serving(answer(422, told), answer(401, told), raw(b"SSH-2.0\r\n"), reset) as (
            _server,
            client,
        ):
            errors = [await failing(client.request("POST", URL, json={})) for _ in range(4)]
            shown = repr(client)
        async with serving(
            answer(400, b'{"said": "tokentoken?"}'), auth=("AC1", "tokentoken"), headers={}
        ) as (server, client):
            errors.append(await failing(client.request("POST", URL, json={})))
            assert "Authorization: Basic QUMxOnRva2VudG9rZW4=\r\n" in server.seen[0].head
    for error in errors:
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
        for secret in (SECRET, "tokentoken"):
            assert secret not in f"{error!r}{error}{error.message}{shown}{logs}{caplog.text}"
    assert "***" in errors[0].message


async def test_closed_is_closed() -> None:
    async with serving(OK) as (_server, client):
        await client.request("GET", URL)
        await client.close()
        await client.close()
        assert isinstance(await failing(client.request("GET", URL)), VendorUnavailable)


async def test_a_cancelled_request_says_nothing() -> None:
    async with serving(silence) as (server, client):
        task = asyncio.create_task(client.request("POST", URL, json={}))
        async with asyncio.timeout(30):
            while not server.seen:
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(server.seen) == 1
