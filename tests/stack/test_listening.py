"""Events of real calls as they happen: on the WebSocket, over a break, and through ``ringline listen``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.stack.product import Json, Product, eventually, number, sleep

pytestmark = pytest.mark.timeout(180)


async def _events(product: Product, call: Json) -> list[Json]:
    """What happened to a call, the oldest first, as it is kept."""
    page = await product.api.get("/v1.0/events", resource_id=call["id"], page_size="1000")
    return sorted(page["result"], key=lambda event: int(event["sequence"]))


async def _until_ended(socket: aiohttp.ClientWebSocketResponse, call: Json) -> list[Json]:
    """The call's events up to its end."""
    found: list[Json] = []
    while not found or found[-1]["type"] != "call_hangup":
        frame = await socket.receive_json(timeout=60)
        if frame.get("resource_id") == call["id"]:
            found.append(frame)
    return found


async def test_a_calls_events_arrive_and_those_missed_in_a_break_come_first(product: Product) -> None:
    customer_id = await product.customer_id()
    url = f"{product.env['RINGLINE_API_URL']}/v1.0/ws"
    key = {"accesskey": product.env["RINGLINE_ACCESSKEY"]}
    topics = [f"customer_id:{customer_id}:call"]
    async with aiohttp.ClientSession() as session:
        live = await session.ws_connect(url, params=key)
        await live.send_json({"type": "subscribe", "topics": topics})
        cut = await session.ws_connect(url, params=key)
        await cut.send_json({"type": "subscribe", "topics": topics})
        for socket in (live, cut):
            while (await socket.receive_json(timeout=30))["type"] != "subscribed":
                pass
        call = await product.place(number("1234"), sleep(2))
        seen: list[Json] = []
        while not seen:
            frame = await cut.receive_json(timeout=30)
            if frame["resource_id"] == call["id"]:
                seen.append(frame)
        cut.get_extra_info("socket").shutdown(2)
        await product.ended(call)
        back = await session.ws_connect(url, params=key)
        await back.send_json({"type": "subscribe", "topics": topics, "after": seen[-1]["id"]})
        seen += await _until_ended(back, call)
        told = await _until_ended(live, call)
    assert told == seen, "the same with and without a break"
    types = [event["type"] for event in told]
    assert types[0] == "call_created"
    assert {"call_dialing", "call_progressing", "call_hangup"} <= set(types)
    assert [event["sequence"] for event in told] == list(range(1, len(told) + 1))
    kept = await _events(product, call)
    assert [event["id"] for event in kept][: len(told)] == [event["id"] for event in told]
    assert told[-1]["data"]["hangup_reason"] == "normal"


async def test_ringline_listen_prints_and_forwards_what_happens(product: Product) -> None:
    got: list[tuple[str, dict[str, str]]] = []

    async def hook(request: web.Request) -> web.Response:
        got.append((await request.text(), {name.lower(): value for name, value in request.headers.items()}))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from ringline.cli import app; app()", "listen"),
        *("--events", "call_*", "--forward", f"http://127.0.0.1:{port}/hook"),
        env={**os.environ, **product.env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        hello = (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
        secret = hello.split()[-1]
        # it may not be connected yet: calls are placed until one of them is told of
        calls: list[Json] = []

        async def told() -> str:
            calls.append(await product.place(number("0007"), sleep(1)))
            assert process.stdout is not None
            return (await asyncio.wait_for(process.stdout.readline(), 5)).decode()

        first = await eventually(told, "an event is printed", within=60)
        assert " call_" in first
        assert "=> 204 in " in first

        def forwarded() -> bool:
            return any('"call_hangup"' in body and calls[-1]["id"] in body for body, _ in got)

        await eventually(forwarded, "the end is forwarded", within=60)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself, which is said below
            process.send_signal(signal.SIGINT)
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        await runner.cleanup()
    assert process.returncode == 0
    for body, headers in got:
        event: dict[str, Any] = Webhook(secret).verify(body, headers)
        assert event["type"].startswith("call_")
        assert headers["webhook-id"] == event["id"]
    assert len({headers["webhook-id"] for _, headers in got}) == len(got), "each once"
    assert "call_hangup" in output.decode()


async def test_ringline_listen_says_what_is_wrong_with_it(product: Product) -> None:
    async def listen(*options: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from ringline.cli import app; app()", "listen", *options),
            env={**os.environ, **product.env, "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), 100)
        return process.returncode, errors.decode()

    found = await asyncio.gather(
        listen("--accesskey", "vb_" + "x" * 40),
        listen("--print", "xml"),
        listen("--forward", "localhost"),
        listen("--secret", "short"),
    )
    assert [status for status, _ in found] == [1, 2, 2, 2]
    assert "access key" in found[0][1]
    assert json.dumps(found).count("Traceback") == 0
