"""What a flow must not do for ever: each ends by itself, with a reason on the activeflow that says which limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from tests.stack.conftest import AsteriskView
from tests.stack.files import allowed_address
from tests.stack.product import HANGUP, Json, Product, eventually, number, sleep, talk
from tests.stack.servers import Servers


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    """After each test Asterisk has no channel and no bridge."""
    yield
    await ari.wait_idle()


@pytest.fixture
async def servers(env: Mapping[str, str]) -> AsyncIterator[Servers]:
    made = await Servers(allowed_address(env)).start()
    yield made
    await made.close()


@pytest.fixture
async def other_servers(env: Mapping[str, str]) -> AsyncIterator[Servers]:
    """At another port: what waits for the first server is in nobody's way there."""
    made = await Servers(allowed_address(env)).start()
    yield made
    await made.close()


def fetch(url: str) -> Json:
    return {"type": "fetch", "option": {"event_url": url, "event_method": "POST"}}


def webhook(uri: str, **option: Any) -> Json:
    return {"type": "webhook_send", "option": {"uri": uri, "data": "{}", **option}}


def variable(key: str, value: str, **more: Any) -> Json:
    return {"type": "variable_set", "option": {"key": key, "value": value}, **more}


async def why(product: Product, call: Json, within: float = 30.0) -> tuple[str, str]:
    """Reason and sentence with which the call's flow ended."""

    async def ended() -> Json | None:
        shown: Json = await product.api.get(f"/v1.0/activeflows/{call['activeflow_id']}")
        return shown if shown["status"] == "ended" else None

    shown = await eventually(ended, "the flow has ended", within=within)
    return shown["reason"], shown["message"]


def lasted(record: Json) -> float:
    """Seconds from the answer of a call to its end."""
    begin, end = (datetime.fromisoformat(record[name]) for name in ("tm_progressing", "tm_hangup"))
    return (end - begin).total_seconds()


async def not_held_up(product: Product) -> None:
    """The API answers while something else goes on, however busy the machine is."""
    async with asyncio.timeout(10):
        await product.api.get("/v1.0/customer")


async def test_a_loop_without_end_is_stopped_and_holds_up_nobody(product: Product) -> None:
    here = str(uuid4())
    call = await product.place(
        number(),
        variable("a", "b", id=here),
        {"type": "goto", "option": {"target_id": here, "loop_count": 100_000}},
    )
    await product.reached(call, "progressing", "hangup")
    await not_held_up(product)
    record = await product.ended(call)
    reason, message = await why(product, call)
    assert reason == "LOOP_LIMIT"
    assert "1000 actions ran without waiting" in message
    assert [failure["reason"] for failure in record["failures"]] == ["LOOP_LIMIT"]


async def test_a_loop_by_next_id_is_refused_and_one_that_nobody_can_see_is_stopped(
    product: Product, servers: Servers
) -> None:
    first, second = str(uuid4()), str(uuid4())
    status, answer = await product.api.call(
        "POST",
        "/v1.0/flows",
        {
            "name": "loop",
            "actions": [
                variable("a", "b", id=first, next_id=second),
                variable("a", "c", id=second, next_id=first),
            ],
        },
    )
    assert status == 400
    assert "loop without end" in str(answer)
    servers.answers["/back"] = [variable("a", "c", next_id=first)]
    call = await product.place(number(), variable("a", "b", id=first), fetch(servers.url("back")))
    assert (await why(product, call, within=60))[0] == "LOOP_LIMIT"
    assert len(servers.seen("/back")) < 400
    await product.ended(call)


async def test_a_flow_of_a_thousand_actions_runs_to_its_end(product: Product) -> None:
    actions = [variable(f"name{at % 50}", str(at)) for at in range(998)]
    call = await product.place(number(), *actions, sleep(0.2), HANGUP)
    record = await product.ended(call, within=60)
    assert (record["failures"], record["hangup_reason"]) == ([], "normal")
    assert (await why(product, call))[0] == "complete"
    status, answer = await product.api.call(
        "POST", "/v1.0/flows", {"name": "too long", "actions": [*actions, *actions[:3]]}
    )
    assert status == 400
    assert "1000" in str(answer)


async def test_a_fetch_that_fetches_itself_is_stopped(product: Product, servers: Servers) -> None:
    url = servers.url("itself")
    servers.answers["/itself"] = lambda _: [fetch(url)]
    call = await product.place(number(), fetch(url), talk("Never said."))
    reason, message = await why(product, call, within=60)
    assert reason == "TOO_DEEP"
    assert "deeper than 100" in message
    assert len(servers.seen("/itself")) == 100
    await product.ended(call)


async def test_a_fetch_that_waits_and_fetches_itself_grows_no_further_than_its_bounds(
    product: Product, servers: Servers
) -> None:
    url = servers.url("long")
    servers.answers["/long"] = lambda _: [sleep(0.1), fetch(url), *[talk("x" * 4000)] * 40]
    call = await product.place(number(), fetch(url))
    reason, message = await why(product, call, within=60)
    assert reason == "SNAPSHOT_TOO_LARGE"
    assert "524288 bytes" in message
    assert len(servers.seen("/long")) < 6
    await product.ended(call)


