"""Numbers searched with the seed page's commands and bought of the sandbox whatever goes wrong; texts of handsets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from tests.stack.conftest import Api
from tests.stack.product import CHECKOUT, Json, eventually, number

HOST = "https://api.voipbin.net"

# As they stand on the page; which one has which token is the page's own.
OLDER = "curl -X GET 'https://api.voipbin.net/v1.0/number_availables?token=<token>&country=US&type=local'"
NORMAL = (
    "curl -k --location --request GET "
    "'https://api.voipbin.net/v1.0/available_numbers?token=<YOUR_AUTH_TOKEN>&country_code=US&page_size=5'"
)
VIRTUAL = (
    "curl -k --location --request GET "
    "'https://api.voipbin.net/v1.0/available_numbers?token=<YOUR_AUTH_TOKEN>&type=virtual&page_size=5'"
)


async def paste(env: Mapping[str, str], token: str, command: str) -> Any:
    """Run a command of the page in a shell, with host and token replaced. The decoded answer."""
    command = command.replace(HOST, env["RINGLINE_API_URL"])
    command = command.replace("<YOUR_AUTH_TOKEN>", token).replace("<token>", token)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


@pytest.fixture(scope="module")
async def token(env: Mapping[str, str]) -> str:
    body = {"username": env["RINGLINE_ADMIN_USERNAME"], "password": env["RINGLINE_ADMIN_PASSWORD"]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{env['RINGLINE_API_URL']}/auth/login", json=body) as response,
    ):
        return str((await response.json())["token"])


class Carrier:
    """The sandbox asked past Ringline."""

    def __init__(self, session: aiohttp.ClientSession, env: Mapping[str, str]) -> None:
        self._session = session
        self._url = env["RINGLINE_CARRIER_CONTROL_URL"]
        self._messages = CHECKOUT / env.get("RINGLINE_VAR_DIR", "var/test") / "carrier" / "messages.jsonl"

    async def held(self, number: str) -> list[Json]:
        """The number as the sandbox's customer holds it."""
        async with self._session.get(f"{self._url}/v1/numbers", params={"number": number}) as response:
            found: list[Json] = (await response.json())["numbers"]
            return found

    async def texts(self, of: str) -> list[str]:
        """What a handset got."""
        async with self._session.get(f"{self._url}/handset/texts", params={"of": of}) as response:
            return [one["text"] for one in (await response.json())["texts"]]

    async def text(self, source: str, to: str, text: str) -> int:
        """A handset texts a number."""
        body = {"from": source, "to": to, "text": text}
        async with self._session.post(f"{self._url}/handset/texts", json=body) as response:
            return response.status

    def lines(self, handset: str) -> list[Json]:
        """What ``messages.jsonl`` says of a handset."""
        # the last one may still be in the writing
        lines = [json.loads(line) for line in self._messages.read_bytes().split(b"\n")[:-1]]
        return [line for line in lines if handset in (line["from"], line["to"])]


@pytest.fixture
async def carrier(env: Mapping[str, str]) -> AsyncIterator[Carrier]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield Carrier(session, env)


