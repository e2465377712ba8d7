"""The customer, its numbers and its billing account."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, update
from tests.component.http.conftest import Api

from ringline.http import ZERO_UUID, utc_now
from ringline.media.address_guard import check_url
from ringline.numbers import resolve_source
from ringline.numbers.tables import numbers

SEEDED = {"+15551234567", "+15552222222", "+15559876543"}
NEVER = "9999-01-01 00:00:00.000000"


async def _number(api: Api, customer_id: UUID, **values: object) -> UUID:
    number_id = uuid4()
    row = {
        "id": number_id,
        "customer_id": customer_id,
        "number": f"+1555{number_id.int % 10**7:07}",
        "type": "normal",
        "status": "active",
        "tm_create": utc_now(),
        **values,
    }
    async with api.database.begin() as connection:
        await connection.execute(insert(numbers).values(row))
    await api.numbers.refresh(number_id)
    return number_id


async def test_the_seeded_numbers(api: Api) -> None:
    status, page = await api.call("GET", "/v1.0/numbers")
    assert status == 200
    assert {row["number"] for row in page["result"]} >= SEEDED
    row = next(row for row in page["result"] if row["number"] == "+15551234567")
    assert list(row) == [
        "id",
        "number",
        "type",
        "call_flow_id",
        "message_flow_id",
        "name",
        "detail",
        "status",
        "t38_enabled",
        "emergency_enabled",
        "tm_create",
        "tm_update",
        "tm_delete",
        # what the seed page has only in its examples, and what else there is to know
        "tm_purchase",
        "tm_renew",
        "status_reason",
        "emergency_address",
        "flow_id",
    ]
    assert row["call_flow_id"] == str(ZERO_UUID)
    assert row["tm_delete"] == NEVER
    assert len(row["tm_create"]) == len("2022-02-01 00:00:00.000000")
    assert (await api.call("GET", f"/v1.0/numbers/{row['id']}")) == (200, row)


async def test_numbers_page_in_their_own_style_and_in_the_other(api: Api) -> None:
    _, first = await api.call("GET", "/v1.0/numbers", params={"page_size": 1})
    token = first["next_page_token"]
    assert token == first["result"][0]["tm_create"]
    _, second = await api.call("GET", "/v1.0/numbers", params={"page_size": 1, "page_token": token})
    iso = token.replace(" ", "T") + "Z"
    _, same = await api.call("GET", "/v1.0/numbers", params={"page_size": 1, "page_token": iso})
    assert second == same
    assert second["result"] != first["result"]


async def test_numbers_are_filtered(api: Api) -> None:
    customer_id, key = await api.another_customer()
    await _number(api, customer_id, number="+14155550123")
    await _number(api, customer_id, status="suspended")
    await _number(api, customer_id, type="virtual", number=f"+899{uuid4().int % 10**9:09}")

    async def found(**params: str) -> int:
        status, page = await api.call("GET", "/v1.0/numbers", key=key, params=params)
        assert status == 200, page
        return len(page["result"])

    assert await found() == 3
    assert await found(status="suspended") == 1
    assert await found(type="virtual") == 1
    assert await found(number="+14155550123") == 1
    assert await found(number=" 14155550123") == 1  # a + that was not encoded
    assert await found(unknown="ignored") == 3
    status, answer = await api.call("GET", "/v1.0/numbers", key=key, params={"status": "nonsense"})
    assert status == 400
    assert "purchase-pending" in answer["error"]["message"]


@pytest.mark.parametrize("size", ["0", "1001", "-1", "x", "1.5"])
async def test_a_page_size_outside_its_limits(api: Api, size: str) -> None:
    status, answer = await api.call("GET", "/v1.0/numbers", params={"page_size": size})
    assert status == 400
    assert answer["error"]["details"][0]["field"] == "page_size"


async def test_flows_are_assigned_and_taken_away(api: Api) -> None:
    number_id = await _number(api, api.customer_id)
    path, flow_id = f"/v1.0/numbers/{number_id}", uuid4()
    status, answer = await api.call("PUT", path, json={"call_flow_id": str(flow_id)})
    assert (status, answer["error"]["reason"]) == (404, "FLOW_NOT_FOUND")
    api.flows.add((api.customer_id, flow_id))
    status, row = await api.call("PUT", path, json={"call_flow_id": str(flow_id), "name": "hotline"})
    assert (status, row["call_flow_id"], row["name"]) == (200, str(flow_id), "hotline")
    assert row["tm_update"] != NEVER
    known = api.numbers.by_number(row["number"])
    assert known is not None
    assert known.call_flow_id == flow_id
    status, row = await api.call("PUT", f"{path}/flow_ids", json={"message_flow_id": str(flow_id)})
    assert (row["call_flow_id"], row["message_flow_id"]) == (str(flow_id), str(flow_id))
    status, row = await api.call("PUT", path, json={"call_flow_id": str(ZERO_UUID)})
    assert (row["call_flow_id"], row["message_flow_id"], row["name"]) == (
        str(ZERO_UUID),
        str(flow_id),
        "hotline",
    )
    status, answer = await api.call("PUT", f"{path}/flow_ids", json={"name": "x"})
    assert status == 400


async def test_foreign_and_unknown_numbers_are_answered_alike(api: Api) -> None:
    number_id = await _number(api, api.customer_id)
    _, stranger = await api.another_customer()
    answers = []
    for target in (number_id, uuid4()):
        for method, body in (("GET", None), ("PUT", {"name": "x"})):
            status, answer = await api.call(method, f"/v1.0/numbers/{target}", key=stranger, json=body)
            answers.append((status, answer["error"]["reason"], answer["error"]["message"]))
    assert set(answers) == {(404, "NUMBER_NOT_FOUND", answers[0][2])}


async def test_the_customer_is_changed_in_part(api: Api) -> None:
    customer_id, key = await api.another_customer()
    status, row = await api.call(
        "PUT",
        "/v1.0/customer",
        key=key,
        json={"name": "n", "webhook_method": "POST", "webhook_uri": "https://x.test/"},
    )
    assert (status, row["name"], row["webhook_uri"]) == (200, "n", "https://x.test/")
    status, row = await api.call("PUT", "/v1.0/customer", key=key, json={"detail": "d"})
    assert (row["name"], row["detail"], row["webhook_method"]) == ("n", "d", "POST")
    assert row["id"] == str(customer_id)
    assert row["tm_delete"] is None
    known = api.customers.by_id(customer_id)
    assert known is not None
    assert known.webhook_uri == "https://x.test/"


@pytest.mark.parametrize(
    "uri",
    ["http://10.0.0.1/x", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/", "https://a:b@x.test/"],
)
async def test_where_nothing_may_be_sent_is_no_webhook(
    api: Api, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    _, key = await api.another_customer()
    stored = {"webhook_uri": uri}
    assert (await api.call("PUT", "/v1.0/customer", key=key, json=stored))[0] == 200, (
        "as before it was checked"
    )
    monkeypatch.setattr(api.own, "_check_url", check_url)
    assert (await api.call("PUT", "/v1.0/customer", key=key, json={**stored, "name": "n"}))[0] == 200
    assert (await api.call("PUT", "/v1.0/customer", key=key, json={"webhook_uri": ""}))[0] == 200
    status, answer = await api.call("PUT", "/v1.0/customer", key=key, json=stored)
    assert (status, answer["error"]["details"][0]["field"]) == (400, "webhook_uri")
    assert (await api.call("GET", "/v1.0/customer", key=key))[1]["webhook_uri"] == ""
    assert "b@" not in str(answer)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"nam": "x"}, "did you mean `name`?"),
        ({"name": 5}, "must be a string, not the number 5"),
        ({"name": None}, "must be a string, not null"),
        ({"webhook_uri": "ftp://x"}, "http://"),
        ({"webhook_method": "PATCH"}, "'POST'"),
        ({"name": "x" * 256}, "at most 255 characters"),
        ({"name": "a\0b"}, "U+0000"),
        ({"default_outgoing_source_number_id": "x"}, "UUID"),
    ],
)
async def test_what_a_customer_cannot_be(api: Api, body: dict[str, object], says: str) -> None:
    status, answer = await api.call("PUT", "/v1.0/customer", json=body)
    assert status == 400
    assert says in answer["error"]["message"]


async def test_the_default_source_must_be_one_s_own_normal_active_number(api: Api) -> None:
    customer_id, key = await api.another_customer()
    other, _ = await api.another_customer()
    good = await _number(api, customer_id)
    bad = {
        await _number(api, other): "not one of your numbers",
        uuid4(): "not one of your numbers",
        await _number(api, customer_id, status="suspended"): "not active but suspended",
        await _number(api, customer_id, type="virtual", number=f"+899{uuid4().int % 10**9:09}"): "virtual",
    }
    for number_id, says in bad.items():
        status, answer = await api.call(
            "PUT", "/v1.0/customer", key=key, json={"default_outgoing_source_number_id": str(number_id)}
        )
        assert status == 400
        assert says in answer["error"]["message"]
    status, row = await api.call(
        "PUT", "/v1.0/customer", key=key, json={"default_outgoing_source_number_id": str(good)}
    )
    assert (status, row["default_outgoing_source_number_id"]) == (200, str(good))
    customer = api.customers.by_id(customer_id)
    assert customer is not None
    assert resolve_source(api.numbers, customer, "").chosen == "default"
    async with api.database.begin() as connection:
        await connection.execute(update(numbers).where(numbers.c.id == good).values(status="suspended"))
    await api.numbers.refresh(good)
    assert resolve_source(api.numbers, customer, "").chosen == "none"
    status, row = await api.call(
        "PUT", "/v1.0/customer", key=key, json={"default_outgoing_source_number_id": str(ZERO_UUID)}
    )
    assert row["default_outgoing_source_number_id"] == str(ZERO_UUID)


async def test_billing_accounts(api: Api) -> None:
    status, page = await api.call("GET", "/v1.0/billing_accounts")
    assert status == 200
    (account,) = page["result"]
    assert account["balance_credit"] > 0
    assert account["customer_id"] == str(api.customer_id)
    assert (await api.call("GET", "/v1.0/billing-accounts")) == (200, page)
    assert (await api.call("GET", "/v1.0/billing_account")) == (200, account)
    assert (await api.call("GET", f"/v1.0/billing_accounts/{account['id']}")) == (200, account)
    _, stranger = await api.another_customer()
    status, answer = await api.call("GET", f"/v1.0/billing_accounts/{account['id']}", key=stranger)
    assert (status, answer["error"]["reason"]) == (404, "BILLING_ACCOUNT_NOT_FOUND")
    _, customer = await api.call("GET", "/v1.0/customer")
    assert customer["billing_account_id"] == account["id"]