async def test_a_flow_that_runs_itself_is_stopped(product: Product) -> None:
    flow_id = await product.store_flow(sleep(0.1))
    await product.api.call(
        "PUT",
        f"/v1.0/flows/{flow_id}",
        {"actions": [{"type": "fetch_flow", "option": {"flow_id": flow_id}}]},
    )
    call = await product.place(number(), {"type": "fetch_flow", "option": {"flow_id": flow_id}})
    assert (await why(product, call, within=30))[0] == "TOO_DEEP"
    await product.ended(call)


async def test_webhooks_to_a_server_that_never_answers_hold_up_nothing(
    product: Product, servers: Servers, other_servers: Servers
) -> None:
    servers.answers["/never"] = "never"
    other_servers.answers["/good"] = {}
    to_nobody = [webhook(servers.url("never")) for _ in range(100)]
    began = time.monotonic()
    call = await product.place(number(), *to_nobody, sleep(0.2), HANGUP)
    other = await product.place(number(), webhook(other_servers.url("good")), sleep(0.2), HANGUP)
    record = await product.ended(call, within=60)
    assert (await why(product, call))[0] == "complete"
    # each of them takes ten seconds: the flow waited for none
    assert lasted(record) < 10
    assert {failure["reason"] for failure in record["failures"]} <= {"WEBHOOK_TIMEOUT"}
    assert (await product.ended(other, within=60))["failures"] == []
    await eventually(lambda: other_servers.seen("/good"), "the other server has its webhook")
    # eight at a time, each given up after ten seconds, and said on the call that has ended meanwhile
    await eventually(lambda: len(servers.seen("/never")) >= 8, "the first are under way")
    turns = 1 + int((time.monotonic() - began) / 10)
    assert len(servers.seen("/never")) <= 8 * turns

    async def given_up() -> bool:
        failures = (await product.show(call))["failures"]
        return any(failure["reason"] == "WEBHOOK_TIMEOUT" for failure in failures)

    await eventually(given_up, "they were given up", within=30)

    async def counted() -> bool:
        # read once a second
        return 0 < (await product.metrics())["ringline_queue_depth{queue=webhooks}"] <= 92

    await eventually(counted, "those that were given up no longer wait")


async def test_a_webhook_that_is_waited_for_is_waited_for_so_long(product: Product, servers: Servers) -> None:
    servers.answers["/never"] = "never"
    call = await product.place(number(), webhook(servers.url("never"), sync=True), HANGUP)
    record = await product.ended(call, within=60)
    assert 9.5 < lasted(record) < 20
    assert [failure["reason"] for failure in record["failures"]] == ["WEBHOOK_TIMEOUT"]
    assert (await why(product, call))[0] == "complete"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost.", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "10.0.0.1"]
)
async def test_a_fetch_to_a_private_address_is_refused(product: Product, servers: Servers, host: str) -> None:
    # in a variable, so that it is not refused when it is posted
    call = await product.place(
        number(), fetch("http://${host}/"), talk("Never said."), variables={"host": f"{host}:{servers.port}"}
    )
    reason, message = await why(product, call)
    assert reason in ("FETCH_FORBIDDEN", "FETCH_FAILED", "INVALID_OPTION"), message
    assert servers.requests == []
    record = await product.ended(call)
    assert record["failures"][-1]["message"]


async def test_a_private_address_is_refused_when_it_is_posted_and_behind_a_redirect(
    product: Product, servers: Servers
) -> None:
    status, answer = await product.api.call(
        "POST", "/v1.0/flows", {"name": "private", "actions": [fetch("http://169.254.169.254/latest")]}
    )
    assert status == 400
    assert "actions[0].option.event_url" in str(answer)
    inside = f"{product.env['RINGLINE_API_URL']}/v1.0/customer"

    def away(_: Any) -> Any:
        return web.Response(status=302, headers={"Location": inside})

    servers.answers["/away"] = away
    call = await product.place(number(), fetch(servers.url("away")))
    reason, message = await why(product, call)
    assert (reason, "127.0.0.1 is not a public address" in message) == ("FETCH_FORBIDDEN", True)
    await product.ended(call)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("never", "FETCH_TIMEOUT"), ("x" * 300_000, "FETCH_TOO_LARGE"), ({"no": "list"}, "FETCH_INVALID")],
)
async def test_a_server_that_answers_badly_ends_the_flow_and_says_why(
    product: Product, servers: Servers, answer: Any, reason: str
) -> None:
    servers.answers["/bad"] = answer
    call = await product.place(number(), fetch(servers.url("bad")), talk("Never said."))
    await asyncio.sleep(0.5)
    await not_held_up(product)
    assert (await why(product, call))[0] == reason
    await product.ended(call)


async def test_a_caller_who_hangs_up_ends_a_fetch(product: Product, servers: Servers) -> None:
    servers.answers["/never"] = "never"
    call = await product.place(number(), fetch(servers.url("never")))
    await eventually(lambda: servers.seen("/never"), "the server was asked")
    await product.hang_up(call)
    record = await product.ended(call)
    assert (await why(product, call))[0] == "hangup"
    assert lasted(record) < 10, "it waited for the server's answer"
