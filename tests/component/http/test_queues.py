"""The API of queues and queuecalls on a real database: what is checked, who sees what, and what is counted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline.http import utc_now
from ringline.queues.queuecall import Queuecall
from ringline.queues.states import EndReason, Status
from ringline.queues.store import UPSERT
from ringline.sip.address import Address
from ringline.storage import WriteBehind

from .conftest import Api

HOLD = {"type": "talk", "option": {"text": "Please hold.", "language": "en-US"}}
NONE = "00000000-0000-0000-0000-000000000000"


async def make(api: Api, key: str, **fields: Any) -> dict[str, Any]:
    status, queue = await api.call("POST", "/v1.0/queues", key=key, json=fields)
    assert status == 200, queue
    assert isinstance(queue, dict)
    return queue


async def wait_in(api: Api, queue: dict[str, Any]) -> Queuecall:
    """A queuecall that was stored as the path of events stores them."""
    record = Queuecall(
        id=uuid4(),
        customer_id=UUID(queue["customer_id"]),
        queue_id=UUID(queue["id"]),
        reference_id=uuid4(),
        reference_activeflow_id=uuid4(),
        source=Address(type="tel", target="+15551234567"),
        routing_method="random",
        tag_ids=(uuid4(),),
        timeout_wait=1000,
        timeout_service=0,
        tm_create=utc_now(),
    )
    record.advance(Status.WAITING, utc_now())
    await store(api, record)
    return record


async def store(api: Api, record: Queuecall) -> None:
    behind: WriteBehind[Queuecall] = WriteBehind(api.database, UPSERT, Queuecall.row, name="queuecalls")
    await behind.start()
    behind.touch(record)
    await behind.written(5)
    assert behind.depth == 0
    await behind.close()


async def test_a_queue_is_made_read_changed_and_deleted(api: Api) -> None:
    customer_id, key = await api.another_customer()
    _, tag = await api.call("POST", "/v1.0/tags", key=key, json={"name": "english"})
    flow_id = uuid4()
    api.flows.add((customer_id, flow_id))
    queue = await make(
        api,
        key,
        name="sales",
        tag_ids=[tag["id"]],
        wait_flow_id=str(flow_id),
        wait_actions=[HOLD],
        wait_timeout=30_000,
    )
    assert (queue["routing_method"], queue["service_timeout"]) == ("random", 0)
    assert (queue["wait_flow_id"], queue["wait_actions"][0]["type"]) == (str(flow_id), "talk")
    assert (queue["wait_queuecall_ids"], queue["service_queuecall_ids"]) == ([], [])
    one = f"/v1.0/queues/{queue['id']}"
    _, changed = await api.call("PUT", one, key=key, json={"detail": "first floor"})
    assert (changed["name"], changed["detail"], changed["tag_ids"]) == ("sales", "first floor", [tag["id"]])
    _, changed = await api.call(
        "PUT", f"{one}/routing_method", key=key, json={"routing_method": "round_robin"}
    )
    assert (changed["routing_method"], changed["wait_timeout"]) == ("round_robin", 30_000)
    status, answer = await api.call("DELETE", f"/v1.0/tags/{tag['id']}", key=key)
    assert (status, answer["error"]["details"]) == (409, [{"queue_id": queue["id"]}])
    _, changed = await api.call("PUT", f"{one}/tag_ids", key=key, json={"tag_ids": []})
    assert changed["tag_ids"] == []
    assert (await api.call("DELETE", f"/v1.0/tags/{tag['id']}", key=key))[0] == 200
    known = api.queues.by_id(UUID(queue["id"]))
    assert known is not None
    assert (known.routing_method, known.tag_ids, known.wait_flow_id) == ("round_robin", (), flow_id)
    status, _ = await api.call("DELETE", one, key=key)
    assert (status, api.queues.by_id(UUID(queue["id"]))) == (200, None)
    assert (await api.call("GET", one, key=key))[0] == 404


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({"routing_method": "loudest"}, 400, "routing_method"),
        ({"wait_timeout": -1}, 400, "wait_timeout"),
        ({"service_timeout": 86_400_001}, 400, "service_timeout"),
        ({"tag_ids": [str(uuid4())]}, 400, "tag_ids[0]"),
        ({"wait_flow_id": str(uuid4())}, 404, "wait_flow_id"),
        ({"wait_actions": [{"type": "dance"}]}, 400, "wait_actions[0]"),
        ({"wait_actions": [{**HOLD, "next_id": str(uuid4())}]}, 400, "wait_actions[0].next_id"),
        ({"unknown": 1}, 400, "unknown"),
    ],
)
async def test_what_cannot_be_a_queue(api: Api, fields: dict[str, Any], status: int, named: str) -> None:
    answered, answer = await api.call("POST", "/v1.0/queues", json=fields)
    assert (answered, named in str(answer)) == (status, True), answer


async def test_only_admins_change_queues(api: Api) -> None:
    _, key = await api.another_customer()
    queue = await make(api, key)
    body = {"username": f"{uuid4().hex}@example.com", "password": "long enough"}
    await api.call("POST", "/v1.0/agents", key=key, json=body)
    async with api.session.post(f"{api.url}/auth/login", json=body) as response:
        token = (await response.json())["token"]
    one = f"/v1.0/queues/{queue['id']}"
    assert (await api.call("GET", one, key=token))[0] == 200
    for method, path, change in (
        ("POST", "/v1.0/queues", {}),
        ("PUT", one, {"name": "x"}),
        ("PUT", f"{one}/tag_ids", {"tag_ids": []}),
        ("DELETE", one, None),
    ):
        assert (await api.call(method, path, key=token, json=change))[0] == 403


async def test_tenants_do_not_see_each_other(api: Api) -> None:
    _, key = await api.another_customer()
    _, other = await api.another_customer()
    queue = await make(api, key)
    record = await wait_in(api, queue)
    for method, path, body in (
        ("GET", f"/v1.0/queues/{queue['id']}", None),
        ("PUT", f"/v1.0/queues/{queue['id']}", {"name": "x"}),
        ("DELETE", f"/v1.0/queues/{queue['id']}", None),
        ("GET", f"/v1.0/queuecalls/{record.id}", None),
        ("POST", f"/v1.0/queuecalls/{record.id}/kick", None),
        ("POST", f"/v1.0/queuecalls/reference_id/{record.reference_id}/kick", None),
        ("DELETE", f"/v1.0/queuecalls/{record.id}", None),
    ):
        status, answer = await api.call(method, path, key=other, json=body)
        assert (status, "NOT_FOUND" in answer["error"]["reason"]) == (404, True), (method, path)
    for path in ("queues", "queuecalls"):
        _, page = await api.call("GET", f"/v1.0/{path}", key=other)
        assert page["result"] == []
    shown, _ = await api.call("GET", f"/v1.0/queuecalls/{record.id}", key=key)
    assert shown == 200


async def test_queuecalls_are_counted_once_however_often_they_are_written(api: Api) -> None:
    _, key = await api.another_customer()
    queue = await make(api, key)
    served, abandoned = await wait_in(api, queue), await wait_in(api, queue)
    served.advance(Status.CONNECTING, utc_now())
    served.advance(Status.SERVICE, utc_now())
    for _ in range(2):
        await store(api, served)
    served.end(EndReason.AGENT_HANGUP, utc_now() + timedelta(seconds=5))
    abandoned.end(EndReason.WAIT_TIMEOUT, utc_now())
    for record in (served, abandoned, served, abandoned):
        await store(api, record)
    _, shown = await api.call("GET", f"/v1.0/queues/{queue['id']}", key=key)
    counts = [shown[f"total_{what}_count"] for what in ("incoming", "serviced", "abandoned")]
    assert counts == [2, 1, 1]
    _, one = await api.call("GET", f"/v1.0/queuecalls/{served.id}", key=key)
    assert (one["status"], one["end_reason"], one["service_agent_id"]) == ("done", "agent_hangup", NONE)
    assert 4500 < one["duration_service"] < 6000
    assert one["source"]["target"] == "+15551234567"
    _, page = await api.call("GET", "/v1.0/queuecalls", key=key, params={"status": "abandoned"})
    assert [row["id"] for row in page["result"]] == [str(abandoned.id)]
    for name, value in (("queue_id", queue["id"]), ("reference_id", str(served.reference_id))):
        _, page = await api.call("GET", "/v1.0/queuecalls", key=key, params={name: value})
        assert str(served.id) in [row["id"] for row in page["result"]]
    status, _ = await api.call("GET", "/v1.0/queuecalls", key=key, params={"status": "dancing"})
    assert status == 400
    # who is not in a queue any more is not kicked, and that is no fault
    status, kicked = await api.call("POST", f"/v1.0/queuecalls/{served.id}/kick", key=key)
    assert (status, kicked["end_reason"]) == (200, "agent_hangup")
    status, _ = await api.call("DELETE", f"/v1.0/queuecalls/{served.id}", key=key)
    assert (status, (await api.call("GET", f"/v1.0/queuecalls/{served.id}", key=key))[0]) == (200, 404)
