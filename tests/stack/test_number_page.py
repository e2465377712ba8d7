"""The seed page ``number.txt``: its commands and scenarios as they stand there, with host and token replaced."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from tests.stack.baresip import Baresip, phones
from tests.stack.conftest import AsteriskView
from tests.stack.product import ANSWER, Json, Product, eventually, sleep

pytestmark = pytest.mark.timeout(180)

HOST = "https://api.voipbin.net"
ZERO = "00000000-0000-0000-0000-000000000000"
NEVER = "9999-01-01 00:00:00.000000"
VIRTUAL = "+899100000001"
NORMAL = "+16062067563"
SEEDED = "+15551234567"
KEYS = {
    *("id", "number", "type", "call_flow_id", "message_flow_id", "name", "detail", "status", "t38_enabled"),
    *("emergency_enabled", "tm_create", "tm_update", "tm_delete", "flow_id", "tm_purchase"),
}
CALLER = "+15553330007"

PROVISION = """curl -X POST 'https://api.voipbin.net/v1.0/numbers?token=<token>' \\
    --header 'Content-Type: application/json' \\
    --data '{
        "number": "+15551234567"
    }'"""
CONFIGURE = """curl -X PUT 'https://api.voipbin.net/v1.0/numbers/<number-id>?token=<token>' \\
    --header 'Content-Type: application/json' \\
    --data '{
        "call_flow_id": "flow-abc-123",
        "message_flow_id": "flow-xyz-789"
    }'"""
_CREATE = "curl -k --location --request POST 'https://api.voipbin.net/v1.0/numbers?token=<YOUR_AUTH_TOKEN>' "
CREATE_VIRTUAL = f"""{_CREATE}\\
--header 'Content-Type: application/json' \\
--data-raw '{{
    "number": "+899100000001"
}}'"""
LIST = "curl -k --location --request GET 'https://api.voipbin.net/v1.0/numbers?token=<YOUR_AUTH_TOKEN>&page_size=10'"
GET = (
    "curl -k --location --request GET "
    "'https://api.voipbin.net/v1.0/numbers/d5532488-0b2d-11eb-b18c-172ab8f2d3d8?token=<YOUR_AUTH_TOKEN>'"
)
DELETE = (
    "curl -k --location --request DELETE "
    "'https://api.voipbin.net/v1.0/numbers/b7ee1086-fcbc-4f6f-96e5-7f9271e25279?token=<YOUR_AUTH_TOKEN>'"
)
CREATE = f"""{_CREATE}\\
--header 'Content-Type: application/json' \\
--data-raw '{{
    "number": "+16062067563"
}}'"""


class Page:
    """Somebody who reads the page and types what it says."""

    def __init__(self, product: Product, token: str) -> None:
        self.product = product
        self._token = token

    async def paste(self, command: str) -> Any:
        """The decoded answer of a command with host and token replaced."""
        command = command.replace(HOST, self.product.env["RINGLINE_API_URL"])
        command = command.replace("<YOUR_AUTH_TOKEN>", self._token).replace("<token>", self._token)
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, errors.decode()
        return json.loads(output)

    async def get(self, number_id: str) -> Any:
        return await self.paste(GET.replace("d5532488-0b2d-11eb-b18c-172ab8f2d3d8", number_id))

    async def delete(self, number_id: str) -> Any:
        return await self.paste(DELETE.replace("b7ee1086-fcbc-4f6f-96e5-7f9271e25279", number_id))

    async def active(self, number_id: str) -> Json:
        """Poll until the status is ``active``, as the page says."""

        async def look() -> Json | None:
            row: Json = await self.get(number_id)
            return row if row["status"] == "active" else None

        found: Json = await eventually(look, "the purchase is confirmed", within=60, every=0.5)
        return found


@pytest.fixture(scope="module")
async def page(product: Product) -> AsyncIterator[Page]:
    env = product.env
    body = {"username": env["RINGLINE_ADMIN_USERNAME"], "password": env["RINGLINE_ADMIN_PASSWORD"]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{env['RINGLINE_API_URL']}/auth/login", json=body) as response,
    ):
        token = str((await response.json())["token"])
    await give_back(product, VIRTUAL, NORMAL)
    yield Page(product, token)
    await give_back(product, VIRTUAL, NORMAL)


