"""Billing accounts, the ledger, top-ups, refunds, payments and plans, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from tests.component.http.conftest import ADMIN_PASSWORD, PAYMENT_SECRET, Api

from ringline.billing import accounts, ledger
from ringline.billing.ledger import Charge
from ringline.billing.rates import BUILT_IN
from ringline.billing.tables import billing_accounts, billings
from ringline.billing.tiers import MONTHLY_TOKENS
from ringline.customers.tables import customers
from ringline.events.store import events

_ACCOUNTS = "/v1.0/billing_accounts"


@pytest.fixture
async def boss(api: Api) -> str:
    """The token of the installation's administrator."""
    status, answer = await api.call(
        "POST", "/auth/login", json={"username": "admin", "password": ADMIN_PASSWORD}, key="none"
    )
    assert status == 200, answer
    return str(answer["token"])


async def customer_with(api: Api, plan: str = "free", credit: int = 0) -> tuple[UUID, str, UUID]:
    """A customer, its access key and its account."""
    customer_id, key = await api.another_customer()
    account_id = uuid4()
    async with api.database.begin() as connection:
        await accounts.create(
            connection, account_id=account_id, customer_id=customer_id, plan=plan, credit=credit
        )
        await connection.execute(
            sa.update(customers).where(customers.c.id == customer_id).values(billing_account_id=account_id)
        )
    await api.customers.refresh(customer_id)
    await api.balances.refresh(account_id)
    return customer_id, key, account_id


async def charged(api: Api, customer_id: UUID, account_id: UUID, kind: str, used: int) -> UUID:
    call = Charge(
        account_id=account_id,
        customer_id=customer_id,
        rate=BUILT_IN[kind],
        usage=used,
        reference_type="call",
        reference_id=uuid4(),
        idempotency_key=uuid4().hex,
        tm=datetime.now(UTC),
    )
    async with api.database.begin() as connection:
        return (await ledger.charge(connection, call)).id