class Shopper:
    """Buys numbers, and gives them back when the test is over."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._bought: list[str] = []

    async def find(self, ending: str) -> str:
        """A number for sale that ends so."""
        answer = await self._api.get(
            "/v1.0/available_numbers", country_code="US", type="local", contains=ending, page_size="200"
        )
        return next(row["number"] for row in answer["result"] if row["number"].endswith(ending))

    async def buy(self, number: str) -> tuple[int, Any]:
        status, answer = await self._api.call("POST", "/v1.0/numbers", {"number": number})
        if status == 200:
            self._bought.append(answer["id"])
        return status, answer

    async def active(self, number_id: str) -> Json:
        async def look() -> Json | None:
            row: Json = await self._api.get(f"/v1.0/numbers/{number_id}")
            return row if row["status"] == "active" else None

        found: Json = await eventually(look, "the number is active", within=60, every=0.3)
        return found

    async def release(self) -> None:
        for number_id in self._bought:
            await self._api.call("DELETE", f"/v1.0/numbers/{number_id}")


@pytest.fixture
async def shopper(api: Api) -> AsyncIterator[Shopper]:
    shopper = Shopper(api)
    yield shopper
    await shopper.release()


async def test_the_searches_of_the_page(env: Mapping[str, str], token: str) -> None:
    older, normal, virtual = await asyncio.gather(
        *(paste(env, token, one) for one in (OLDER, NORMAL, VIRTUAL))
    )
    assert list(older) == list(normal) == list(virtual) == ["result"]
    assert older["result"]
    for row in older["result"]:
        assert list(row) == ["number", "country", "type", "region", "city"]
        assert (row["country"], row["type"]) == ("US", "local")
    assert any((row["region"], row["city"]) == ("California", "San Francisco") for row in older["result"])
    assert ["emergency", "fax", "voice", "sms", "mms"] in [row["features"] for row in normal["result"]]
    assert len(normal["result"]) == len(virtual["result"]) == 5
    for row in normal["result"]:
        assert list(row) == ["number", "country", "region", "postal_code", "features"]
        assert set(row["features"]) <= {"emergency", "fax", "voice", "sms", "mms"}
    for row in virtual["result"]:
        assert row["number"].startswith("+8991000")
        assert row == {
            "number": row["number"],
            "country": "",
            "region": "",
            "postal_code": "",
            "features": [],
        }


async def test_bought_confirmed_texted_and_given_back(
    env: Mapping[str, str], token: str, api: Api, carrier: Carrier, shopper: Shopper
) -> None:
    wanted = await shopper.find("4521")
    command = (
        "curl -k --location --request POST 'https://api.voipbin.net/v1.0/numbers?token=<YOUR_AUTH_TOKEN>' "
        f"--header 'Content-Type: application/json' --data-raw '{{ \"number\": \"{wanted}\" }}'"
    )
    bought = await paste(env, token, command)
    assert (bought["number"], bought["status"]) == (wanted, "purchase-pending")
    shown = await api.get("/v1.0/available_numbers", country_code="US", contains=wanted[1:])
    assert shown["result"] == []
    assert (await shopper.active(bought["id"]))["status"] == "active"

    async def configured() -> bool:
        (held,) = await carrier.held(wanted)
        return bool(held["voice"] and held["messaging"])

    await eventually(configured, "calls and texts are pointed at us", within=30)

    handset = number("7788")
    assert await carrier.text(handset, wanted, "HOURS \u2603") == 201

    async def arrived() -> bool:
        rows = (await api.get("/v1.0/messages", page_size="50"))["result"]
        return any((row["source"]["target"], row["text"]) == (handset, "HOURS \u2603") for row in rows)

    await eventually(arrived, "the text is a message", within=30, every=0.3)
    (line,) = await eventually(lambda: carrier.lines(handset), "the text is written down")
    assert (line["to"], line["parts"], line["media"]) == (wanted, 1, [])

    echo = number("0008")
    body = {
        "source": {"type": "tel", "target": wanted},
        "destinations": [{"type": "tel", "target": echo}],
        "text": "there and back",
    }
    await api.post("/v1.0/messages", body)

    async def echoed() -> bool:
        rows = (await api.get("/v1.0/messages", page_size="50"))["result"]
        return any((row["source"]["target"], row["text"]) == (echo, "there and back") for row in rows)

    await eventually(echoed, "the handset has echoed the text", within=30, every=0.3)
    assert await carrier.texts(echo) == ["there and back"]

    assert (await api.delete(f"/v1.0/numbers/{bought['id']}"))["status"] == "deleted"

    async def given_back() -> bool:
        answer = await api.get(
            "/v1.0/available_numbers", country_code="US", type="local", contains=wanted[1:]
        )
        return not await carrier.held(wanted) and wanted in [row["number"] for row in answer["result"]]

    await eventually(given_back, "the number is for sale again", within=60, every=0.5)


async def test_orders_that_go_wrong_end_in_one_number(carrier: Carrier, shopper: Shopper) -> None:
    """500 or a cut-off answer after it was ordered, 429, webhook before the answer, webhook twice."""

    async def one(ending: str) -> None:
        wanted = await shopper.find(ending)
        status, bought = await shopper.buy(wanted)
        assert status == 200, bought
        await shopper.active(bought["id"])
        (held,) = await carrier.held(wanted)
        assert held["number"] == wanted

    await asyncio.gather(*(one(ending) for ending in ("0904", "0905", "0906", "0908", "0909")))


async def test_orders_that_are_refused_or_rejected(api: Api, carrier: Carrier, shopper: Shopper) -> None:
    refused, rejected = await shopper.find("0901"), await shopper.find("0902")
    status, answer = await shopper.buy(refused)
    assert status == 409, answer
    assert "cannot be sold" in answer["error"]["message"]
    status, pending = await shopper.buy(rejected)
    assert (status, pending["status"]) == (200, "purchase-pending")

    async def told() -> bool:
        rows = (await api.get("/v1.0/numbers", status="deleted", page_size="50"))["result"]
        return any(row["id"] == pending["id"] and "rejected" in row["status_reason"] for row in rows)

    await eventually(told, "the customer is told", within=40, every=0.3)
    assert await carrier.held(refused) == await carrier.held(rejected) == []
