"""Agents and tags: who may do what, what is never shown, and who must remain."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline.customers import Engagement
from ringline.customers.agents import service
from ringline.customers.agents.models import AgentCreate
from ringline.customers.tables import agents
from ringline.errors import ResourceExhausted
from ringline.http import Permission, Principal

from .conftest import ADMIN_PASSWORD, Api

TEL = {"type": "tel", "target": "+15559876543"}


def person(**fields: Any) -> dict[str, Any]:
    return {"username": f"{uuid4().hex}@example.com", "password": "long enough", **fields}


async def make(api: Api, key: str, **fields: Any) -> dict[str, Any]:
    status, agent = await api.call("POST", "/v1.0/agents", key=key, json=person(**fields))
    assert status == 200, agent
    assert isinstance(agent, dict)
    return agent


async def login(api: Api, username: str, password: str) -> tuple[int, str]:
    body = {"username": username, "password": password}
    async with api.session.post(f"{api.url}/auth/login", json=body) as response:
        answer = await response.json()
        return response.status, answer.get("token", "")


async def test_an_agent_is_made_read_changed_and_deleted(api: Api) -> None:
    _, key = await api.another_customer()
    _, tag = await api.call("POST", "/v1.0/tags", key=key, json={"name": "english"})
    agent = await make(api, key, name="Ada", addresses=[TEL], tag_ids=[tag["id"]], ring_method="linear")
    assert (agent["status"], agent["permission"]) == ("offline", 16)
    assert agent["addresses"][0]["target"] == TEL["target"]
    assert "password" not in str(agent)
    one = f"/v1.0/agents/{agent['id']}"
    _, shown = await api.call("GET", one, key=key)
    assert shown == agent
    _, changed = await api.call("PUT", one, key=key, json={"detail": "first line"})
    assert (changed["name"], changed["detail"], changed["ring_method"]) == ("Ada", "first line", "linear")
    for part, value in (
        ("addresses", []),
        ("status", "away"),
        ("tag_ids", []),
        ("permission", 48),
    ):
        status, changed = await api.call("PUT", f"{one}/{part}", key=key, json={part: value})
        assert (status, changed[part]) == (200, value)
    agent_id = UUID(agent["id"])
    known = api.agents.by_id(agent_id)
    assert known is not None
    assert (known.status, known.addresses, known.permission) == ("away", (), 48)
    _, page = await api.call("GET", "/v1.0/agents", key=key)
    assert agent["id"] in [row["id"] for row in page["result"]]
    status, gone = await api.call("DELETE", one, key=key)
    assert (status, gone["tm_delete"] is not None) == (200, True)
    assert (await api.call("GET", one, key=key))[0] == 404
    assert api.agents.by_id(agent_id) is None


async def test_a_password_logs_in_and_is_stored_as_a_hash(api: Api) -> None:
    _, key = await api.another_customer()
    body = person()
    _, agent = await api.call("POST", "/v1.0/agents", key=key, json=body)
    status, token = await login(api, body["username"].upper(), "long enough")
    assert status == 200
    one = f"/v1.0/agents/{agent['id']}"
    status, _ = await api.call("PUT", f"{one}/password", key=token, json={"password": "another one"})
    assert status == 200, "an agent changes its own password"
    assert (await login(api, body["username"], "long enough"))[0] == 401
    assert (await login(api, body["username"], "another one"))[0] == 200
    async with api.database.connect() as connection:
        row = (await connection.execute(agents.select().where(agents.c.id == agent["id"]))).one()
    assert row.password_hash.startswith("$argon2id$")


async def test_a_name_is_taken_once(api: Api) -> None:
    _, key = await api.another_customer()
    _, other = await api.another_customer()
    body = person()
    assert (await api.call("POST", "/v1.0/agents", key=key, json=body))[0] == 200
    status, answer = await api.call(
        "POST", "/v1.0/agents", key=other, json={**body, "username": body["username"].upper()}
    )
    assert (status, answer["error"]["reason"]) == (409, "USERNAME_TAKEN")
    assert "username" in answer["error"]["message"]


async def test_names_that_are_taken_cannot_be_tried_without_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id, key = await api.another_customer()
    other_id, _ = await api.another_customer()
    body = person()
    assert (await api.call("POST", "/v1.0/agents", key=key, json=body))[0] == 200
    monkeypatch.setattr(service, "TAKEN_AT_ONCE", 2)
    agents_of = service.AgentService(api.database, api.agents, api.presence)
    owner, other = (
        Principal(one, None, uuid4(), Permission.CUSTOMER_ADMIN) for one in (customer_id, other_id)
    )
    for _ in range(2):
        with pytest.raises(service.UsernameTaken):
            await agents_of.create(other, AgentCreate(**body))
    for wanted in (body, person()):
        with pytest.raises(ResourceExhausted) as refused:
            await agents_of.create(other, AgentCreate(**wanted))
        assert 1 <= refused.value.details[0]["retry_after"] <= 60, "whether it is free or taken"
    assert (await agents_of.create(owner, AgentCreate(**person()))).customer_id == customer_id


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"password": "short"}, "password"),
        ({"username": "two words"}, "username"),
        ({"ring_method": "all"}, "ring_method"),
        ({"addresses": [{"type": "tel", "target": "555"}]}, "addresses"),
        ({"addresses": [{"type": "agent", "target": str(uuid4())}]}, "addresses"),
        ({"addresses": [TEL] * 11}, "addresses"),
        ({"addresses": [{"type": "sip", "target": "no address"}]}, "addresses"),
        ({"tag_ids": [str(uuid4())]}, "tag_ids[0]"),
        ({"permission": 65_536}, "permission"),
        ({"status": "available"}, "status"),
    ],
)
async def test_what_cannot_be_an_agent(api: Api, fields: dict[str, Any], named: str) -> None:
    status, answer = await api.call("POST", "/v1.0/agents", json=person(**fields))
    assert status == 400, answer
    assert named in str(answer)


async def test_an_agent_changes_itself_and_nobody_else(api: Api) -> None:
    _, key = await api.another_customer()
    body = person()
    _, agent = await api.call("POST", "/v1.0/agents", key=key, json=body)
    other = await make(api, key)
    _, token = await login(api, body["username"], body["password"])
    one, foreign = f"/v1.0/agents/{agent['id']}", f"/v1.0/agents/{other['id']}"
    assert (await api.call("PUT", f"{one}/status", key=token, json={"status": "available"}))[0] == 200
    assert (await api.call("PUT", f"{one}/addresses", key=token, json={"addresses": [TEL]}))[0] == 200
    assert (await api.call("GET", foreign, key=token))[0] == 200
    for method, path, change in (
        ("PUT", f"{foreign}/status", {"status": "offline"}),
        ("PUT", f"{foreign}/password", {"password": "long enough"}),
        ("PUT", f"{one}/permission", {"permission": 32}),
        ("PUT", one, {"name": "Boss"}),
        ("DELETE", foreign, None),
        ("POST", "/v1.0/agents", person()),
        ("POST", "/v1.0/tags", {"name": "x"}),
    ):
        assert (await api.call(method, path, key=token, json=change))[0] == 403, (method, path)


async def test_without_any_permission_nothing_is_shown(api: Api) -> None:
    _, key = await api.another_customer()
    body = person(permission=0)
    _, agent = await api.call("POST", "/v1.0/agents", key=key, json=body)
    _, token = await login(api, body["username"], body["password"])
    for method, path, change in (
        ("GET", "/v1.0/tags", None),
        ("GET", f"/v1.0/agents/{agent['id']}", None),
        ("PUT", f"/v1.0/agents/{agent['id']}/status", {"status": "available"}),
        ("POST", "/v1.0/tags", {"name": "x"}),
    ):
        status, answer = await api.call(method, path, key=token, json=change)
        assert (status, answer["error"]["reason"]) == (403, "PERMISSION_DENIED"), (method, path)
    permission = f"/v1.0/agents/{agent['id']}/permission"
    for bits, seen in ((16, 200), (0, 403)):
        assert (await api.call("PUT", permission, key=key, json={"permission": bits}))[0] == 200
        assert (await api.call("GET", "/v1.0/tags", key=token))[0] == seen
    assert (await api.call("POST", "/auth/logout", key=token, json={}))[0] == 200


async def test_the_last_admin_stays(api: Api) -> None:
    _, key = await api.another_customer()
    _, page = await api.call("GET", "/v1.0/agents", key=key)
    (first,) = page["result"]
    one = f"/v1.0/agents/{first['id']}"
    status, answer = await api.call("DELETE", one, key=key)
    assert (status, answer["error"]["reason"]) == (409, "LAST_ADMIN")
    status, _ = await api.call("PUT", f"{one}/permission", key=key, json={"permission": 16})
    assert status == 409
    second = await make(api, key, permission=32)
    answers = await asyncio.gather(
        *(api.call("DELETE", f"/v1.0/agents/{agent['id']}", key=key) for agent in (first, second))
    )
    assert sorted(status for status, _ in answers) == [200, 409], "two at once leave one"


async def test_rights_of_the_operator_are_out_of_reach(api: Api) -> None:
    _, key = await api.another_customer()
    status, answer = await api.call("POST", "/v1.0/agents", key=key, json=person(permission=1 + 32))
    assert (status, answer["error"]["reason"]) == (403, "PERMISSION_DENIED")
    # the operator's own agent belongs to the first customer, whose access key is an admin's and no more
    _, page = await api.call("GET", "/v1.0/agents")
    operator = next(agent for agent in page["result"] if agent["permission"] == 65_535)
    one = f"/v1.0/agents/{operator['id']}"
    status, _ = await api.call("PUT", f"{one}/password", json={"password": "taken over"})
    assert status == 403
    assert (await api.call("DELETE", one))[0] == 403
    _, token = await login(api, api.settings.admin_username, ADMIN_PASSWORD)
    status, _ = await api.call("PUT", f"{one}/status", key=token, json={"status": "away"})
    assert status == 200


async def test_tenants_do_not_see_each_other(api: Api) -> None:
    _, key = await api.another_customer()
    _, other = await api.another_customer()
    agent = await make(api, key)
    _, tag = await api.call("POST", "/v1.0/tags", key=key, json={"name": "english"})
    for path in (f"/v1.0/agents/{agent['id']}", f"/v1.0/tags/{tag['id']}"):
        assert (await api.call("GET", path, key=other))[0] == 404
        assert (await api.call("PUT", path, key=other, json={"name": "x"}))[0] == 404
        assert (await api.call("DELETE", path, key=other))[0] == 404
    status, answer = await api.call("POST", "/v1.0/agents", key=other, json=person(tag_ids=[tag["id"]]))
    assert (status, "tag_ids[0]" in answer["error"]["message"]) == (400, True)


async def test_what_an_agent_does_is_shown_over_what_it_chose(api: Api) -> None:
    _, key = await api.another_customer()
    agent = await make(api, key)
    one = f"/v1.0/agents/{agent['id']}"
    await api.call("PUT", f"{one}/status", key=key, json={"status": "available"})
    for engagement in Engagement:
        api.presence.engage(UUID(agent["id"]), "a call", engagement)
        assert (await api.call("GET", one, key=key))[1]["status"] == engagement.value
    await api.call("PUT", f"{one}/status", key=key, json={"status": "away"})
    api.presence.release(UUID(agent["id"]), "a call")
    assert (await api.call("GET", one, key=key))[1]["status"] == "away"
    status, _ = await api.call("PUT", f"{one}/status", key=key, json={"status": "ringing"})
    assert status == 400


async def test_tags_are_kept_while_a_queue_asks_for_them(api: Api) -> None:
    _, key = await api.another_customer()
    _, tag = await api.call("POST", "/v1.0/tags", key=key, json={"name": "english", "detail": "spoken"})
    agent = await make(api, key, tag_ids=[tag["id"]])
    one = f"/v1.0/tags/{tag['id']}"
    _, changed = await api.call("PUT", one, key=key, json={"name": "English"})
    assert (changed["name"], changed["detail"]) == ("English", "spoken")
    queue_id = uuid4()
    api.asked_tags[UUID(tag["id"])] = queue_id
    status, answer = await api.call("DELETE", one, key=key)
    assert (status, answer["error"]["reason"]) == (409, "TAG_IN_USE")
    assert answer["error"]["details"] == [{"queue_id": str(queue_id)}]
    del api.asked_tags[UUID(tag["id"])]
    assert (await api.call("DELETE", one, key=key))[0] == 200
    assert (await api.call("GET", f"/v1.0/agents/{agent['id']}", key=key))[1]["tag_ids"] == []
    _, page = await api.call("GET", "/v1.0/tags", key=key)
    assert page["result"] == []
