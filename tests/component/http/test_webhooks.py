"""Endpoints and deliveries over the API: made, shown once, changed, refused."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from tests.component.http.conftest import Api

from ringline.billing import accounts
from ringline.customers.tables import customers

URI = "https://hooks.example.com/events"


async def make(api: Api, key: str = "", **more: Any) -> Any:
    status, made = await api.call("POST", "/v1.0/webhooks", key=key, json={"uri": URI, **more})
    assert status == 200, made
    return made


async def test_an_endpoint_lives(api: Api) -> None:
    made = await make(api, name="warehouse", events=["call_*", "message_updated"], resources=["call"])
    secret = made.pop("secret")
    assert secret.startswith(made["secret_prefix"]) and secret.startswith("whsec_")
    assert (made["type"], made["method"], made["enabled"], made["tm_failing"]) == (
        "endpoint",
        "POST",
        True,
        None,
    )
    path = f"/v1.0/webhooks/{made['id']}"
    assert await api.call("GET", path) == (200, made), "its secret is not shown again"
    status, page = await api.call("GET", "/v1.0/webhooks", params={"type": "endpoint"})
    assert status == 200 and made in page["result"]

    status, changed = await api.call("PUT", path, json={"events": [], "enabled": False})
    assert (changed["events"], changed["enabled"], changed["disabled_reason"]) == ([], False, "request")
    assert changed["name"] == "warehouse" and changed["tm_disabled"] is not None
    status, changed = await api.call("PUT", path, json={"enabled": True})
    assert (changed["enabled"], changed["disabled_reason"], changed["tm_disabled"]) == (True, "", None)

    status, rotated = await api.call("POST", f"{path}/rotate_secret")
    assert status == 200 and rotated["secret"] != secret and rotated["tm_former_secret_expire"] is not None
    status, rotated = await api.call("POST", f"{path}/rotate_secret", json={"overlap": 0})
    assert rotated["tm_former_secret_expire"] is None

    status, deleted = await api.call("DELETE", path)
    assert status == 200 and deleted["tm_delete"] is not None
    for method, where, body in (
        ("GET", path, None),
        ("PUT", path, {"name": "x"}),
        ("DELETE", path, None),
        ("POST", f"{path}/rotate_secret", {}),
        ("POST", f"{path}/test", None),
        ("POST", f"{path}/recover", {"since": "2026-01-01"}),
    ):
        status, answer = await api.call(method, where, json=body)
        assert (status, answer["error"]["reason"]) == (404, "WEBHOOK_NOT_FOUND"), where


async def test_the_secret_is_stored_nowhere(api: Api) -> None:
    made = await make(api)
    async with api.database.connect() as connection:
        rows = await connection.execute(sa.text("SELECT * FROM webhooks WHERE id = :id"), {"id": made["id"]})
        stored = repr(rows.one())
        kept = (await connection.execute(sa.text("SELECT count(*) FROM audit_events"))).scalar()
    assert made["secret"] not in stored and made["secret"][6:30] not in stored
    assert kept is not None
    await api.call("DELETE", f"/v1.0/webhooks/{made['id']}")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "uri"),
        ({"uri": ""}, "uri"),
        ({"uri": "ftp://example.com/"}, "only http and https"),
        ({"uri": "https://user:secret@example.com/"}, "credentials"),
        ({"uri": "http://127.0.0.1/"}, "not a public address"),
        ({"uri": "http://[::1]:8080/"}, "not a public address"),
        ({"uri": "http://169.254.169.254/latest"}, "not a public address"),
        ({"uri": "http://192.168.1.1/"}, "not a public address"),
        ({"uri": "https://example.com/" + "a" * 2100}, "2048"),
        ({"uri": "https://example.com/a b"}, "spaces"),
        ({"uri": URI, "method": "PATCH"}, "method"),
        ({"uri": URI, "events": ["call-*"]}, "events"),
        ({"uri": URI, "events": ["call_*"] * 101}, "events"),
        ({"uri": URI, "resources": ["Call"]}, "resources"),
        ({"uri": URI, "resources": ["call", "calls"]}, "`resources.1`: there are no events of calls"),
        ({"uri": URI, "events": ["call_*", "message_sent"]}, "`events.1`: no event is called message_sent"),
        ({"uri": URI, "secret": "whsec_mine"}, "secret"),
    ],
)
async def test_what_cannot_be_is_refused(api: Api, body: dict[str, Any], says: str) -> None:
    status, answer = await api.call("POST", "/v1.0/webhooks", json=body)
    assert status == 400 and says in answer["error"]["message"], answer
    assert "user:secret" not in answer["error"]["message"]


async def test_a_plan_allows_so_many(api: Api) -> None:
    customer_id, key = await api.another_customer()
    account_id = uuid4()
    async with api.database.begin() as connection:
        await accounts.create(
            connection, account_id=account_id, customer_id=customer_id, plan="free", name=""
        )
        change = customers.update().where(customers.c.id == customer_id)
        await connection.execute(change.values(billing_account_id=account_id))
    for _ in range(10):
        await make(api, key)
    status, answer = await api.call("POST", "/v1.0/webhooks", key=key, json={"uri": URI})
    assert (status, answer["error"]["reason"]) == (429, "WEBHOOK_LIMIT_REACHED")
    assert "10 webhooks" in answer["error"]["message"]


async def test_the_customers_own(api: Api) -> None:
    customer_id, key = await api.another_customer()
    path = f"/v1.0/webhooks/{customer_id}"
    status, own = await api.call("GET", path, key=key)
    assert (status, own["type"], own["uri"]) == (200, "customer", "")
    assert (await api.call("GET", "/v1.0/webhooks", key=key))[1]["result"] == []
    status, answer = await api.call("POST", f"{path}/test", key=key)
    assert (status, answer["error"]["reason"]) == (409, "WEBHOOK_NO_URI")
    status, _ = await api.call(
        "PUT", "/v1.0/customer", key=key, json={"webhook_uri": URI, "webhook_method": "PUT"}
    )
    assert status == 200
    status, own = await api.call("GET", path, key=key)
    assert (own["uri"], own["method"], own["enabled"]) == (URI, "PUT", True)
    assert [one["id"] for one in (await api.call("GET", "/v1.0/webhooks", key=key))[1]["result"]] == [
        own["id"]
    ]
    status, rotated = await api.call("POST", f"{path}/rotate_secret", key=key)
    assert status == 200 and rotated["secret"].startswith("whsec_")
    status, answer = await api.call("PUT", path, key=key, json={"uri": URI})
    assert (status, answer["error"]["reason"]) == (409, "WEBHOOK_NOT_CHANGEABLE")
    status, changed = await api.call("PUT", path, key=key, json={"events": ["call_*"]})
    assert (status, changed["events"]) == (200, ["call_*"])
    assert (await api.call("DELETE", path, key=key))[0] == 409


async def test_deliveries_are_listed_by_what_they_are(api: Api) -> None:
    customer_id, key = await api.another_customer()
    made = await make(api, key)
    resource, other = uuid4(), uuid4()
    async with api.database.begin() as connection:
        for number, (status, resource_id) in enumerate(
            (("delivered", resource), ("failed", resource), ("pending", other)), 1
        ):
            await connection.execute(
                sa.text(
                    "INSERT INTO webhook_deliveries (id, webhook_id, customer_id, event_id, published, type,"
                    " resource, resource_id, status, attempt_count, attempts, tm_expire, tm_create)"
                    " VALUES (uuidv7(), :webhook,"
                    " :customer, uuidv7(), 0, :type, 'call', :resource, :status, 1, CAST(:attempts AS jsonb), now(),"
                    " '2026-03-04T05:06:07Z'::timestamptz + make_interval(mins => :minutes))"
                ),
                {
                    "webhook": made["id"],
                    "customer": customer_id,
                    "type": f"call_{number}",
                    "resource": resource_id,
                    "status": status,
                    "minutes": number,
                    "attempts": '[{"tm": "2026-03-04T05:06:08+00:00", "status": 500, "ms": 12,'
                    ' "error": "answered 500", "answer": "sorry"}]',
                },
            )

    async def found(**query: str) -> list[str]:
        status, page = await api.call("GET", "/v1.0/webhook_deliveries", key=key, params=query)
        assert status == 200, page
        return [row["type"] for row in page["result"]]

    assert await found() == ["call_3", "call_2", "call_1"]
    assert await found(status="failed") == ["call_2"]
    assert await found(resource_id=str(resource)) == ["call_2", "call_1"]
    assert await found(type="call_1", webhook_id=made["id"]) == ["call_1"]
    assert await found(since="2026-03-04T05:08:07Z", until="2026-03-04 05:09:07") == ["call_2"]
    assert await found(webhook_id=str(uuid4())) == []
    status, page = await api.call("GET", "/v1.0/webhook_deliveries", key=key, params={"page_size": "2"})
    token = page["next_page_token"]
    assert await found(page_token=token) == ["call_1"]
    [failed] = [row for row in page["result"] if row["type"] == "call_2"]
    path = f"/v1.0/webhook_deliveries/{failed['id']}"
    assert await api.call("GET", path, key=key) == (200, failed)
    assert failed["attempts"] == [
        {"tm": "2026-03-04T05:06:08Z", "status": 500, "ms": 12, "error": "answered 500", "answer": "sorry"}
    ]
    status, answer = await api.call("POST", f"{path}/redeliver", key=key)
    assert (status, answer["error"]["reason"]) == (409, "EVENT_NOT_STORED")
    for foreign in (path, f"/v1.0/webhook_deliveries/{uuid4()}"):
        status, answer = await api.call("GET", foreign)
        assert (status, answer["error"]["reason"]) == (404, "WEBHOOK_DELIVERY_NOT_FOUND")
        status, answer = await api.call("POST", f"{foreign}/redeliver")
        assert (status, answer["error"]["reason"]) == (404, "WEBHOOK_DELIVERY_NOT_FOUND")
    for query in ({"status": "gone"}, {"since": "yesterday"}, {"webhook_id": "x"}):
        status, answer = await api.call("GET", "/v1.0/webhook_deliveries", key=key, params=query)
        assert status == 400, answer
    where = f"/v1.0/webhooks/{made['id']}/recover"
    status, answer = await api.call("POST", where, key=key, json={"since": "yesterday"})
    assert status == 400 and "since" in answer["error"]["message"]
    status, answer = await api.call("POST", where, key=key, json={"since": "2020-01-01"})
    assert (status, answer) == (200, {"webhook_id": made["id"], "count": 0})
