"""The JSON-RPC client, against a Kamailio that says what real ones were seen to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ringline.routing import KamailioRefused, KamailioRpc, KamailioUnavailable

RELOADS = ["permissions.addressReload", "htable.reload", "htable.reload", "drouting.reload", "htable.reload"]
Answer = Callable[[str], Any]


class Kamailio:
    """Counts what it is asked; ``answer`` gives the result of a method, an exception becomes an RPC error."""

    def __init__(self, answer: Answer = lambda _: "ok") -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.pause = 0.0

    async def handle(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer secret":
            return web.Response(status=401)
        body = await request.json()
        self.asked.append(body["method"])
        await asyncio.sleep(self.pause)
        try:
            result = self.answer(body["method"])
        except ValueError as error:
            return web.json_response(
                {"jsonrpc": "2.0", "error": {"code": 500, "message": str(error)}, "id": 1}
            )
        return web.json_response({"jsonrpc": "2.0", "result": result, "id": body["id"]})


@asynccontextmanager
async def running(kamailio: Kamailio, secret: str = "secret") -> AsyncIterator[KamailioRpc]:
    app = web.Application()
    app.router.add_post("/rpc", kamailio.handle)
    server = TestServer(app)
    await server.start_server()
    rpc = KamailioRpc(str(server.make_url("/rpc")), secret, timeout=1.0, retry_delay=0.01, attempts=3)
    try:
        yield rpc
    finally:
        await rpc.close()
        await server.close()


async def test_addresses_then_gateways_then_groups_are_reloaded() -> None:
    async with running(Kamailio()) as rpc:
        await rpc.reload_routes()
        await rpc.reload_routes()
    async with running(kamailio := Kamailio()) as rpc:
        await rpc.reload_routes()
        assert kamailio.asked == RELOADS


async def test_reloads_at_the_same_time_are_one_and_those_during_one_are_the_next() -> None:
    kamailio = Kamailio()
    kamailio.pause = 0.3
    async with running(kamailio) as rpc:
        first = [asyncio.create_task(rpc.reload_routes()) for _ in range(20)]
        async with asyncio.timeout(10):
            while not kamailio.asked:
                await asyncio.sleep(0.001)
        assert kamailio.asked == RELOADS[:1]
        # What is committed now may have been missed by the reload under way.
        later = [asyncio.create_task(rpc.reload_routes()) for _ in range(20)]
        await asyncio.gather(*first)
        assert kamailio.asked.count("drouting.reload") == 1
        await asyncio.gather(*later)
        assert kamailio.asked == RELOADS * 2


async def test_a_waiter_that_gives_up_does_not_take_the_reload_from_the_others() -> None:
    kamailio = Kamailio()
    kamailio.pause = 0.03
    async with running(kamailio) as rpc:
        impatient = asyncio.create_task(rpc.reload_routes())
        patient = asyncio.create_task(rpc.reload_routes())
        await asyncio.sleep(0.01)
        impatient.cancel()
        await patient
        assert kamailio.asked == RELOADS


async def test_what_is_refused_now_is_tried_again() -> None:
    refusals = iter([True, True, False])

    def answer(method: str) -> str:
        if method == "permissions.addressReload" and next(refusals):
            raise ValueError("ongoing reload")
        return "ok"

    async with running(kamailio := Kamailio(answer)) as rpc:
        await rpc.reload_routes()
        assert kamailio.asked == [RELOADS[0]] * 3 + RELOADS[1:]


async def test_a_failure_that_looks_like_a_success_is_a_failure() -> None:
    async with running(kamailio := Kamailio(lambda _: "failed to load routing data")) as rpc:
        with pytest.raises(KamailioRefused, match="failed to load"):
            await rpc.reload_routes()
        assert kamailio.asked == [RELOADS[0]] * 3
        kamailio.answer = lambda _: "ok"
        await rpc.reload_routes()


async def test_nobody_there_is_said_within_the_attempts() -> None:
    rpc = KamailioRpc("http://127.0.0.1:9/rpc", "secret", retry_delay=0.01, attempts=2)
    with pytest.raises(KamailioUnavailable, match="does not answer"):
        await rpc.reload_routes()
    await rpc.close()


async def test_silence_is_not_waited_for() -> None:
    kamailio = Kamailio()
    kamailio.pause = 5.0
    async with running(kamailio) as rpc:
        with pytest.raises(KamailioUnavailable):
            await rpc.ping()


async def test_a_wrong_secret_is_named_as_such() -> None:
    async with running(Kamailio(), secret="other") as rpc:
        with pytest.raises(KamailioRefused, match="secret"):
            await rpc.ping()


async def test_counters_are_read_from_kamailios_lines() -> None:
    lines = [
        "script:edge_stranger = 12",
        "script:edge_failover = 0",
        "core:rcv_requests = 5",
        "script:edge_odd = x",
    ]
    async with running(Kamailio(lambda _: lines)) as rpc:
        assert await rpc.statistics() == {"stranger": 12, "failover": 0}


async def test_closing_ends_a_reload_under_way() -> None:
    kamailio = Kamailio()
    kamailio.pause = 0.5
    async with running(kamailio) as rpc:
        waiter = asyncio.create_task(rpc.reload_routes())
        await asyncio.sleep(0.05)
        await rpc.close()
        with pytest.raises(asyncio.CancelledError):
            await waiter
