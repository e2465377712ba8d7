"""Bodies that are no JSON: handed over as they came, bounded by their route, few large ones of a customer at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp
import yarl
from tests.unit.http.conftest import Serve

from ringline.http import Request, ResponseModel, Route
from ringline.http.endpoint import LARGE_AT_ONCE
from ringline.http.openapi import openapi_document
from ringline.metrics import registry


class Seen(ResponseModel):
    """What came."""

    size: int
    content: str
    target: str


async def look(request: Request) -> Seen:
    return Seen(
        size=len(request.content), content=request.content[:40].decode("latin-1"), target=request.target
    )


UPLOAD = Route(
    method="POST",
    path="/v1.0/uploads",
    handler=look,
    summary="Look at a file",
    response=Seen,
    accepts=("image/png", "multipart/form-data"),
    max_body_bytes=300_000,
    body_seconds=5.0,
)


async def test_a_body_comes_as_it_was_sent(serve: Serve) -> None:
    client = await serve(UPLOAD, max_body_bytes=1000)
    path = "/v1.0/uploads?accesskey=admin&a=%2B1&b=x+y&c=%C3%BC"
    async with client.session.post(yarl.URL(client.url + path, encoded=True), data=b"\0\xff{") as response:
        body = await response.json()
    assert body == {"size": 3, "content": "\0ÿ{", "target": path}


async def test_the_route_says_how_large_it_may_be(serve: Serve) -> None:
    client = await serve(UPLOAD, max_body_bytes=1000)
    assert (await client.ask("POST", "/v1.0/uploads?accesskey=admin", data=b"x" * 300_000))[0] == 200
    assert (await client.ask("POST", "/v1.0/uploads?accesskey=admin", data=b"x" * 300_001))[0] == 413


async def test_few_large_bodies_of_a_customer_come_at_once(serve: Serve) -> None:
    client = await serve(UPLOAD, max_body_bytes=1000)
    address = urlsplit(client.url)
    writers = []
    for _ in range(LARGE_AT_ONCE):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(
            b"POST /v1.0/uploads?accesskey=admin HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nbegun"
        )
        await writer.drain()
        writers.append(writer)
    try:
        async with asyncio.timeout(30):
            while True:
                status, body = await client.ask("POST", "/v1.0/uploads?accesskey=admin", data=b"x")
                if status == 429:
                    break
                await asyncio.sleep(0.02)
        assert body["error"]["details"] == [{"retry_after": 2}]
    finally:
        for writer in writers:
            writer.close()
    async with asyncio.timeout(30):
        while True:
            with suppress(aiohttp.ClientError):
                if (await client.ask("POST", "/v1.0/uploads?accesskey=admin", data=b"x"))[0] == 200:
                    return
            await asyncio.sleep(0.05)


async def test_who_hangs_up_in_the_middle_is_no_fault_of_ours(serve: Serve) -> None:
    client = await serve(UPLOAD)
    before = _answered("400")
    address = urlsplit(client.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        b"POST /v1.0/uploads?accesskey=admin HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nbegun"
    )
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    async with asyncio.timeout(30):
        while _answered("400") == before:
            await asyncio.sleep(0.02)


def _answered(status: str) -> float:
    labels = {"method": "POST", "route": "/v1.0/uploads", "status": status}
    return registry.get_sample_value("ringline_http_requests_total", labels) or 0.0


def test_the_document_says_what_is_taken() -> None:
    operation = openapi_document([UPLOAD])["paths"]["/v1.0/uploads"]["post"]
    assert set(operation["requestBody"]["content"]) == {"image/png", "multipart/form-data"}
    assert "413" in operation["responses"]
