"""Texts through the whole stack: the sandbox's handsets text a number that was bought, and hear from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

import aiohttp
import pytest

from tests.stack.conftest import Api
from tests.stack.containers import Containers
from tests.stack.product import CHECKOUT, Json, Product, eventually, number
from tests.stack.test_recovery import kill

EXAMPLE = CHECKOUT / "docs" / "examples" / "sms-auto-responder.json"
SEEDED = "+15551234567"


class Handsets:
    """The far side: what handsets got, and what they say."""

    def __init__(self, session: aiohttp.ClientSession, env: Mapping[str, str]) -> None:
        self._session = session
        self._url = env["RINGLINE_CARRIER_CONTROL_URL"]

    async def got(self, handset: str) -> list[str]:
        async with self._session.get(f"{self._url}/handset/texts", params={"of": handset}) as response:
            return [one["text"] for one in (await response.json())["texts"] if one["to"] == handset]

    async def say(self, handset: str, to: str, text: str) -> None:
        body = {"from": handset, "to": to, "text": text}
        async with self._session.post(f"{self._url}/handset/texts", json=body) as response:
            assert response.status == 201, await response.text()

    async def hears(self, handset: str, *texts: str) -> None:
        async def look() -> bool:
            return await self.got(handset) == list(texts)

        await eventually(look, f"{handset} has {texts}", within=30, every=0.3)


@pytest.fixture
async def handsets(env: Mapping[str, str]) -> AsyncIterator[Handsets]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield Handsets(session, env)


@pytest.fixture
async def bought(api: Api, handsets: Handsets) -> AsyncIterator[Json]:
    """A number that texts reach."""
    search = await api.get("/v1.0/available_numbers", country_code="US", features="sms", page_size="20")
    for row in search["result"]:
        status, answer = await api.call("POST", "/v1.0/numbers", {"number": row["number"]})
        if status == 200:
            break
    one = f"/v1.0/numbers/{answer['id']}"
    first = number("7700")

    async def active() -> bool:
        return bool((await api.get(one))["status"] == "active")

    async def reached() -> bool:
        # texts of while it was being bought would be kept, and reach the flows that tests set afterwards
        if not said:
            await handsets.say(first, answer["number"], "are you there")
            said.append(first)
        return bool((await api.get("/v1.0/messages", direction="inbound", source=first))["result"])

    said: list[str] = []
    await eventually(active, "the number is bought", within=40, every=0.5)
    await eventually(reached, "the number takes texts", within=40, every=0.3)
    yield answer
    await api.call("DELETE", one)


async def test_the_auto_responder_of_the_seed_page(api: Api, handsets: Handsets, bought: Json) -> None:
    person, agent, helped = number("7711"), number("7712"), number("7713")
    flow = json.loads(EXAMPLE.read_text().replace("+12025550143", agent))
    made = await api.post("/v1.0/flows", flow)
    await api.call("PUT", f"/v1.0/numbers/{bought['id']}", {"message_flow_id": made["id"]})
    ours = bought["number"]
    await handsets.say(person, ours, "HOURS")
    await handsets.say(helped, ours, "ｈｅｌｐ\u200b!")
    await handsets.hears(person, "We're open Mon-Fri 9-5")
    await handsets.hears(helped, flow["actions"][2]["option"]["text"])
    await handsets.say(person, ours, "Is there parking? 🚗")
    await handsets.hears(agent, f"From {person}: Is there parking? 🚗")
    await handsets.say(person, ours, "Stop.")
    confirmed = [
        "We're open Mon-Fri 9-5",
        "You will get no more messages from this number. Reply START to get them again.",
    ]
    await handsets.hears(person, *confirmed)
    refused = await api.post(
        "/v1.0/messages", {"source": ours, "destinations": [person], "text": "still there?"}
    )
    assert (refused["status"], refused["targets"][0]["reason"]) == ("failed", "opted_out")
    optouts = (await api.get("/v1.0/message_optouts", handset=person))["result"]
    assert [(row["number"], row["handset"]) for row in optouts] == [(ours, person)]
    heard = (await api.get("/v1.0/messages", direction="inbound", source=person))["result"]
    assert [row["text"] for row in heard] == ["Stop.", "Is there parking? 🚗", "HOURS"]

    async def ran() -> bool:
        run = await api.get("/v1.0/activeflows", reference_id=heard[0]["id"])
        return [(row["reference_type"], row["status"]) for row in run["result"]] == [("message", "ended")]

    await eventually(ran, "the flow of the last text is over", within=30, every=0.3)

    async def delivered() -> bool:
        sent = (await api.get("/v1.0/messages", destination=person, source=ours, status="delivered"))[
            "result"
        ]
        return [row["text"] for row in sent] == confirmed[::-1]

    await eventually(delivered, "the reports of both texts", within=30, every=0.3)


async def test_every_kind_of_handset_is_texted_once_and_its_fate_told(
    api: Api, handsets: Handsets, bought: Json
) -> None:
    fates = {
        number("0001"): ("failed", "undelivered"),
        number("0004"): ("failed", "refused"),
        number("0005"): ("delivered", ""),
        number("0007"): ("delivered", ""),
        number("0012"): ("delivered", ""),
        number("0013"): ("delivered", ""),
        number("0014"): ("delivered", ""),
        "+899000000000": ("failed", "unknown_number"),
    }
    body = {"source": bought["number"], "destinations": list(fates), "text": "once"}
    message = await api.post("/v1.0/messages", body)

    async def told() -> bool:
        shown = await api.get(f"/v1.0/messages/{message['id']}")
        return {t["destination"]["target"]: (t["status"], t["reason"]) for t in shown["targets"]} == fates

    await eventually(told, "what became of each", within=60, every=0.5)
    for handset, (status, _) in fates.items():
        if status == "delivered":
            assert await handsets.got(handset) == ["once"]


async def test_texts_inside_need_nobody(api: Api) -> None:
    message = await api.post(
        "/v1.0/messages",
        {
            "source": {"type": "tel", "target": SEEDED},
            "destinations": ["+15559876543"],
            "text": "'; DROP TABLE messages; --",
        },
    )
    assert (message["status"], message["targets"][0]["status"]) == ("delivered", "delivered")
    found = await api.get("/v1.0/messages", direction="inbound", destination="+15559876543", page_size="1")
    assert found["result"][0]["text"] == "'; DROP TABLE messages; --"
    one = f"/v1.0/messages/{message['id']}"
    assert (await api.call("DELETE", one))[0] == 200
    assert (await api.call("GET", one))[0] == 404


BAD: list[tuple[Any, str]] = [
    ({}, "destinations"),
    ({"destinations": []}, "destinations"),
    ({"destinations": "+12025550143"}, "destinations"),
    ({"destinations": [5]}, "destinations[0]"),
    ({"destinations": [None]}, "destinations[0]"),
    ({"destinations": ["555"]}, "destinations[0].target"),
    ({"destinations": [{"type": "tel", "target": "+12025550143", "number": 1}]}, "destinations[0].number"),
    ({"destinations": [{"type": "fax", "target": "+12025550143"}]}, "destinations[0].type"),
    ({"destinations": [f"+1202555{n:04d}" for n in range(101)]}, "destinations"),
    ({"text": 5}, "text"),
    ({"text": "x" * 10_000}, "text"),
    ({"text": ""}, "text"),
    ({"text": "a\x00b"}, ""),
    ({"source": 5}, "source"),
    ({"source": []}, "source"),
    ({"source": {"type": "tel", "target": "x" * 300}}, "source.target"),
    ({"source": {"type": "sip", "target": "a@b"}}, "source.type"),
    ({"type": "fax"}, "type"),
    ({"media": ["ftp://example.com/a"]}, "media[0]"),
    ({"media": ["http://10.0.0.1/a"]}, "media[0]"),
    ({"media": ["https://example.com/a"] * 11}, "media"),
    ({"subject": "hello"}, "subject"),
]


async def test_bad_input_names_its_field(api: Api) -> None:
    good = {"source": SEEDED, "destinations": ["+15559876543"], "text": "hello"}

    async def refused(change: Any, field: str) -> None:
        body = {**good, **change} if change else {"text": "hello"}
        status, answer = await api.call("POST", "/v1.0/messages", body)
        assert status == 400, (change, answer)
        details = answer["error"]["details"]
        assert not field or field in [detail["field"] for detail in details], (change, answer["error"])

    await asyncio.gather(*(refused(change, field) for change, field in BAD))
    for query in ({"status": "lost"}, {"direction": "up"}, {"page_size": "0"}, {"page_token": "x"}):
        status, _ = await api.call("GET", f"/v1.0/messages?{'&'.join(f'{k}={v}' for k, v in query.items())}")
        assert status == 400, query


async def test_the_same_key_sends_once(api: Api, env: Mapping[str, str]) -> None:
    body = {"source": SEEDED, "destinations": ["+15559876543"], "text": f"once {number()}"}
    headers = {"Authorization": f"Bearer {env['RINGLINE_ACCESSKEY']}", "Idempotency-Key": f"text-{number()}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        ids = set()
        for _ in range(3):
            async with session.post(f"{env['RINGLINE_API_URL']}/v1.0/messages", json=body) as response:
                assert response.status == 200
                ids.add((await response.json())["id"])
    assert len(ids) == 1
    found = await api.get("/v1.0/messages", direction="inbound", destination="+15559876543", page_size="20")
    assert [row["text"] for row in found["result"]].count(body["text"]) == 1


@pytest.mark.timeout(600)
async def test_killed_controllers_lose_nothing_and_repeat_nothing(
    product: Product, containers: Containers, handsets: Handsets, bought: Json
) -> None:
    """Texts wait, flows run and texts arrive while the process is killed, twice: each is sent and answered once."""
    api, ours = product.api, bought["number"]
    echo = {
        "type": "message_send",
        "option": {
            "destinations": [{"type": "tel", "target": "${voipbin.message.source.target}"}],
            "text": "you said ${voipbin.message.text}",
        },
    }
    made = await api.post("/v1.0/flows", {"name": "echo", "actions": [echo]})
    await api.call("PUT", f"/v1.0/numbers/{bought['id']}", {"message_flow_id": made["id"]})
    reached = [number(f"77{index:02d}") for index in range(20, 25)]
    asking = [number(f"77{index:02d}") for index in range(30, 34)]
    body = {"source": ours, "destinations": reached, "text": "once"}
    message = await api.post("/v1.0/messages", body)
    for turn in range(2):
        first, second = asking[2 * turn : 2 * turn + 2]
        await handsets.say(first, ours, "before")
        await asyncio.sleep(0.05 * turn)
        died = asyncio.Event()
        killing = asyncio.create_task(kill(product, containers, died=died))
        await died.wait()
        await handsets.say(second, ours, "meanwhile")
        await killing

    async def told() -> bool:
        shown = await api.get(f"/v1.0/messages/{message['id']}")
        return {target["status"] for target in shown["targets"]} == {"delivered"}

    # one that was being handed over is looked up at the provider only after its answer cannot come any more
    await eventually(told, "every target's fate", within=240, every=0.5)
    for index, handset in enumerate(asking):
        said = "meanwhile" if index % 2 else "before"
        await eventually(
            partial(_answered, handsets, handset, said), f"{handset} is answered", within=240, every=0.5
        )
    for handset in reached:
        assert await handsets.got(handset) == ["once"]


async def _answered(handsets: Handsets, handset: str, said: str) -> bool:
    got = await handsets.got(handset)
    assert len(got) <= 1, got
    return got == [f"you said {said}"]
