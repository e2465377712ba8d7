"""How ``ringline listen`` ends, against a server that tells of an event every now and then."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

_ZERO = "00000000-0000-0000-0000-000000000000"
_LONGEST = 60.0


async def _socket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    await ws.send_json({"type": "connected", "customer_id": _ZERO})
    await ws.receive()
    await ws.send_json({"type": "subscribed", "topics": [], "last": _ZERO})
    for number in range(1, 10_000):
        await ws.send_json(
            {
                "id": str(uuid4()),
                "type": "tag_updated",
                "timestamp": "2026-03-04T05:06:07.890123Z",
                "resource": "tag",
                "resource_id": _ZERO,
                "sequence": number,
                "data": {"name": "x" * 60},
            }
        )
        await asyncio.sleep(0.02)
    return ws


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/v1.0/ws", _socket)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


async def _listen(
    url: str, *options: str, stdin: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from ringline.cli import app; app()", "listen", *options),
        env={**os.environ, "RINGLINE_API_URL": url, "RINGLINE_ACCESSKEY": "vb_" + "x" * 32},
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _errors(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.read()).decode()


async def test_whoever_reads_it_may_have_enough(url: str) -> None:
    process = await _listen(url, "--print", "json")
    assert process.stdout is not None
    async with asyncio.timeout(_LONGEST):
        assert json.loads(await process.stdout.readline())["sequence"] == 1
        pipe = process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        pipe.close()
        errors = await _errors(process)
        assert (await process.wait(), errors) == (0, "")


async def test_it_ends_with_its_input_where_it_is_told_to(url: str) -> None:
    process = await _listen(url, "--until-eof", stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    async with asyncio.timeout(_LONGEST):
        assert b"tag_updated" in await process.stdout.readline()
        process.stdin.close()
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")


async def test_a_name_that_no_event_has_is_refused(url: str) -> None:
    process = await _listen(url, "--events", "call_*", "--events", "nope_*")
    async with asyncio.timeout(_LONGEST):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert "no event is called nope_*" in errors.decode()
