"""Connections of one address are bounded, and those of others are not."""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web

from ringline.http import Server
from ringline.http.client_address import network_of, remote_of
from ringline.http.connections import Crowd, unreadable_total


def test_a_crowd_is_counted_by_address() -> None:
    crowd = Crowd(2, [ip_network("10.0.0.0/8")])
    one, two = crowd.enter("192.0.2.1"), crowd.enter("192.0.2.1")
    assert one == two == "192.0.2.1"
    assert crowd.enter("192.0.2.1") is None
    assert crowd.enter("192.0.2.2") == "192.0.2.2"
    assert [crowd.enter("10.1.2.3") for _ in range(5)] == [""] * 5
    crowd.leave(one)
    assert crowd.enter("192.0.2.1") == one
    assert [crowd.enter("2001:db8::1"), crowd.enter("2001:db8::2")] == [network_of("2001:db8::1")] * 2
    assert crowd.enter("2001:db8::3") is None
    assert [Crowd(0).enter("192.0.2.1")] == [""]


def test_addresses() -> None:
    assert network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") != network_of("2001:db8:0:1::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("no:address") == "no:address"


async def _one(_: web.Request) -> web.Response:
    return web.json_response({})


async def _status(port: int, local: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(local, 0))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        return (await asyncio.wait_for(reader.read(), 30)).split(b"\r\n")[0]
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()


async def test_an_address_with_too_many_is_refused_and_others_are_served() -> None:
    app = web.Application()
    app.router.add_get("/", _one)
    server = Server(app, "127.0.0.1", 0, grace=1.0, crowd=Crowd(3))
    await server.start()
    held = [
        await asyncio.open_connection("127.0.0.1", server.port, local_addr=("127.0.0.2", 0)) for _ in range(3)
    ]
    await asyncio.sleep(0.1)
    assert (await _status(server.port, "127.0.0.2")) in (b"HTTP/1.1 429 Too Many Requests", b"reset")
    assert await _status(server.port, "127.0.0.3") == b"HTTP/1.1 200 OK"
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    for _ in range(1000):
        await asyncio.sleep(0.02)
        if await _status(server.port, "127.0.0.2") == b"HTTP/1.1 200 OK":
            break
    else:
        pytest.fail("what was closed still counts")
    for _ in range(20):
        assert await _status(server.port, "127.0.0.2") == b"HTTP/1.1 200 OK"
    await server.close()


class _Asked:
    def __init__(self, remote: str, *forwarded: str) -> None:
        self.remote = remote
        self.headers = self
        self._forwarded = forwarded

    def getall(self, name: str, default: object) -> tuple[str, ...]:
        assert name == "X-Forwarded-For"
        return self._forwarded


@pytest.mark.parametrize(
    ("remote", "forwarded", "seen"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("203.0.113.1",), "192.0.2.1"),  # nobody whom we believe
        ("10.0.0.1", ("203.0.113.1",), "203.0.113.1"),
        ("10.0.0.1", ("198.51.100.1, 203.0.113.1",), "203.0.113.1"),  # what stands before anybody can write
        ("10.0.0.1", ("203.0.113.1, 10.0.0.2",), "203.0.113.1"),
        ("10.0.0.1", ("203.0.113.1", "10.0.0.2"), "203.0.113.1"),
        ("10.0.0.1", ("nonsense",), "10.0.0.1"),
        ("10.0.0.1", (), "10.0.0.1"),
    ],
)
def test_who_asks_through_a_proxy(remote: str, forwarded: tuple[str, ...], seen: str) -> None:
    asked = _Asked(remote, *forwarded)
    assert remote_of(asked, [ip_network("10.0.0.0/8")]) == seen  # type: ignore[arg-type]


async def _answer(port: int, sent: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of the answer to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        head, _, body = (await asyncio.wait_for(reader.read(), 30)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, json.loads(body)


@pytest.mark.parametrize(
    ("sent", "reason", "says"),
    [
        (b"GET /?accesskey=%b HTTP/1.1\r\n\r\n" % (b"s3cret" * 2000), "HEADER_TOO_LONG", "8190 bytes"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: %b\r\n\r\n" % (b"s3cret" * 2000), "HEADER_TOO_LONG", "8190 bytes"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % (b"A: b\r\n" * 150), "TOO_MANY_HEADERS", "100 headers"),
        (b"\x16\x03\x01\x00\xa5\x01\r\n\r\n", "NOT_HTTP", "HTTPS"),
        (b"s3cret\r\n\r\n", "NOT_HTTP", "not an HTTP request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\ns3cret\r\n\r\n", "NOT_HTTP", "Invalid header token."),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: s3cret\r\n\r\n", "NOT_HTTP", "Content-Length."),
        (b"GET http://[s3cret HTTP/1.1\r\nHost: x\r\n\r\n", "NOT_HTTP", "not valid HTTP/1.1."),
    ],
)
async def test_what_is_no_request_is_answered_like_one(sent: bytes, reason: str, says: str) -> None:
    server = Server(web.Application(), "127.0.0.1", 0, grace=1.0)
    await server.start()
    before = unreadable_total._value.get()
    status, headers, body = await _answer(server.port, sent)
    assert unreadable_total._value.get() == before + 1
    assert (status, headers["Content-Type"]) == (400, "application/json")
    error = body["error"]
    assert (error["status"], error["reason"], error["domain"]) == ("INVALID_ARGUMENT", reason, "api")
    assert says in error["message"]
    assert "s3cret" not in json.dumps(body)
    assert headers["X-Request-Id"] == error["request_id"]
    assert (headers["Server"], headers["X-Content-Type-Options"]) == ("ringline", "nosniff")
    await server.close()


async def test_whoever_is_refused_reads_why() -> None:
    server = Server(web.Application(), "127.0.0.1", 0, grace=1.0, crowd=Crowd(1))
    await server.start()
    _, held = await asyncio.open_connection("127.0.0.1", server.port)
    status, headers, body = await _answer(server.port, b"")
    assert (status, headers["Retry-After"]) == (429, "5")
    assert body["error"]["reason"] == "TOO_MANY_CONNECTIONS"
    assert headers["X-Request-Id"] == body["error"]["request_id"]
    held.close()
    await server.close()
