"""Numbers over the API: bought, changed, suspended, paid, given back."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import Result
from sqlalchemy import insert, select, update
from tests.component.http.conftest import ADMIN_PASSWORD, Api
from tests.component.numbers.fake import FakeVendor, lost
from typer.testing import CliRunner

from ringline import cli, log, settings
from ringline.billing.tables import billing_accounts, billings
from ringline.customers.tables import customers
from ringline.http import ZERO_UUID, utc_now
from ringline.numbers import NumberRenewals, acquired, buying
from ringline.numbers.errors import NumberNotAvailable
from ringline.numbers.tables import number_orders, numbers
from ringline.vendors.errors import (
    VendorBusy,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
)

ZERO = str(ZERO_UUID)
NEVER = "9999-01-01 00:00:00.000000"
ADDRESS = {
    "name": "Example Inc.",
    "street": "548 Market St",
    "city": "San Francisco",
    "region": "CA",
    "postal_code": "94104",
    "country": "us",
}
SHOWN = {**ADDRESS, "country": "US", "extended": ""}


@pytest.fixture(autouse=True)
def vendor(api: Api) -> Iterator[FakeVendor]:
    yield api.vendor
    api.vendor.__init__()  # type: ignore[misc]  # as new for the next test


def normal() -> str:
    return f"+1606{random.randint(2000000, 9999999)}"


def virtual() -> str:
    return f"+899{random.randint(0, 10**9 - 1):09}"


async def buy(api: Api, number: str = "", *, key: str = "", **more: Any) -> tuple[int, Any]:
    return await api.call("POST", "/v1.0/numbers", json={"number": number or normal(), **more}, key=key)


async def bought(api: Api, number: str = "", *, key: str = "", **more: Any) -> Any:
    status, answer = await buy(api, number, key=key, **more)
    assert status == 200, answer
    return answer


def refused(answer: tuple[int, Any], status: int, reason: str) -> str:
    assert (answer[0], answer[1].get("error", {}).get("reason")) == (status, reason), answer
    return str(answer[1]["error"]["message"])


async def account(api: Api, customer_id: UUID, *, credit: int = 0, plan: str = "free") -> UUID:
    account_id = uuid4()
    async with api.database.begin() as connection:
        await connection.execute(
            insert(billing_accounts).values(
                id=account_id,
                customer_id=customer_id,
                plan_type=plan,
                balance_credit=credit,
                tm_create=utc_now(),
            )
        )
        await connection.execute(
            update(customers).where(customers.c.id == customer_id).values(billing_account_id=account_id)
        )
    await api.balances.refresh(account_id)
    await api.customers.refresh(customer_id)
    return account_id


async def credit(api: Api, account_id: UUID, amount: int) -> None:
    async with api.database.begin() as connection:
        await connection.execute(
            update(billing_accounts).where(billing_accounts.c.id == account_id).values(balance_credit=amount)
        )
    await api.balances.refresh(account_id)


async def left(api: Api, account_id: UUID) -> int:
    async with api.database.connect() as connection:
        statement = select(billing_accounts.c.balance_credit).where(billing_accounts.c.id == account_id)
        found: int = (await connection.execute(statement)).scalar_one()
        return found


async def due(api: Api, number: Any, tm_renew: datetime) -> None:
    async with api.database.begin() as connection:
        await connection.execute(
            update(numbers).where(numbers.c.id == UUID(number["id"])).values(tm_renew=tm_renew)
        )


async def orders(api: Api, number: str, kind: str = "") -> list[Any]:
    statement = (
        select(number_orders).where(number_orders.c.number == number).order_by(number_orders.c.tm_create)
    )
    async with api.database.connect() as connection:
        rows = (await connection.execute(statement)).all()
    return [row for row in rows if kind in ("", row.kind)]


async def test_a_normal_number_is_bought_configured_and_given_back(api: Api) -> None:
    flow_id = uuid4()
    api.flows.add((api.customer_id, flow_id))
    made = await bought(api)
    number = made["number"]
    assert made == {
        **made,
        "type": "normal",
        "status": "active",
        "call_flow_id": ZERO,
        "message_flow_id": ZERO,
        "flow_id": ZERO,
        "name": "",
        "detail": "",
        "t38_enabled": False,
        "emergency_enabled": False,
        "tm_delete": NEVER,
    }
    assert made["tm_purchase"] != NEVER
    held = api.vendor.held[number]
    assert held is not None
    assert (held.voice, held.messaging, held.reference) == (True, True, f"number-{number}")
    path = f"/v1.0/numbers/{made['id']}"
    assert await api.call("GET", path) == (200, made)
    assert api.numbers.by_number(number) is not None

    status, changed = await api.call("PUT", path, json={"call_flow_id": str(flow_id)})
    assert (status, changed["call_flow_id"], changed["flow_id"]) == (200, str(flow_id), str(flow_id))
    status, changed = await api.call("PUT", f"{path}/flow_ids", json={"message_flow_id": str(flow_id)})
    assert (changed["call_flow_id"], changed["message_flow_id"]) == (str(flow_id), str(flow_id))

    status, gone = await api.call("DELETE", path)
    assert (status, gone["status"]) == (200, "deleted")
    assert gone["tm_delete"] == gone["tm_update"] != NEVER
    assert api.numbers.by_number(number) is None
    assert "yours no more" in refused(await api.call("GET", path), 404, "NUMBER_NOT_FOUND")
    refused(await api.call("DELETE", path), 404, "NUMBER_NOT_FOUND")
    refused(await api.call("PUT", path, json={"name": "x"}), 404, "NUMBER_NOT_FOUND")
    await until(lambda: number not in api.vendor.held)
    _, page = await api.call("GET", "/v1.0/numbers", params={"status": "deleted", "number": number})
    assert [row["id"] for row in page["result"]] == [made["id"]]
    # and whoever wants it next gets it
    _, key = await api.another_customer()
    await eventually(lambda: settled(api, number))
    assert (await bought(api, number, key=key))["status"] == "active"


async def settled(api: Api, number: str) -> bool:
    return all(row.tm_end is not None for row in await orders(api, number))


async def until(condition: Any, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def eventually(condition: Any, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_a_virtual_number_is_active_at_once_and_asks_nobody(api: Api) -> None:
    _, key = await api.another_customer()
    number = virtual()
    made = await bought(api, number, key=key)
    assert (made["type"], made["status"], made["tm_purchase"], made["tm_renew"]) == (
        "virtual",
        "active",
        NEVER,
        NEVER,
    )
    assert made["number"] == number
    assert not api.vendor.asked
    assert (await api.call("DELETE", f"/v1.0/numbers/{made['id']}", key=key))[1]["status"] == "deleted"
    assert await orders(api, number) == []
    assert (await bought(api, number, key=key, type="virtual"))["id"] != made["id"]


async def test_fifty_requests_for_one_number_have_one_winner(api: Api) -> None:
    api.vendor.delay = 0.05
    others = [(await api.another_customer())[1] for _ in range(4)]
    for number in (normal(), virtual()):
        answers = await asyncio.gather(*(buy(api, number, key=["", *others][i % 5]) for i in range(50)))
        winners = [answer for status, answer in answers if status == 200]
        assert len(winners) == 1, winners
        assert {status for status, _ in answers} == {200, 409}
        reasons = {answer["error"]["reason"] for status, answer in answers if status == 409}
        assert reasons == {"NUMBER_ALREADY_OWNED", "NUMBER_NOT_AVAILABLE"}
        for status, answer in answers:
            if status == 409 and answer["error"]["reason"] == "NUMBER_ALREADY_OWNED":
                assert winners[0]["id"] in answer["error"]["message"]
    assert (api.vendor.asked["find"], api.vendor.asked["buy"]) == (1, 1)


async def test_the_plan_limits_virtual_numbers_however_many_ask_at_once(api: Api) -> None:
    customer_id, key = await api.another_customer()
    await account(api, customer_id, plan="free")
    answers = await asyncio.gather(*(buy(api, virtual(), key=key) for _ in range(12)))
    assert [status for status, _ in answers].count(200) == 5
    message = refused(next(answer for answer in answers if answer[0] != 200), 429, "NUMBER_LIMIT_REACHED")
    assert "`free` allows 5" in message
    mine = next(answer["id"] for status, answer in answers if status == 200)
    await api.call("DELETE", f"/v1.0/numbers/{mine}", key=key)
    await bought(api, virtual(), key=key)
    refused(await buy(api, virtual(), key=key), 429, "NUMBER_LIMIT_REACHED")
    rich_id, rich = await api.another_customer()
    await account(api, rich_id, plan="unlimited")
    assert {status for status, _ in [await buy(api, virtual(), key=rich) for _ in range(7)]} == {200}


async def test_what_the_balance_does_not_cover_is_402_and_nothing_is_asked(api: Api) -> None:
    customer_id, key = await api.another_customer()
    account_id = await account(api, customer_id, credit=4_999_999)
    number = normal()
    assert "$5.00" in refused(await buy(api, number, key=key), 402, "INSUFFICIENT_BALANCE")
    assert api.vendor.asked["buy"] == 0
    await bought(api, virtual(), key=key)
    await credit(api, account_id, 5_000_001)
    assert (await bought(api, number, key=key))["status"] == "active"
    assert await left(api, account_id) == 1


async def test_a_number_that_is_not_sold_is_not_paid(api: Api) -> None:
    customer_id, key = await api.another_customer()
    account_id = await account(api, customer_id, credit=6_000_000)
    api.vendor.before["buy"] = [VendorRefused("fake: not in your country")]
    refused(await buy(api, key=key), 409, "NUMBER_PURCHASE_REJECTED")
    assert await left(api, account_id) == 6_000_000
    # it was paid, and given back
    async with api.database.connect() as connection:
        rows = await connection.execute(
            select(billings.c.transaction_type, billings.c.amount_credit)
            .where(billings.c.account_id == account_id)
            .order_by(billings.c.position)
        )
        assert [tuple(row) for row in rows] == [("usage", -5_000_000), ("refund", 5_000_000)]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("", "not an E.164"),
        ("6062067563", "did you mean +16062067563?"),
        ("+1 606-206-7563", "did you mean +16062067563?"),
        ("+899", "exactly nine digits"),
        ("+8991000000011", "exactly nine digits"),
        ("+89912345678a", "exactly nine digits"),
        ("+16062067563\r\nX-Evil: 1", "not an E.164"),
        ("+1606206756３", "not an E.164"),
        ("'; DROP TABLE numbers; --", "not an E.164"),
        ("+" + "1" * 70, "number"),
        ("sip:anna@example.com", "not an E.164"),
    ],
)
async def test_a_number_that_is_none(api: Api, number: str, says: str) -> None:
    status, answer = await api.call("POST", "/v1.0/numbers", json={"number": number})
    assert status == 400, answer
    assert says in answer["error"]["message"]
    assert not api.vendor.asked


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "number"),
        ({"number": None}, "number"),
        ({"number": 16062067563}, "number"),
        ({"number": "+16062067563", "type": "virtual"}, "type"),
        ({"number": "+899100000001", "type": "normal"}, "type"),
        ({"number": "+16062067563", "type": "gold"}, "type"),
        ({"number": "+16062067563", "name": "x" * 256}, "name"),
        ({"number": "+16062067563", "name": "a\x00b"}, "U+0000"),
        ({"number": "+16062067563", "name": 5}, "name"),
        ({"number": "+16062067563", "detail": "x" * 2001}, "detail"),
        ({"number": "+16062067563", "t38_enabled": "yes"}, "t38_enabled"),
        ({"number": "+16062067563", "call_flow_id": "flow-abc-123"}, "call_flow_id"),
        ({"number": "+16062067563", "emergency_enabled": True}, "emergency_address"),
        (
            {"number": "+899100000001", "emergency_enabled": True, "emergency_address": ADDRESS},
            "emergency_enabled",
        ),
        ({"number": "+16062067563", "emergency_address": {**ADDRESS, "country": "XX"}}, "country"),
        ({"number": "+16062067563", "emergency_address": {**ADDRESS, "street": ""}}, "street"),
        ({"number": "+16062067563", "emergency_address": {**ADDRESS, "city": "a\r\nb"}}, "city"),
        ({"number": "+16062067563", "emergency_address": "here"}, "emergency_address"),
        ({"number": "+16062067563", "status": "active"}, "status"),
        ({"number": "+16062067563", "customer_id": ZERO}, "customer_id"),
    ],
)
async def test_fields_that_cannot_be(api: Api, body: dict[str, Any], field: str) -> None:
    status, answer = await api.call("POST", "/v1.0/numbers", json=body)
    assert status == 400, answer
    assert field in answer["error"]["message"]
    assert not api.vendor.asked


async def test_flows_must_exist_and_be_ones_own(api: Api) -> None:
    customer_id, key = await api.another_customer()
    foreign = uuid4()
    api.flows.add((api.customer_id, foreign))
    for flow_id in (uuid4(), foreign):
        for field in ("call_flow_id", "message_flow_id"):
            message = refused(await buy(api, key=key, **{field: str(flow_id)}), 404, "FLOW_NOT_FOUND")
            assert field in message
    assert not api.vendor.asked
    own = uuid4()
    api.flows.add((customer_id, own))
    made = await bought(api, key=key, call_flow_id=str(own), message_flow_id=ZERO, name="hotline")
    assert (made["call_flow_id"], made["message_flow_id"], made["name"]) == (str(own), ZERO, "hotline")


@pytest.mark.parametrize(
    "name",
    [
        "Robert'); DROP TABLE numbers;--",
        "a\r\nSet-Cookie: token=evil",
        "{{7*7}} ${voipbin.call.source.target} %s %n",
        "<script>alert(1)</script>",
        "\u202etxt.exe \u200b\u0007",
        "☎️" * 60,
    ],
)
async def test_names_are_text_and_nothing_else(api: Api, name: str) -> None:
    made = await bought(api, name=name, detail=name)
    assert (made["name"], made["detail"]) == (name, name)
    assert (await api.call("GET", f"/v1.0/numbers/{made['id']}"))[1]["name"] == name
    status, _ = await api.call("GET", "/v1.0/numbers", params={"number": "' OR 1=1 --"})
    assert status == 200


async def test_numbers_of_others_are_not_there(api: Api) -> None:
    made = await bought(api)
    _, key = await api.another_customer()
    path = f"/v1.0/numbers/{made['id']}"
    for method, part, body in (
        ("GET", "", None),
        ("PUT", "", {"name": "mine"}),
        ("PUT", "/flow_ids", {"call_flow_id": ZERO}),
        ("POST", "/suspend", None),
        ("POST", "/reactivate", None),
        ("DELETE", "", None),
    ):
        foreign = await api.call(method, path + part, json=body, key=key)
        unknown = await api.call(method, f"/v1.0/numbers/{uuid4()}{part}", json=body, key=key)
        assert refused(foreign, 404, "NUMBER_NOT_FOUND") == refused(unknown, 404, "NUMBER_NOT_FOUND")
    _, page = await api.call("GET", "/v1.0/numbers", params={"number": made["number"]}, key=key)
    assert page["result"] == []
    # held by somebody else and sold by nobody look the same
    taken = refused(await buy(api, made["number"], key=key), 409, "NUMBER_NOT_AVAILABLE")
    unsold = normal()
    api.vendor.not_sold.add(unsold)
    assert taken == refused(await buy(api, unsold, key=key), 409, "NUMBER_NOT_AVAILABLE").replace(
        unsold, made["number"]
    )


async def test_suspend_and_reactivate(api: Api) -> None:
    made = await bought(api)
    path = f"/v1.0/numbers/{made['id']}"
    for suspending in (
        lambda: api.call("POST", f"{path}/suspend"),
        lambda: api.call("PUT", path, json={"status": "suspended"}),
    ):
        for _ in range(2):
            status, answer = await suspending()
            assert (status, answer["status"], answer["status_reason"]) == (200, "suspended", "")
        found = api.numbers.by_number(made["number"])
        assert found is not None
        assert found.status == "suspended"
        for _ in range(2):
            status, answer = await api.call("POST", f"{path}/reactivate")
            assert (status, answer["status"]) == (200, "active")
    status, answer = await api.call("PUT", path, json={"status": "deleted"})
    assert status == 400
    assert "'active' or 'suspended'" in answer["error"]["message"]


async def test_a_purchase_that_takes_its_time_is_pending(api: Api) -> None:
    api.vendor.confirms = False
    made = await bought(api)
    path = f"/v1.0/numbers/{made['id']}"
    assert (made["status"], made["tm_purchase"]) == ("purchase-pending", NEVER)
    refused(await api.call("POST", f"{path}/suspend"), 409, "NUMBER_STATE_INVALID")
    refused(await api.call("PUT", path, json={"status": "active"}), 409, "NUMBER_STATE_INVALID")
    assert (await api.call("PUT", path, json={"name": "soon"}))[0] == 200
    (order,) = await orders(api, made["number"])
    api.vendor.decide(order.id, "done")
    await eventually(lambda: shows(api, path, "active"))
    assert (await api.call("GET", path))[1]["name"] == "soon"
    await until(lambda: api.vendor.held[made["number"]] is not None)


async def shows(api: Api, path: str, status: str) -> bool:
    answer = (await api.call("GET", path))[1]
    return bool(answer.get("status") == status)


async def test_a_purchase_that_is_rejected_later_says_so(api: Api) -> None:
    api.vendor.confirms = False
    made = await bought(api)
    path = f"/v1.0/numbers/{made['id']}"
    (order,) = await orders(api, made["number"])
    api.vendor.decide(order.id, "failed", "regulatory documents are missing")

    async def gone() -> bool:
        return (await api.call("GET", path))[0] == 404

    await eventually(gone)
    assert "regulatory documents" in refused(await api.call("GET", path), 404, "NUMBER_NOT_FOUND")
    _, page = await api.call("GET", "/v1.0/numbers", params={"status": "deleted", "number": made["number"]})
    assert page["result"][0]["status_reason"] == "purchase_rejected: regulatory documents are missing"


async def test_given_back_before_it_is_bought(api: Api) -> None:
    api.vendor.confirms = False
    made = await bought(api)
    assert (await api.call("DELETE", f"/v1.0/numbers/{made['id']}"))[1]["status"] == "deleted"
    # not before the purchase is over: its release would hit the next owner
    api.vendor.held.pop(made["number"])
    assert "given back" in refused(await buy(api, made["number"]), 409, "NUMBER_NOT_AVAILABLE")
    api.vendor.held[made["number"]] = None
    (order,) = await orders(api, made["number"])
    api.vendor.decide(order.id, "done")
    await eventually(lambda: settled(api, made["number"]))
    assert made["number"] not in api.vendor.held
    assert [row.kind for row in await orders(api, made["number"])] == ["buy", "release"]


@pytest.mark.parametrize(
    ("trouble", "status", "reason"),
    [
        (VendorRefused("fake: not in your country"), 409, "NUMBER_PURCHASE_REJECTED"),
        (VendorMisconfigured("fake: key rejected"), 409, "NUMBER_PURCHASE_REJECTED"),
    ],
)
async def test_what_the_vendor_refuses_is_said(api: Api, trouble: Any, status: int, reason: str) -> None:
    api.vendor.before["buy"] = [trouble]
    number = normal()
    message = refused(await buy(api, number), status, reason)
    assert "Nothing was bought" in message
    assert "key rejected" not in message
    assert api.numbers.by_number(number) is None
    assert (await bought(api, number))["status"] == "active"


async def test_what_went_wrong_on_the_way_is_looked_up(api: Api) -> None:
    for trouble in (VendorUnavailable("fake: away"), VendorBusy("fake: slowly", retry_after=0.1)):
        api.vendor.before["buy"] = [trouble]
        made = await bought(api)
        assert made["status"] == "purchase-pending"
        await eventually(lambda made=made: shows(api, f"/v1.0/numbers/{made['id']}", "active"))
    api.vendor.after["buy"] = [lost()]
    made = await bought(api)
    assert made["status"] == "purchase-pending"
    await eventually(lambda: shows(api, f"/v1.0/numbers/{made['id']}", "active"))
    assert api.vendor.bought[made["number"]] == 1
    assert api.vendor.asked["find_order"] >= 1


async def test_a_vendor_that_is_slow_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buying, "ATTEND_SECONDS", 0.3)
    api.vendor.delay = 0.6
    made = await bought(api)
    assert made["status"] == "purchase-pending"
    await eventually(lambda: shows(api, f"/v1.0/numbers/{made['id']}", "active"))
    assert api.vendor.asked["buy"] == 1


async def test_a_vendor_that_cannot_be_asked(api: Api) -> None:
    api.vendor.before["find"] = [VendorUnavailable("fake: away")]
    refused(await buy(api), 503, "NUMBER_VENDOR_UNAVAILABLE")


async def test_the_same_request_again_is_the_same_number(api: Api) -> None:
    number, headers = normal(), {"Idempotency-Key": uuid4().hex}
    first = await api.call("POST", "/v1.0/numbers", json={"number": number}, headers=headers)
    again = await api.call("POST", "/v1.0/numbers", json={"number": number}, headers=headers)
    assert first[0] == 200
    assert first == again
    assert api.vendor.bought[number] == 1


async def test_emergency_calls_need_an_address_that_the_vendor_takes(api: Api) -> None:
    made = await bought(api, emergency_enabled=True, emergency_address=ADDRESS)
    assert (made["emergency_enabled"], made["emergency_address"]) == (True, SHOWN)
    held = api.vendor.held[made["number"]]
    assert held is not None
    assert held.emergency is not None
    assert held.emergency.country == "US"
    path = f"/v1.0/numbers/{made['id']}"
    for body in ({"emergency_address": None}, {"emergency_enabled": True, "emergency_address": None}):
        message = refused(await api.call("PUT", path, json=body), 400, "INVALID_ARGUMENT")
        assert "emergency_address" in message
    _, off = await api.call("PUT", path, json={"emergency_enabled": False, "t38_enabled": True})
    assert (off["emergency_enabled"], off["t38_enabled"]) == (False, True)
    held = api.vendor.held[made["number"]]
    assert held is not None
    assert (held.emergency, held.t38) == (None, True)

    nowhere = {"emergency_enabled": True, "emergency_address": {**ADDRESS, "street": "Nowhere 1"}}
    message = refused(await api.call("PUT", path, json=nowhere), 400, "EMERGENCY_ADDRESS_REFUSED")
    assert "no such street" in message
    _, shown = await api.call("GET", path)
    assert shown["emergency_enabled"] is False
    assert shown["status_reason"] == "emergency_refused: fake: there is no such street"
    assert (await api.call("PUT", path, json={"emergency_enabled": True, "emergency_address": ADDRESS}))[
        0
    ] == 200


async def test_months_are_paid_once_and_by_themselves(api: Api) -> None:
    customer_id, key = await api.another_customer()
    account_id = await account(api, customer_id, credit=50_000_000)
    made = await bought(api, key=key)
    await due(api, made, datetime.now(UTC) - timedelta(hours=1))
    before = await orders(api, made["number"], "renew")
    answers = await asyncio.gather(
        *(api.call("POST", "/v1.0/numbers/renew", json={}, key=key) for _ in range(5))
    )
    assert {status for status, _ in answers} == {200}
    assert [row["id"] for _, rows in answers for row in rows] == [made["id"]]
    assert len(await orders(api, made["number"], "renew")) == len(before) + 1
    assert await api.call("POST", "/v1.0/numbers/renew", key=key) == (200, [])
    assert await api.call("POST", "/v1.0/numbers/renew", json={"days": 27}, key=key) == (200, [])

    # nobody pays for what the balance does not cover; it comes back when it is paid
    await credit(api, account_id, 0)
    await due(api, made, datetime.now(UTC) - timedelta(hours=1))
    refused(await api.call("POST", "/v1.0/numbers/renew", key=key), 402, "INSUFFICIENT_BALANCE")


@pytest.mark.parametrize(
    "body",
    [
        {"days": -1},
        {"days": 28},
        {"days": "7"},
        {"tm_renew": "tomorrow"},
        {"tm_renew": "2999-01-01T00:00:00Z"},
        {"days": 2, "tm_renew": "2021-01-01T00:00:00Z"},
        {"number": "+16062067563"},
    ],
)
async def test_renewing_what_cannot_be(api: Api, body: dict[str, Any]) -> None:
    status, answer = await api.call("POST", "/v1.0/numbers/renew", json=body)
    assert status == 400, answer


async def test_who_may_renew(api: Api) -> None:
    customer_id, _ = await api.another_customer(permission=16)
    login = {"username": f"agent-{customer_id}", "password": ADMIN_PASSWORD}
    agent = (await api.call("POST", "/auth/login", key=None, json=login))[1]["token"]
    refused(await api.call("POST", "/v1.0/numbers/renew", key=agent), 403, "PERMISSION_DENIED")
    body = {"all_customers": True}
    refused(await api.call("POST", "/v1.0/numbers/renew", json=body), 403, "PERMISSION_DENIED")


async def test_what_cannot_be_paid_is_suspended_and_comes_back_when_it_is(api: Api) -> None:
    customer_id, key = await api.another_customer()
    account_id = await account(api, customer_id, credit=50_000_000)
    made, other, free = (
        await bought(api, key=key),
        await bought(api, key=key),
        await bought(api, virtual(), key=key),
    )
    renewals = NumberRenewals(api.database, api.numbers, api.customers, api.balances)

    async def look(number: Any) -> tuple[str, str]:
        _, row = await api.call("GET", f"/v1.0/numbers/{number['id']}", key=key)
        return row["status"], row["status_reason"]

    async def sweep() -> None:
        await asyncio.gather(*(renewals.sweep() for _ in range(3)))

    late = datetime.now(UTC) - timedelta(minutes=1)
    await credit(api, account_id, 0)
    await due(api, made, late - timedelta(days=2))
    await sweep()
    assert await look(made) == ("suspended", "renewal_unpaid")
    assert (await look(other), await look(free)) == (("active", ""), ("active", ""))
    found = api.numbers.by_number(made["number"])
    assert found is not None
    assert found.status == "suspended"
    path = f"/v1.0/numbers/{made['id']}"
    message = refused(await api.call("POST", f"{path}/reactivate", key=key), 402, "INSUFFICIENT_BALANCE")
    assert "$5.00" in message
    assert await orders(api, made["number"], "renew") == []

    await credit(api, account_id, 5_000_000)
    await sweep()
    assert await look(made) == ("active", "")
    (month,) = await orders(api, made["number"], "renew")
    assert month.period == (late - timedelta(days=2)).date()
    await sweep()
    assert len(await orders(api, made["number"], "renew")) == 1

    # at once, by its owner
    await credit(api, account_id, 0)
    await due(api, made, late - timedelta(days=40))
    await sweep()
    assert await look(made) == ("suspended", "renewal_unpaid")
    await credit(api, account_id, 5_000_000)
    status, row = await api.call("POST", f"{path}/reactivate", key=key)
    assert (status, row["status"], row["status_reason"]) == (200, "active", "")
    # the months in which it was suspended are not owed
    assert datetime.fromisoformat(row["tm_renew"]).replace(tzinfo=UTC) > datetime.now(UTC) + timedelta(
        days=27
    )
    assert len(await orders(api, made["number"], "renew")) == 2

    # what its owner suspended stays so, and is paid all the same
    await credit(api, account_id, 5_000_000)
    await api.call("POST", f"{path}/suspend", key=key)
    await due(api, made, late - timedelta(days=1))
    await sweep()
    assert await look(made) == ("suspended", "")
    assert len(await orders(api, made["number"], "renew")) == 3


async def test_a_number_that_was_ported_in(api: Api) -> None:
    customer_id, key = await api.another_customer()
    number = normal()
    api.vendor.held[number] = None

    async def acquire(owner: UUID) -> UUID:
        async with api.database.begin() as connection:
            return await acquired(
                connection, customer_id=owner, number=number, vendor="fake", reference="ported-1", name="old"
            )

    number_id = await acquire(customer_id)
    assert await acquire(customer_id) == number_id
    with pytest.raises(NumberNotAvailable):
        await acquire(api.customer_id)
    _, shown = await api.call("GET", f"/v1.0/numbers/{number_id}", key=key)
    assert (shown["status"], shown["name"], shown["number"]) == ("active", "old", number)
    assert shown["tm_renew"] != NEVER
    (order,) = await orders(api, number)
    assert (order.kind, order.number_reference) == ("configure", "ported-1")


async def test_lists_by_state_and_kind(api: Api) -> None:
    _, key = await api.another_customer()
    made = [await bought(api, virtual(), key=key) for _ in range(3)] + [await bought(api, key=key)]
    await api.call("POST", f"/v1.0/numbers/{made[1]['id']}/suspend", key=key)

    async def listed(**query: str) -> list[str]:
        _, page = await api.call("GET", "/v1.0/numbers", params=query, key=key)
        return [row["id"] for row in page["result"]]

    ids = [row["id"] for row in made]
    assert await listed() == ids[::-1]
    assert await listed(type="virtual") == ids[2::-1]
    assert await listed(status="suspended") == [ids[1]]
    assert await listed(number=made[3]["number"]) == [ids[3]]
    _, page = await api.call("GET", "/v1.0/numbers", params={"page_size": "3"}, key=key)
    assert len(page["result"]) == 3
    assert await listed(page_size="3", page_token=page["next_page_token"]) == [ids[0]]


async def test_on_the_command_line(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    _, key = await api.another_customer()
    monkeypatch.setattr(log, "configure", lambda *_: None)
    environment = {"RINGLINE_API_URL": api.url, "RINGLINE_ACCESSKEY": key}

    # the server's log lines are on the same standard output
    async def run(*arguments: str) -> Result:
        settings.load.cache_clear()
        return await asyncio.to_thread(CliRunner().invoke, cli.app, ["number", *arguments], env=environment)

    try:
        number = virtual()
        assert "There are none" in (await run("list")).stdout
        done = await run("buy", number, "--name", "x\x1b[31mred")
        assert re.search(rf"\{number}  active  [0-9a-f-]{{36}}\n", done.stdout), done.output
        listed = (await run("list", "--type", "virtual")).stdout
        assert number in listed
        assert "x?[31mred" in listed
        assert f"{number}  suspended\n" in (await run("suspend", number)).stdout
        assert f"{number}  active\n" in (await run("reactivate", number)).stdout
        missing = await run("flow", number, "--call-flow", str(uuid4()))
        assert (missing.exit_code, "no flow" in missing.stderr) == (1, True)
        assert (await run("flow", number, "--call-flow", "-")).exit_code == 0
        assert (await run("flow", number)).exit_code == 2
        assert "Nothing is due" in (await run("renew")).stdout
        assert f"{number}  deleted\n" in (await run("release", number, "--yes")).stdout
        gone = await run("release", number, "--yes")
        assert (gone.exit_code, "not one of your numbers" in gone.stderr) == (1, True)
        national = await run("buy", "6062067563")
        assert "did you mean +16062067563?" in national.stderr
    finally:
        settings.load.cache_clear()
