"""Numbers brought from another carrier by the sandbox: from the letter to the call; webhooks that nobody signed."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from tests.stack.product import ANSWER, HANGUP, Json, Product, eventually, sleep

LETTER = base64.b64encode(b"%PDF-1.4\n" + b"signed " * 100 + b"\n%%EOF\n").decode()


def wanted(account: str = "4711", count: int = 1, **more: Any) -> Json:
    base = secrets.randbelow(10**5) * 10
    return {
        "numbers": [f"+1628{2_000_000 + base + place}" for place in range(count)],
        "carrier": "Old Telephone",
        "account_number": account,
        "owner": {
            "name": "Example Inc.",
            "street": "548 Market St",
            "city": "San Francisco",
            "region": "CA",
            "postal_code": "94104",
            "country": "US",
        },
        "authorised_person": "Anna Example",
        "letter": {"name": "letter.pdf", "content": LETTER},
        **more,
    }


async def came_to(product: Product, port: Json, status: str) -> Json:
    async def look() -> Json | None:
        shown: Json = await product.api.get(f"/v1.0/number_ports/{port['id']}")
        return shown if shown["status"] == status else None

    found: Json = await eventually(look, f"port {status}", within=100)
    return found


@pytest.mark.timeout(300)
async def test_numbers_are_brought_and_called(product: Product) -> None:
    flow_id = await product.store_flow(ANSWER, sleep(0.2), HANGUP)
    post = product.api.post
    good, odd, partial, lost, late = await asyncio.gather(
        post("/v1.0/number_ports", wanted(call_flow_id=flow_id, name="moved")),
        post("/v1.0/number_ports", wanted("9002")),
        post("/v1.0/number_ports", wanted("9004", count=2)),
        post("/v1.0/number_ports", wanted("9006")),
        post("/v1.0/number_ports", wanted("9005")),
    )
    own = good["numbers"][0]["number"]
    status, refused = await product.api.call("POST", "/v1.0/number_ports", wanted(numbers=[own]))
    assert (status, refused["error"]["reason"]) == (409, "NUMBER_NOT_AVAILABLE")
    # called off before the vendor was asked, it would be cancelled at once
    await came_to(product, late, "in-process")
    await product.api.delete(f"/v1.0/number_ports/{late['id']}")

    good, odd, partial, lost, late = await asyncio.gather(
        came_to(product, good, "ported"),
        came_to(product, odd, "exception"),
        came_to(product, partial, "ported"),
        came_to(product, lost, "ported"),
        came_to(product, late, "ported"),
    )
    assert [step["status"] for step in good["history"]][-2:] == ["foc-confirmed", "ported"]
    assert [entry["status"] for entry in partial["numbers"]] == ["ported", "failed"]
    assert any("cannot be called off" in step["reason"] for step in late["history"])
    shown = await product.api.get(f"/v1.0/numbers/{good['numbers'][0]['number_id']}")
    assert (shown["number"], shown["status"], shown["call_flow_id"]) == (own, "active", flow_id)

    async def called() -> bool:
        return bool((await product.dial_in("+15553330077", own, seconds=5))[-1]["answered"])

    await eventually(called, "a number that was ported a moment ago answers", within=30)
    assert (await product.incoming(own))["status"] in {"progressing", "terminating", "hangup"}

    # the exception is mended and goes its way
    assert "owner" in odd["reason"]
    path = f"/v1.0/number_ports/{odd['id']}"
    await product.api.put(path, {"account_number": "4712"})
    await product.api.post(f"{path}/submit")
    await came_to(product, odd, "ported")
    for port in (good, partial, lost, late, await product.api.get(path)):
        for entry in port["numbers"]:
            if entry["status"] == "ported":
                await product.api.delete(f"/v1.0/numbers/{entry['number_id']}")


async def test_webhooks_that_nobody_signed(product: Product, env: Mapping[str, str]) -> None:
    async with aiohttp.ClientSession() as session:

        async def post(vendor: str, body: bytes) -> int:
            async with session.post(f"{env['RINGLINE_API_URL']}/hooks/{vendor}", data=body) as response:
                return response.status

        assert await post("sandbox", b'{"type": "order.updated", "data": {}}') == 403
        assert await post("sandbox", b"x" * 300_000) == 413
        assert await post("nobody", b"{}") == 404
    metrics = await product.metrics()
    assert metrics["ringline_vendor_hooks_total{outcome=refused,vendor=sandbox}"] >= 1
