"""Where the first customer may call and how many calls it may have, on the running stack: refused, counted, released,
also after the controller was killed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

import pytest

from tests.stack.containers import Containers
from tests.stack.product import ANSWER, HANGUP, SOURCE, Product, eventually, number, order, sleep
from tests.stack.test_recovery import kill

PATH = "/v1.0/outbound_config"
FREE: dict[str, Any] = {"max_calls": 0, "calls_per_second": 0, "destination_whitelist": ["all"]}


@pytest.fixture
async def token(product: Product, env: Mapping[str, str]) -> AsyncIterator[str]:
    """The administrator's login; afterwards everything is allowed again."""
    login = {"username": env["RINGLINE_ADMIN_USERNAME"], "password": env["RINGLINE_ADMIN_PASSWORD"]}
    found = (await product.api.post("/auth/login", login, accesskey=""))["token"]
    try:
        yield found
    finally:
        status, answer = await product.api.call("PUT", PATH, FREE, accesskey="", token=found)
        assert status == 200, answer


async def allow(product: Product, token: str, **fields: Any) -> None:
    status, answer = await product.api.call("PUT", PATH, fields, accesskey="", token=token)
    assert status == 200, answer


@pytest.mark.timeout(300)
async def test_calls_at_once_are_bounded_and_counted_right_after_a_crash(
    product: Product, containers: Containers, token: str
) -> None:
    await product.asterisk.wait_idle()
    flow = await product.store_flow(ANSWER, sleep(2), HANGUP)
    own = await product.store_number(flow)
    await allow(product, token, max_calls=2)
    try:
        lasting = [await product.place(number(), sleep(170)) for _ in range(2)]
        for call in lasting:
            await product.reached(call, "progressing")
        status, answer = await product.api.call("POST", "/v1.0/groupcalls", order(number(), sleep(1)))
        assert status == 429, answer
        error = answer["error"]
        assert (error["status"], error["reason"]) == ("RESOURCE_EXHAUSTED", "LIMIT_REACHED")
        assert "max_calls" in error["message"]
        assert error["details"][0]["value"] == 2
        # a call waits for room instead
        second, third = [await product.place(number("0007"), sleep(1)) for _ in range(2)]
        shown = await product.show(second)
        assert (shown["status"], shown["tm_dialing"], shown["queue_position"]) == ("dialing", None, 1)
        assert (await product.show(third))["queue_position"] == 2
        before = await product.metrics()
        refused = "ringline_calls_refused_total{reason=too_many_calls}"
        await _rung(product, own, 503)
        assert (await product.metrics())[refused] == before.get(refused, 0) + 1

        await kill(product, containers)
        status, answer = await product.api.call("POST", "/v1.0/groupcalls", order(number(), sleep(1)))
        assert status == 429, answer
        assert (await product.show(second))["queue_position"] == 1, "it was placed, or forgotten"
        await product.hang_up(lasting[0])
        await product.ended(lasting[0])
        for call in (second, third):
            assert (await product.ended(call))["tm_dialing"] is not None
        await product.hang_up(lasting[1])
        await product.ended(lasting[1])
        # all of it is released: two may be placed together
        body = order(number("0001"), sleep(1))
        body["destinations"].append({"type": "tel", "target": number("0001")})
        for call in await product.api.post("/v1.0/calls", body):
            await product.ended(call)
        await _rung(product, own, 200)
    finally:
        await product.drop_numbers(own)


async def _rung(product: Product, own: str, status: int) -> None:
    """The carrier calls the number and hears this. One that was written a moment ago may not be known yet (404)."""

    async def heard() -> list[int]:
        steps = await product.dial_in("+15550001111", own, seconds=1)
        statuses = [int(value) for step in steps for value in step.values() if str(value).isdigit()]
        return [] if 404 in statuses else statuses

    statuses = await eventually(heard, f"{own} is known", within=30)
    assert status in statuses, statuses


async def test_calls_per_second_are_paced(product: Product, token: str) -> None:
    await allow(product, token, calls_per_second=2)
    calls = [await product.place(number("0001"), sleep(1)) for _ in range(6)]
    ended = [await product.ended(call) for call in calls]
    moments = [datetime.fromisoformat(call["tm_dialing"]) for call in ended]
    assert moments == sorted(moments)
    assert (moments[-1] - moments[0]).total_seconds() > 1.5
    assert {call["hangup_reason"] for call in ended} == {"busy"}


async def test_countries_that_are_not_named_are_refused(product: Product, token: str) -> None:
    await allow(product, token, destination_whitelist=["us"])
    status, answer = await product.api.call("POST", "/v1.0/calls", order("+493012345678", sleep(1)))
    assert status == 400
    error = answer["error"]
    assert error["reason"] == "DESTINATION_NOT_WHITELISTED"
    assert "destinations[0].target: outbound destination country not whitelisted" in error["message"]
    assert "`de`" in error["message"]
    # a flow's leg is refused alike, and the flow goes on
    connect = {
        "type": "connect",
        "option": {
            "source": {"type": "tel", "target": SOURCE},
            "destinations": [{"type": "tel", "target": "+881612345678"}],
        },
    }
    call = await product.place(number(), connect, HANGUP)
    ended = await product.ended(call)
    assert [failure["reason"] for failure in ended["failures"]] == ["DESTINATION_NOT_WHITELISTED"]
    assert product.lines("+881612345678") == []
    await allow(product, token, destination_whitelist=["us", "de"])
    placed = await product.place("+493012340001", sleep(1))
    await product.ended(placed)
    assert await eventually(lambda: product.lines("+493012340001"), "the carrier had the call")
