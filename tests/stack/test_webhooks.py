"""Events of real calls, as an application gets them: signed, in order, at the addresses it named."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.stack.conftest import Api
from tests.stack.files import allowed_address
from tests.stack.product import HANGUP, Json, Product, eventually, number
from tests.stack.servers import Servers


@pytest.fixture
async def servers(env: Mapping[str, str]) -> AsyncIterator[Servers]:
    made = await Servers(allowed_address(env)).start()
    for path in ("/events", "/own"):
        made.answers[path] = {}
    yield made
    await made.close()


@pytest.fixture
async def endpoint(api: Api, servers: Servers) -> AsyncIterator[Json]:
    made = await api.post("/v1.0/webhooks", {"uri": servers.url("events"), "events": ["call_*"]})
    yield made
    await api.delete(f"/v1.0/webhooks/{made['id']}")


def about(servers: Servers, path: str, resource_id: str) -> list[Json]:
    """The events of one resource that have come there, each once."""
    found = {said["id"]: said for said in servers.bodies(path) if said["resource_id"] == resource_id}
    return list(found.values())


async def test_a_call_is_told_signed_and_in_order(
    product: Product, api: Api, servers: Servers, endpoint: Json
) -> None:
    call = await product.place(number("0007"), HANGUP, webhook_uri=servers.url("own"))
    await product.ended(call)

    def told(path: str) -> bool:
        return "call_hangup" in {said["type"] for said in about(servers, path, call["id"])}

    await eventually(lambda: told("/events") and told("/own"), "both were told that it ended", within=60)
    events = about(servers, "/events", call["id"])
    assert [said["sequence"] for said in events] == list(range(1, len(events) + 1))
    names = [said["type"] for said in events]
    assert names[0] == "call_created" and names.index("call_progressing") < names.index("call_hangup")
    ended = events[names.index("call_hangup")]
    assert ended["data"]["id"] == call["id"] and ended["data"]["status"] == "hangup"
    assert ended["activeflow_id"] == call["activeflow_id"] and ended["resource"] == "call"
    for method, headers, body in servers.seen("/events"):
        said: Any = Webhook(endpoint["secret"]).verify(body, headers)
        assert (method, said["id"]) == ("POST", headers["webhook-id"])
    # the flow's own webhook is told of that flow only
    assert {said["activeflow_id"] for said in servers.bodies("/own")} == {call["activeflow_id"]}
    shown = await api.get(f"/v1.0/activeflows/{call['activeflow_id']}")
    assert (shown["webhook_uri"], shown["webhook_method"]) == (servers.url("own"), "POST")

    async def listed() -> list[Json]:
        page = await api.get(
            "/v1.0/webhook_deliveries", webhook_id=endpoint["id"], resource_id=call["id"], status="delivered"
        )
        found: list[Json] = page["result"]
        # something may follow the end, too
        return found if {one["event_id"] for one in found} >= {said["id"] for said in events} else []

    deliveries = await eventually(listed, "all are noted as delivered", within=60)
    assert all(one["attempts"][-1]["status"] == 200 for one in deliveries)


async def test_a_new_secret_signs_beside_the_old_one(api: Api, servers: Servers, endpoint: Json) -> None:
    new = (await api.post(f"/v1.0/webhooks/{endpoint['id']}/rotate_secret"))["secret"]
    answer = await api.post(f"/v1.0/webhooks/{endpoint['id']}/test")
    assert (answer["delivered"], answer["attempt"]["status"]) == (True, 200)
    [(_, headers, body)] = [
        one for one in servers.seen("/events") if json.loads(one[2])["id"] == answer["event_id"]
    ]
    for secret in (endpoint["secret"], new):
        said: Any = Webhook(secret).verify(body, headers)
        assert said["type"] == "webhook_test"


async def test_nothing_is_sent_into_private_networks(api: Api, servers: Servers) -> None:
    for uri in ("http://127.0.0.1:9/", "http://10.0.0.1/", "http://[::1]/"):
        status, answer = await api.call("POST", "/v1.0/webhooks", {"uri": uri})
        assert status == 400 and "not a public address" in answer["error"]["message"]
    # a name is judged by what it leads to, when it is connected to; a redirect is not followed
    servers.answers["/moved"] = lambda _: web.Response(
        status=302, headers={"Location": servers.url("events")}
    )
    for uri, status, error in (
        (f"http://localhost:{servers.port}/events", 0, "not a public address"),
        (servers.url("moved"), 302, "answered 302"),
    ):
        made = await api.post("/v1.0/webhooks", {"uri": uri, "events": ["webhook_disabled"]})
        answer = await api.post(f"/v1.0/webhooks/{made['id']}/test")
        await api.delete(f"/v1.0/webhooks/{made['id']}")
        assert not answer["delivered"] and answer["attempt"]["status"] == status
        assert error in answer["attempt"]["error"]
    assert not servers.seen("/events")