def reason(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["reason"]


async def test_a_new_account_has_the_tokens_of_its_month(api: Api) -> None:
    _, key, account_id = await customer_with(api, credit=5_000_000)
    status, account = await api.call("GET", "/v1.0/billing_account", key=key)
    assert (status, account["id"]) == (200, str(account_id))
    assert (account["balance_credit"], account["balance_token"]) == (5_000_000, MONTHLY_TOKENS["free"])
    assert account["tm_next_topup"].endswith("-01T00:00:00Z")
    status, page = await api.call("GET", "/v1.0/billings", key=key)
    assert [row["reference_type"] for row in page["result"]] == ["monthly_allowance", "credit_free_tier"]
    assert page["result"][0]["balance_credit_snapshot"] == 5_000_000


async def test_who_sees_which_accounts_and_entries(api: Api, boss: str) -> None:
    customer_id, key, account_id = await customer_with(api, credit=7)
    (_, mine), (_, one) = [await api.call("GET", path, key=key) for path in (_ACCOUNTS, "/v1.0/billings")]
    assert [row["id"] for row in mine["result"]] == [str(account_id)]
    assert {row["customer_id"] for row in one["result"]} == {str(customer_id)}
    for path in (_ACCOUNTS, "/v1.0/billings"):
        everybody = await api.call("GET", f"{path}?all_customers=true", key=key)
        assert reason(everybody) == (403, "PERMISSION_DENIED")
        _, page = await api.call("GET", f"{path}?customer_id={api.customer_id}", key=key)
        assert page["result"] == []
        status, page = await api.call("GET", f"{path}?customer_id={customer_id}", key=boss)
        assert (status, {row["customer_id"] for row in page["result"]}) == (200, {str(customer_id)})
        status, page = await api.call("GET", f"{path}?all_customers=true&page_size=1000", key=boss)
        assert {str(customer_id), str(api.customer_id)} <= {row["customer_id"] for row in page["result"]}
    entry_id = one["result"][0]["id"]
    _, stranger = await api.another_customer()
    for path in (f"/v1.0/billings/{entry_id}", f"{_ACCOUNTS}/{account_id}"):
        assert (await api.call("GET", path, key=key))[0] == 200
        assert (await api.call("GET", path, key=boss))[0] == 200
        assert (await api.call("GET", path, key=stranger))[0] == 404
    assert (await api.call("PUT", f"{_ACCOUNTS}/{account_id}", json={"name": "x"}, key=stranger))[0] == 404


async def test_entries_are_filtered_and_paged(api: Api) -> None:
    customer_id, key, account_id = await customer_with(api, credit=1_000_000)
    for used in (10, 70, 130):
        await charged(api, customer_id, account_id, "call_pstn_outgoing", used)
    await charged(api, customer_id, account_id, "call_vn", 61)

    async def found(query: str) -> list[Any]:
        status, page = await api.call("GET", f"/v1.0/billings?{query}", key=key)
        assert status == 200, page
        return list(page["result"])

    calls = await found("cost_type=call_pstn_outgoing")
    assert [(row["usage_duration"], row["billable_units"]) for row in calls] == [(130, 3), (70, 2), (10, 1)]
    assert [row["amount_credit"] for row in calls] == [-18_000, -12_000, -6_000]
    (virtual,) = await found("cost_type=call_vn")
    assert (virtual["amount_token"], virtual["amount_credit"]) == (-2, 0)
    assert [row["id"] for row in await found(f"reference_id={virtual['reference_id']}")] == [virtual["id"]]
    assert len(await found("transaction_type=top_up")) == 2
    assert len(await found("tm_start=2026-01-01")) == 6
    assert await found("tm_end=2020-01-01T00:00:00Z") == []
    assert await found("reference_type=number") == []
    assert (await api.call("GET", "/v1.0/billings?reference_type=%00", key=key))[0] == 400
    _, page = await api.call("GET", "/v1.0/billings?page_size=4", key=key)
    seen = [row["id"] for row in page["result"]]
    _, page = await api.call("GET", f"/v1.0/billings?page_token={page['next_page_token']}", key=key)
    assert len({*seen, *(row["id"] for row in page["result"])}) == 6


async def test_customers_name_their_account_and_do_not_choose_their_plan(api: Api, boss: str) -> None:
    _, key, account_id = await customer_with(api)
    one = f"{_ACCOUNTS}/{account_id}"
    status, account = await api.call(
        "PUT", one, json={"name": "Main", "payment_method": "credit card"}, key=key
    )
    assert (status, account["name"], account["payment_method"]) == (200, "Main", "credit card")
    status, account = await api.call("PUT", "/v1.0/billing_account", json={"detail": "42"}, key=key)
    assert (status, account["name"], account["detail"]) == (200, "Main", "42")
    info = {"payment_type": "prepaid", "payment_method": ""}
    status, account = await api.call("PUT", f"{one}/payment_info", json=info, key=key)
    assert (status, account["payment_type"], account["payment_method"]) == (200, "prepaid", "")
    assert (await api.call("PUT", one, json={"plan_type": "free"}, key=key))[0] == 200
    assert reason(await api.call("PUT", one, json={"plan_type": "unlimited"}, key=key)) == (
        403,
        "PERMISSION_DENIED",
    )
    status, account = await api.call("PUT", one, json={"plan_type": "basic"}, key=boss)
    assert (status, account["plan_type"], account["balance_token"]) == (200, "basic", MONTHLY_TOKENS["basic"])
    # back and forth in a month gives nothing twice
    for plan in ("free", "basic"):
        status, account = await api.call("PUT", one, json={"plan_type": plan}, key=boss)
        assert (status, account["balance_token"]) == (200, MONTHLY_TOKENS["basic"])
    async with api.database.connect() as connection:
        told = sa.select(events.c.type, events.c.data).where(events.c.resource_id == account_id)
        types = [row.type for row in (await connection.execute(told)).all()]
    assert set(types) == {"billing_account_created", "billing_account_updated"}


async def test_the_administrator_tops_up_once_for_each_reference(api: Api, boss: str) -> None:
    _, key, account_id = await customer_with(api)
    path = f"{_ACCOUNTS}/{account_id}/balance_add_force"
    body = {"credit": 5_000_000, "reference": "INV-1", "detail": "Transfer"}
    assert reason(await api.call("POST", path, json=body, key=key)) == (403, "PERMISSION_DENIED")
    answers = await asyncio.gather(*(api.call("POST", path, json=body, key=boss) for _ in range(4)))
    assert [(status, row["balance_credit"]) for status, row in answers] == [(200, 5_000_000)] * 4
    other = await api.call("POST", path, json={**body, "credit": 6_000_000}, key=boss)
    assert reason(other) == (409, "ALREADY_EXISTS")
    _, account = await api.call("POST", path, json={"token": 5, "transaction_type": "adjustment"}, key=boss)
    assert (account["balance_credit"], account["balance_token"]) == (5_000_000, MONTHLY_TOKENS["free"] + 5)
    for wrong in ({}, {"credit": 0}, {"credit": -1}, {"credit": 10**16}, {"credit": 1.5}, {"credit": "1"}):
        assert (await api.call("POST", path, json=wrong, key=boss))[0] == 400, wrong
    _, answer = await api.call("POST", f"{_ACCOUNTS}/{account_id}/balance_subtract_force", json={}, key=boss)
    assert answer["error"]["message"] == "`credit` or `token` must be greater than 0."
    assert answer["error"]["details"][0]["field"] == "credit"
    overflow = await api.call("POST", path, json={"credit": 10**15}, key=boss)
    assert reason(overflow) == (400, "INVALID_ARGUMENT")
    nobody = f"{_ACCOUNTS}/{uuid4()}/balance_add_force"
    assert reason(await api.call("POST", nobody, json=body, key=boss)) == (404, "BILLING_ACCOUNT_NOT_FOUND")


async def test_no_more_is_taken_off_than_there_is(api: Api, boss: str) -> None:
    _, _, account_id = await customer_with(api, credit=1_000)
    path = f"{_ACCOUNTS}/{account_id}/balance_subtract_force"
    assert reason(await api.call("POST", path, json={"credit": 1_001}, key=boss)) == (
        409,
        "BALANCE_TOO_SMALL",
    )
    status, account = await api.call("POST", path, json={"credit": 1_000, "token": 1_000}, key=boss)
    assert (status, account["balance_credit"], account["balance_token"]) == (200, 0, 0)


async def test_a_charge_is_refunded_at_most_once(api: Api, boss: str) -> None:
    customer_id, key, account_id = await customer_with(api, credit=100_000)
    entry_id = await charged(api, customer_id, account_id, "call_pstn_outgoing", 600)
    path = f"/v1.0/billings/{entry_id}/refund"
    assert reason(await api.call("POST", path, json={}, key=key)) == (403, "PERMISSION_DENIED")
    status, account = await api.call("POST", path, json={"credit": 20_000, "detail": "Bad line"}, key=boss)
    assert (status, account["balance_credit"]) == (200, 60_000)
    assert reason(await api.call("POST", path, json={"credit": 40_001}, key=boss)) == (
        409,
        "BALANCE_TOO_SMALL",
    )
    answers = await asyncio.gather(*(api.call("POST", path, key=boss) for _ in range(3)))
    assert sorted(status for status, _ in answers) == [200, 409, 409]
    _, account = await api.call("GET", "/v1.0/billing_account", key=key)
    assert account["balance_credit"] == 100_000
    _, page = await api.call("GET", "/v1.0/billings?transaction_type=refund", key=key)
    back = page["result"][0]
    again = await api.call("POST", f"/v1.0/billings/{back['id']}/refund", json={}, key=boss)
    assert reason(again) == (409, "FAILED_PRECONDITION")
    assert back["cost_type"] == "call_pstn_outgoing"


async def pay(
    api: Api, body: dict[str, Any], *, secret: str = PAYMENT_SECRET, ago: int = 0
) -> tuple[int, Any]:
    """As a payment provider does it, by hand: the signature is not made by what verifies it."""
    content, moment = json.dumps(body), str(int(time.time()) - ago)
    signed = hmac.new(
        base64.b64decode(secret.removeprefix("whsec_")), f"msg_1.{moment}.{content}".encode(), hashlib.sha256
    )
    headers = {
        "Content-Type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(signed.digest()).decode()}",
    }
    async with api.session.post(f"{api.url}/hooks/payments", data=content, headers=headers) as response:
        return response.status, await response.json()


async def test_payments_are_posted_once_and_only_when_signed(api: Api) -> None:
    _, key, account_id = await customer_with(api)
    body = {
        "billing_account_id": str(account_id),
        "amount": 25_000_000,
        "transaction_id": f"pi_{uuid4().hex}",
    }
    assert reason(await pay(api, body, secret="whsec_d3Jvbmc=")) == (403, "SIGNATURE_INVALID")
    assert reason(await pay(api, body, ago=3_600)) == (403, "SIGNATURE_INVALID")
    async with api.session.post(f"{api.url}/hooks/payments", json=body) as response:
        assert response.status == 403
    answers = await asyncio.gather(*(pay(api, body) for _ in range(3)))
    assert sorted(answer["posted"] for status, answer in answers if status == 200) == [False, False, True]
    other = await pay(api, {**body, "amount": 1})
    assert reason(other) == (409, "ALREADY_EXISTS")
    assert other[1]["error"]["details"][0]["field"] == "transaction_id"
    for wrong in ({"amount": 0}, {"amount": -5}, {"amount": 2**63}, {"transaction_id": ""}, {"more": 1}):
        assert (await pay(api, {**body, **wrong}))[0] == 400, wrong
    assert (await pay(api, {**body, "billing_account_id": str(uuid4())}))[0] == 404
    _, account = await api.call("GET", "/v1.0/billing_account", key=key)
    assert account["balance_credit"] == 25_000_000
    assert (await pay(api, {**body, "type": "payment_returned"}))[1] == {"posted": True}
    _, account = await api.call("GET", "/v1.0/billing_account", key=key)
    assert account["balance_credit"] == 0


async def test_a_customer_chooses_among_its_accounts(api: Api, boss: str) -> None:
    customer_id, key, first = await customer_with(api)
    body = {"customer_id": str(customer_id), "name": "Second", "plan_type": "basic"}
    assert reason(await api.call("POST", _ACCOUNTS, json=body, key=key)) == (403, "PERMISSION_DENIED")
    status, second = await api.call("POST", _ACCOUNTS, json=body, key=boss)
    assert (status, second["balance_token"]) == (200, MONTHLY_TOKENS["basic"])
    nobody = await api.call("POST", _ACCOUNTS, json={**body, "customer_id": str(uuid4())}, key=boss)
    assert reason(nobody) == (404, "CUSTOMER_NOT_FOUND")
    _, account = await api.call("GET", "/v1.0/billing_account", key=key)
    assert account["id"] == str(first)
    path, choice = "/v1.0/customer/billing_account_id", {"billing_account_id": second["id"]}
    _, _, foreign = await customer_with(api)
    wrong = await api.call("PUT", path, json={"billing_account_id": str(foreign)}, key=key)
    assert reason(wrong) == (404, "BILLING_ACCOUNT_NOT_FOUND")
    assert (await api.call("PUT", path, json=choice, key=key))[0] == 200
    _, account = await api.call("GET", "/v1.0/billing_account", key=key)
    assert account["id"] == second["id"]
    _, customer = await api.call("GET", "/v1.0/customer", key=key)
    assert customer["billing_account_id"] == second["id"]


async def test_a_plan_allows_so_many_and_not_one_more_at_once(api: Api, boss: str) -> None:
    _, key, account_id = await customer_with(api)

    async def make(path: str, **body: Any) -> tuple[int, Any]:
        return await api.call("POST", path, json=body, key=key)

    answers = await asyncio.gather(
        *(make("/v1.0/extensions", extension=f"ext{index}", password="correct horse 7") for index in range(9))
    )
    assert sorted(status for status, _ in answers) == [200] * 5 + [429] * 4
    (refused, *_) = [answer for status, answer in answers if status == 429]
    assert refused["error"]["reason"] == "PLAN_LIMIT_REACHED"
    assert refused["error"]["details"] == [
        {"limit": 5, "held": 5, "resource": "extensions", "plan_type": "free"}
    ]
    answers = await asyncio.gather(*(make("/v1.0/queues", name=f"q{index}") for index in range(4)))
    assert sorted(status for status, _ in answers) == [200, 200, 429, 429]
    # one of them is there already: the customer's first
    answers = await asyncio.gather(
        *(make("/v1.0/agents", username=uuid4().hex, password="correct horse 7") for _ in range(6))
    )
    assert sorted(status for status, _ in answers) == [200] * 4 + [429] * 2
    mine = next(answer for status, answer in await asyncio.gather(make("/v1.0/queues", name="no")))
    assert "`free` allows 2 queues, and you have 2" in mine["error"]["message"]
    await api.call("PUT", f"{_ACCOUNTS}/{account_id}", json={"plan_type": "basic"}, key=boss)
    assert (await make("/v1.0/queues", name="now"))[0] == 200


async def test_tokens_come_once_a_month_and_do_not_add_up(api: Api) -> None:
    customer_id, _, account_id = await customer_with(api)
    await charged(api, customer_id, account_id, "call_vn", 60 * 400)

    async def tokens() -> int:
        async with api.database.connect() as connection:
            statement = sa.select(billing_accounts.c.balance_token).where(billing_accounts.c.id == account_id)
            return int((await connection.execute(statement)).scalar_one())

    assert await tokens() == 600
    # several processes, after an outage of months
    later = datetime(2031, 5, 17, tzinfo=UTC)
    await asyncio.gather(*(accounts.allow_all(api.database, later) for _ in range(4)))
    assert await tokens() == 1_000
    async with api.database.connect() as connection:
        statement = sa.select(billings.c.amount_token).where(
            billings.c.account_id == account_id, billings.c.reference_type == "monthly_allowance"
        )
        posted = list((await connection.execute(statement.order_by(billings.c.position))).scalars())
        next_one = sa.select(billing_accounts.c.tm_next_topup).where(billing_accounts.c.id == account_id)
        assert (await connection.execute(next_one)).scalar_one() == datetime(2031, 6, 1, tzinfo=UTC)
    assert posted == [1_000, 400]
    assert await accounts.allow_all(api.database, later) == 0


async def test_a_balance_that_was_written_by_hand_is_found(api: Api) -> None:
    _, _, account_id = await customer_with(api, credit=10)

    async def wrong(*, summed: bool) -> dict[str, Any] | None:
        found = await accounts.differences(api.database, summed=summed)
        return next((account for account in found if account["id"] == account_id), None)

    assert await wrong(summed=True) is None and await wrong(summed=False) is None
    change = sa.update(billing_accounts).where(billing_accounts.c.id == account_id)
    async with api.database.begin() as connection:
        await connection.execute(change.values(balance_credit=11, held_token=1))
    try:
        for summed in (True, False):
            found = await wrong(summed=summed)
            assert found is not None
            assert (found["balance_credit"], found["should_be_balance_credit"]) == (11, 10)
            assert (found["held_token"], found["should_be_held_token"]) == (1, 0)
    finally:
        async with api.database.begin() as connection:
            await connection.execute(change.values(balance_credit=10, held_token=0))