async def give_back(product: Product, *own: str) -> None:
    """What an earlier run left. A number is for sale again when its vendor has it back."""
    for number in own:
        for row in (await product.api.get("/v1.0/numbers", number=number))["result"]:
            await product.api.delete(f"/v1.0/numbers/{row['id']}")

    async def released() -> bool:
        async with product.database.connect() as connection:
            query = "SELECT count(*) FROM number_orders WHERE tm_end IS NULL AND kind = 'release'"
            return int((await connection.exec_driver_sql(query)).scalar_one()) == 0

    await eventually(released, "the vendor has it back", within=60)


async def dial(env: Mapping[str, str], to: str) -> int:
    """``ringline sandbox dial`` as the page's reader runs it; 0 when the call was answered."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from ringline.cli import app; app()", "sandbox", "dial"),
        *("--from", CALLER, "--to", to, "--seconds", "1"),
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode


async def outcome(product: Product, to: str) -> int:
    """The final status that a caller from the telephone network gets."""
    events = await product.dial_in(CALLER, to, seconds=0.2)
    return int(next(event["status"] for event in reversed(events) if "status" in event))


async def text_in(product: Product, to: str, text: str) -> int:
    """A handset texts a number."""
    body = {"from": CALLER, "to": to, "text": text}
    url = f"{product.env['RINGLINE_CARRIER_CONTROL_URL']}/handset/texts"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return response.status


async def held(product: Product, number: str) -> list[Json]:
    """The number as the vendor says that we have it."""
    url = f"{product.env['RINGLINE_CARRIER_CONTROL_URL']}/v1/numbers"
    async with aiohttp.ClientSession() as session, session.get(url, params={"number": number}) as response:
        found: list[Json] = (await response.json())["numbers"]
        return found


async def texts_dropped(product: Product) -> float:
    """How many texts came for suspended numbers."""
    name = "ringline_messages_total{direction=inbound,outcome=number_suspended}"
    return (await product.metrics()).get(name, 0.0)


async def runs(product: Product, flow_id: str, reference_type: str) -> list[Json]:
    """The activeflows of a flow."""
    answer = await product.api.get("/v1.0/activeflows", flow_id=flow_id, page_size="50")
    return [row for row in answer["result"] if row["reference_type"] == reference_type]


async def test_a_virtual_number(page: Page) -> None:
    made = await page.paste(CREATE_VIRTUAL)
    assert made.keys() >= KEYS
    expected = {
        "number": VIRTUAL,
        "type": "virtual",
        "call_flow_id": ZERO,
        "message_flow_id": ZERO,
        "name": "",
        "detail": "",
        "status": "active",
        "t38_enabled": False,
        "emergency_enabled": False,
        "tm_delete": NEVER,
    }
    assert made == {**made, **expected}
    assert len(made["tm_create"]) == len("2024-01-15 10:30:00.000000")
    assert await page.get(made["id"]) == made
    # the page's own example number is the seeded customer's from the first start on
    taken = await page.paste(PROVISION)
    assert (taken["error"]["status"], taken["error"]["reason"]) == ("ALREADY_EXISTS", "NUMBER_ALREADY_OWNED")
    assert SEEDED in taken["error"]["message"]


async def test_a_normal_number_from_the_purchase_to_the_release(
    page: Page, product: Product, ari: AsteriskView, env: Mapping[str, str]
) -> None:
    made = await page.paste(CREATE)
    assert made.keys() >= KEYS
    assert (made["number"], made["type"], made["flow_id"]) == (NORMAL, "normal", ZERO)
    assert (made["status"], made["tm_purchase"]) == ("purchase-pending", NEVER)
    number_id = made["id"]
    # not ours yet: nobody answers
    early, shown = await outcome(product, NORMAL), await page.get(number_id)
    assert early == 404 or shown["status"] == "active"
    active = await page.active(number_id)
    (row,) = await eventually(lambda: held(product, NORMAL), "the vendor says that it is ours", within=30)
    assert row["number"] == NORMAL
    assert active["tm_purchase"] != NEVER
    listed = await page.paste(LIST)
    assert NORMAL in [row["number"] for row in listed["result"]]
    assert listed.keys() == {"result", "next_page_token"}

    async def unhandled() -> bool:
        return await outcome(product, NORMAL) == 480

    await eventually(unhandled, "a number that was bought and has no flow is not handled", within=30)

    calls = await product.store_flow(ANSWER, sleep(20))
    texts = await product.store_flow({"type": "variable_set", "option": {"key": "got", "value": "it"}})
    configured = await page.paste(
        CONFIGURE.replace("<number-id>", number_id)
        .replace("flow-abc-123", calls)
        .replace("flow-xyz-789", texts)
    )
    assert (configured["call_flow_id"], configured["message_flow_id"]) == (calls, texts)
    async with phones(env, "test11") as (phone,):
        await handled(product, ari, phone, calls, texts)
        await suspended(product, phone, number_id, texts)
        gone = await page.delete(number_id)
        assert (gone["id"], gone["status"]) == (number_id, "deleted")
        assert gone["tm_update"] == gone["tm_delete"] != NEVER
        assert await outcome(product, NORMAL) == 404
    assert (await page.get(number_id))["error"]["reason"] == "NUMBER_NOT_FOUND"
    await give_back(product)
    assert await held(product, NORMAL) == []
    # and it is for sale again
    again = await page.paste(CREATE)
    assert again["status"] == "purchase-pending"
    assert again["id"] != number_id


async def handled(product: Product, ari: AsteriskView, phone: Baresip, calls: str, texts: str) -> None:
    """Calls from the carrier and from a phone run the call flow, a text the message flow."""
    assert await dial(product.env, NORMAL) == 0
    incoming = await product.incoming(NORMAL)
    assert (incoming["flow_id"], incoming["source"]["target"]) == (calls, CALLER)
    await phone.dial(NORMAL)
    await phone.event("CALL_ESTABLISHED")
    await phone.hang_up()
    await phone.event("CALL_CLOSED")

    async def both() -> bool:
        page = await product.api.get("/v1.0/calls", direction="incoming", page_size="50")
        of_number = [call for call in page["result"] if call["flow_id"] == calls]
        return {call["source"]["target"] for call in of_number} == {CALLER, "test11"}

    await eventually(both, "a call of the carrier's and one of the phone's ran the flow", within=30)
    assert await text_in(product, NORMAL, "HOURS") == 201
    await eventually(lambda: runs(product, texts, "message"), "the text runs its flow", within=30)
    await ari.wait_idle()


async def suspended(product: Product, phone: Baresip, number_id: str, texts: str) -> None:
    """Neither calls nor texts are handled while a number is suspended, and all of them again after it."""
    path = f"/v1.0/numbers/{number_id}"
    assert (await product.api.post(f"{path}/suspend"))["status"] == "suspended"
    # at once: no second chance
    assert await outcome(product, NORMAL) == 480
    assert await dial(product.env, NORMAL) == 1
    phone.forget()
    await phone.dial(NORMAL)
    await phone.event("CALL_CLOSED")
    assert "CALL_ESTABLISHED" not in phone.kinds()
    before, dropped = len(await runs(product, texts, "message")), await texts_dropped(product)
    assert await text_in(product, NORMAL, "anybody?") == 201

    async def arrived() -> bool:
        return await texts_dropped(product) > dropped

    await eventually(arrived, "the text is not handled", within=30)
    assert (await product.api.post(f"{path}/reactivate"))["status"] == "active"
    assert await text_in(product, NORMAL, "HELLO") == 201

    async def one_more() -> bool:
        return len(await runs(product, texts, "message")) > before

    await eventually(one_more, "texts run their flow again", within=30)
    assert len(await runs(product, texts, "message")) == before + 1
    assert await outcome(product, NORMAL) == 200
