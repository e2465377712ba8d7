"""The trail of administrative changes: what is in it, what is not, who reads it, and that it stays as it is."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ringline.audit import Actor, Happening, Trail
from ringline.audit.store import audit_events
from ringline.customers.tables import agents, customers
from ringline.http import Permission, Request, Route, utc_now
from ringline.storage.acting import Acting, current, under

from .conftest import ADMIN_PASSWORD, Api

PASSWORD = "a password that nobody reads"


async def trail(api: Api, key: str, **query: Any) -> list[dict[str, Any]]:
    status, page = await api.call("GET", "/v1.0/audit_events", key=key, params=query)
    assert status == 200, page
    found: list[dict[str, Any]] = page["result"]
    return found


async def project_admin(api: Api) -> str:
    body = {"username": "admin", "password": ADMIN_PASSWORD}
    async with api.session.post(f"{api.url}/auth/login", json=body) as response:
        return str((await response.json())["token"])


async def person(api: Api, key: str) -> dict[str, Any]:
    body = {"username": f"{uuid4().hex}@example.com", "password": PASSWORD, "name": "Ada"}
    status, agent = await api.call("POST", "/v1.0/agents", key=key, json=body)
    assert status == 200, agent
    return {**agent, "body": body}


async def test_a_change_is_written_down_with_who_did_it_and_how_it_was(api: Api) -> None:
    customer_id, key = await api.another_customer()
    agent = await person(api, key)
    one = f"/v1.0/agents/{agent['id']}"
    assert (await api.call("PUT", one, key=key, json={"name": "Ada Lovelace"}))[0] == 200
    assert (await api.call("PUT", one, key=key, json={"name": "Ada Lovelace"}))[0] == 200
    assert (await api.call("PUT", f"{one}/password", key=key, json={"password": "another one"}))[0] == 200
    assert (await api.call("DELETE", one, key=key))[0] == 200
    deleted, password, renamed, created = await trail(api, key, resource="agent", resource_id=agent["id"])
    assert [row["action"] for row in (created, renamed, password, deleted)] == [
        "create",
        "update",
        "update",
        "delete",
    ], "what changes nothing is no change"
    assert renamed["changes"] == {"name": {"before": "Ada", "after": "Ada Lovelace"}}
    assert renamed["operation"] == "PUT /v1.0/agents/{agent_id}"
    assert renamed["actor_type"] == "accesskey"
    assert renamed["accesskey_id"] != str(UUID(int=0))
    assert renamed["remote"] == "127.0.0.1"
    assert renamed["request_id"].startswith("req_")
    assert renamed["customer_id"] == str(customer_id)
    assert created["changes"]["username"]["after"] == agent["username"]
    assert created["changes"]["password_hash"] == {"before": None, "after": "***"}
    assert password["changes"] == {"password_hash": {"before": "***", "after": "***"}}
    text = str(await trail(api, key))
    assert "argon2" not in text
    assert PASSWORD not in text


async def test_a_refused_change_is_not_written_down(api: Api) -> None:
    _, key = await api.another_customer()
    before = await trail(api, key)
    status, _ = await api.call(
        "POST", "/v1.0/agents", key=key, json={"username": "admin", "password": PASSWORD}
    )
    assert status == 409
    assert await trail(api, key) == before


async def test_no_secret_of_any_resource_is_in_it(api: Api) -> None:
    _, key = await api.another_customer()
    secrets = {
        "extension": "Extension-Secret-77",
        "trunk": "Trunk-Secret-77",
        "webhook": "user:WebhookSecret77",
        "query": "QuerySecret77",
    }
    label = f"t{uuid4().hex[:12]}"
    for path, body in (
        ("/v1.0/extensions", {"extension": "ext77", "password": secrets["extension"], "name": "x"}),
        (
            "/v1.0/trunks",
            {
                "name": "t",
                "domain_name": label,
                "auth_types": ["basic"],
                "username": "trunk77",
                "password": secrets["trunk"],
            },
        ),
    ):
        status, answer = await api.call("POST", path, key=key, json=body)
        assert status == 200, answer
    uri = f"https://{secrets['webhook']}@example.com/x?token={secrets['query']}"
    assert (await api.call("PUT", "/v1.0/customer", key=key, json={"webhook_uri": uri}))[0] == 200
    _, made = await api.call("POST", "/v1.0/accesskeys", key=key, json={"name": "k"})
    rows = await trail(api, key)
    assert {row["resource"] for row in rows} >= {"extension", "trunk", "customer", "accesskey"}
    text = str(rows)
    for secret in (*secrets.values(), made["token"]):
        assert secret not in text
    changed = next(row for row in rows if row["resource"] == "customer")
    assert changed["changes"]["webhook_uri"] == {"before": "", "after": "https://***@example.com/x?***"}


async def test_values_within_documents_are_masked_and_long_ones_cut(api: Api) -> None:
    """The functions of the database, on what flows and providers hold."""
    async with api.database.connect() as connection:
        document = (
            '{"option": {"url": "https://a:b@h/p?x=1", "headers": {"Authorization": "Bearer S1"}, "api_key": "S2",'
            ' "list": [{"auth_token": "S3"}, "plain", 7, null]}, "balance_token": 5, "token": ""}'
        )
        masked = await connection.scalar(
            sa.text("SELECT ringline_redacted('', CAST(:value AS jsonb))"), {"value": document}
        )
        long = await connection.scalar(
            sa.text("SELECT ringline_bounded(to_jsonb(repeat('x', 10000)))"),
        )
    assert masked == {
        "option": {
            "url": "https://***@h/p?***",
            "headers": "***",
            "api_key": "***",
            "list": [{"auth_token": "***"}, "plain", 7, None],
        },
        "balance_token": 5,
        "token": "",
    }
    assert long["characters"] == 10_002
    assert len(long["sha256"]) == 64


async def test_each_customer_reads_its_own_and_the_operator_all(api: Api) -> None:
    customer_id, key = await api.another_customer()
    _, other = await api.another_customer()
    agent = await person(api, key)
    assert await trail(api, other, resource_id=agent["id"]) == []
    assert await trail(api, other, customer_id=str(customer_id)) == []
    operator = await project_admin(api)
    rows = await trail(api, operator, customer_id=str(customer_id), resource="agent")
    assert [row["resource_id"] for row in rows] == [agent["id"]]
    provider = {"name": "p", "hostname": "203.0.113.9"}
    status, made = await api.call("POST", "/v1.0/providers", key=operator, json=provider)
    assert status == 200, made
    (row,) = await trail(api, operator, resource="provider", resource_id=made["id"])
    assert row["customer_id"] == str(UUID(int=0))
    assert row["username"] == "admin"
    assert row["agent_id"] != str(UUID(int=0))
    status, refused = await api.call("GET", "/v1.0/audit_events", key=(await login(api, agent["body"])))
    assert (status, refused["error"]["reason"]) == (403, "PERMISSION_DENIED"), "agents are no admins"


async def login(api: Api, body: dict[str, Any], password: str = PASSWORD) -> str:
    credentials = {"username": body["username"], "password": password}
    async with api.session.post(f"{api.url}/auth/login", json=credentials) as response:
        return str((await response.json()).get("token", ""))


async def test_an_operators_deed_is_shown_to_the_customer_without_who_he_is(api: Api) -> None:
    customer_id, key = await api.another_customer()
    actor = Actor("agent", api.customer_id, uuid4(), username="operator", remote="198.51.100.7")
    await Trail(api.database, keep_days=1).record(
        actor, Happening(customer_id, "update", "customer", customer_id)
    )
    (row,) = await trail(api, key)
    assert (row["actor_type"], row["username"], row["remote"]) == ("operator", "", "")
    assert row["agent_id"] == str(UUID(int=0))


async def test_logins_and_failed_ones_are_in_it(api: Api) -> None:
    _, key = await api.another_customer()
    agent = await person(api, key)
    assert await login(api, agent["body"]) != ""
    assert await login(api, agent["body"], "wrong password") == ""
    deadline = time.monotonic() + 30
    while len(rows := await trail(api, key, resource="login")) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert {(row["action"], row["actor_type"]) for row in rows} == {
        ("login", "agent"),
        ("login_failed", "none"),
    }
    assert {row["resource_id"] for row in rows} == {agent["id"]}
    assert {row["remote"] for row in rows} == {"127.0.0.1"}


async def test_filters_and_pages(api: Api) -> None:
    _, key = await api.another_customer()
    first = await person(api, key)
    between = utc_now()
    second = await person(api, key)
    await api.call("DELETE", f"/v1.0/agents/{second['id']}", key=key)
    assert [row["resource_id"] for row in await trail(api, key, action="create")] == [
        second["id"],
        first["id"],
    ]
    assert [row["resource_id"] for row in await trail(api, key, tm_to=between.isoformat())] == [first["id"]]
    late = await trail(api, key, tm_from=between.isoformat())
    assert [row["action"] for row in late] == ["delete", "create"]
    _, page = await api.call("GET", "/v1.0/audit_events", key=key, params={"page_size": 2})
    _, rest = await api.call(
        "GET", "/v1.0/audit_events", key=key, params={"page_token": page["next_page_token"]}
    )
    assert len(page["result"]) == 2
    assert [row["resource_id"] for row in rest["result"]] == [first["id"]]
    status, refused = await api.call("GET", "/v1.0/audit_events", key=key, params={"tm_from": "yesterday"})
    assert status == 400
    assert "tm_from" in refused["error"]["message"]


async def test_what_changes_no_table_is_in_it_too(api: Api) -> None:
    operator = await project_admin(api)
    _, key = await api.another_customer()
    rows = await trail(api, operator, action="post work")
    assert (await api.call("POST", "/v1.0/work", key=key, json={"text": uuid4().hex}))[0] == 200
    assert len(await trail(api, operator, action="post work")) == len(rows) + 1


async def test_rows_cannot_be_changed_and_deleted_only_when_they_have_expired(api: Api) -> None:
    customer_id, _ = await api.another_customer()
    young, old = Trail(api.database, keep_days=1), Trail(api.database, keep_days=-1)
    for keeper, name in ((young, "young"), (old, "old")):
        await keeper.record(Actor("none"), Happening(customer_id, name, "thing", uuid4()))
    mine = audit_events.c.customer_id == customer_id
    for statement in (
        sa.update(audit_events).where(mine).values(action="nothing"),
        sa.update(audit_events).where(mine).values(changes={}, remote="", username=""),
        sa.delete(audit_events).where(mine, audit_events.c.action == "young"),
        sa.text("TRUNCATE audit_events"),
    ):
        with pytest.raises(DBAPIError, match="append-only"):
            async with api.database.begin() as connection:
                await connection.execute(statement)
    await young.sweep()
    async with api.database.connect() as connection:
        left = (await connection.execute(sa.select(audit_events.c.action).where(mine))).scalars().all()
    assert left == ["young"]


async def test_what_it_says_of_people_goes_with_the_customer(api: Api) -> None:
    customer_id, key = await api.another_customer()
    await person(api, key)
    keeper = Trail(api.database, keep_days=1)
    async with api.database.begin() as connection:
        gone = sa.update(customers).where(customers.c.id == customer_id).values(tm_delete=utc_now())
        await connection.execute(gone)
        await keeper.forget(connection, customer_id)
    async with api.database.connect() as connection:
        rows = (
            await connection.execute(sa.select(audit_events).where(audit_events.c.customer_id == customer_id))
        ).all()
    assert [(row.action, row.changes, row.remote, row.username) for row in rows] == [("create", {}, "", "")]


async def test_a_task_that_outlives_its_request_acts_for_nobody() -> None:
    seen: list[Acting | None] = []
    acting, go = Acting("{}"), asyncio.Event()

    async def later() -> None:
        seen.append(current())
        await go.wait()
        seen.append(current())

    with under(acting):
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    go.set()
    await task
    assert seen == [acting, None]


async def test_a_transaction_of_nobody_writes_nothing(api: Api) -> None:
    customer_id, _ = await api.another_customer(Permission.CUSTOMER_ADMIN)
    async with api.database.begin() as connection:
        await connection.execute(
            sa.update(agents).where(agents.c.customer_id == customer_id).values(name="changed")
        )
    async with api.database.connect() as connection:
        found = await connection.scalar(
            sa.select(sa.func.count()).where(audit_events.c.customer_id == customer_id)
        )
    assert found == 0


def test_what_is_audited_is_decided_in_one_place() -> None:
    """Whatever somebody who has proven who he is writes, apart from what runs."""

    def route(method: str, tag: str, **more: Any) -> Route:
        async def handler(request: Request) -> None: ...

        return Route(
            method=method, path="/v1.0/x", handler=handler, summary="x", response=Any, tags=(tag,), **more
        )

    assert route("PUT", "agents").is_audited
    assert route("DELETE", "something_new").is_audited, "a new resource is, without a word"
    assert not route("GET", "agents").is_audited
    assert not route("POST", "calls").is_audited
    assert not route("POST", "messages").is_audited
    assert not route("POST", "agents", auth="none").is_audited
    assert not route("POST", "agents", audited=False).is_audited
    assert route("POST", "calls", audited=True).is_audited
