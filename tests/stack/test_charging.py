"""Calls cost money: 402, two calls for the money of one, an end with a tone when it is used up, and a crash."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
import sqlalchemy as sa

from ringline.billing.tables import billing_accounts, rates
from ringline.http import utc_now
from ringline.numbers.tables import numbers
from ringline.outbound import store as outbound_store
from tests.stack.conftest import AsteriskView
from tests.stack.containers import Containers
from tests.stack.product import ANSWER, Json, Product, eventually, number, sleep
from tests.stack.registering import Account, Line
from tests.stack.rtp import read_wav
from tests.stack.sip import Phone, reply
from tests.stack.tenants import PASSWORD, Tenant, clear, new_tenant
from tests.stack.test_callers import Carrier
from tests.stack.test_callers import carrier as carrier  # noqa: PLC0414 - a fixture
from tests.stack.test_recovery import kill

A_SECOND = 1_000
"""Micro-US-dollars, by the rate that these tests make for the numbers they call."""
BEEP = 1000
MANY = 90
USED_UP = "the balance was used up"


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    yield
    await ari.wait_idle()


@dataclass
class Payer:
    """A customer with a number of its own, whose calls to ``to`` are paid by the second."""

    product: Product
    tenant: Tenant
    own: str
    to: str

    async def state(self) -> Any:
        async with self.product.database.connect() as connection:
            wanted = sa.select(billing_accounts).where(billing_accounts.c.customer_id == self.tenant.id)
            return (await connection.execute(wanted)).one()

    def order(self, *to: str) -> Json:
        return {
            "source": {"type": "tel", "target": self.own},
            "destinations": [{"type": "tel", "target": one} for one in to or (self.to,)],
            "actions": [sleep(100)],
        }

    async def call(self) -> Json:
        (call,) = await self.tenant.api.post("/v1.0/calls", self.order())
        made: Json = call
        return made

    async def cdr(self, call: Json) -> Json:
        """The record of a call as soon as it was charged."""

        async def settled() -> Json:
            found: Json = await self.tenant.api.get(f"/v1.0/cdrs/{call['id']}")
            assert found["tm_settle"], found
            return found

        record: Json = await eventually(settled, "the call is charged", within=40)
        return record


@pytest.fixture
async def payers(product: Product) -> AsyncIterator[Any]:
    made: list[Payer] = []
    dearer: list[UUID] = []

    async def make(credit: int) -> Payer:
        tenant = await new_tenant(product, credit=credit)
        payer = Payer(product, tenant, number("2222"), number("1234"))
        made.append(payer)
        now = utc_now()
        dearer.append(uuid4())
        async with product.database.begin() as connection:
            row = {"id": uuid4(), "customer_id": tenant.id, "number": payer.own, "type": "normal"}
            await connection.execute(
                sa.insert(numbers).values(**row, provider_name="sandbox", status="active", tm_create=now)
            )
            await outbound_store.ensure(connection, tenant.id, now, destination_whitelist=["all"])
            await connection.execute(
                sa.insert(rates).values(
                    id=dearer[-1],
                    kind="call_pstn_outgoing",
                    prefix=payer.to[1:],
                    credit_per_unit=A_SECOND,
                    unit_seconds=1,
                    tm_start=datetime.fromisoformat("2020-01-01T00:00:00+00:00"),
                    tm_create=now,
                )
            )

        async def known() -> bool:
            # more than anybody here has, so that the answer names the price
            status, answer = await tenant.api.call("POST", "/v1.0/calls", payer.order(*[payer.to] * MANY))
            assert status == 402, answer
            assert answer["error"]["details"][0]["needed_credit"] == MANY * A_SECOND
            return True

        await eventually(known, "number, countries and rate are known", within=30)
        return payer

    yield make
    for payer in made:
        await clear(product, payer.tenant)
    async with product.database.begin() as connection:
        # they are of the past from now on: rates are not deleted
        await connection.execute(sa.update(rates).where(rates.c.id.in_(dearer)).values(tm_end=utc_now()))


async def curl(payer: Payer, path: str, body: Json) -> tuple[int, Json]:
    url = f"{payer.product.env['RINGLINE_API_URL']}{path}?accesskey={payer.tenant.accesskey}"
    arguments = ("-s", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", "-d", json.dumps(body))
    process = await asyncio.create_subprocess_exec("curl", *arguments, url, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    text, _, status = said.decode().rpartition("\n")
    return int(status), json.loads(text)


async def test_what_cannot_be_paid_is_402_with_what_it_takes(payers: Any) -> None:
    payer = await payers(A_SECOND - 1)
    tel = {"type": "tel", "target": payer.to}
    source = {"type": "tel", "target": payer.own}
    asked = {
        "/v1.0/calls": (payer.order(), A_SECOND, "$0.001"),
        "/v1.0/groupcalls": (
            {"source": source, "destinations": [tel], "actions": [ANSWER]},
            A_SECOND,
            "$0.001",
        ),
        "/v1.0/messages": ({"source": source, "destinations": [tel], "text": "x" * 161}, 16_000, "0.016"),
    }
    for path, (body, needed, price) in asked.items():
        status, answer = await curl(payer, path, body)
        error = answer["error"]
        assert (status, error["status"], error["reason"]) == (402, "PAYMENT_REQUIRED", "INSUFFICIENT_BALANCE")
        assert error["details"][0]["needed_credit"] == needed
        assert price in error["message"]
    page = await payer.tenant.api.get("/v1.0/available_numbers", country_code="US", page_size="1")
    status, answer = await curl(payer, "/v1.0/numbers", {"number": page["result"][0]["number"]})
    assert (status, answer["error"]["details"][0]["needed_credit"]) == (402, 5_000_000)
    assert (await payer.state()).balance_credit == A_SECOND - 1


async def test_a_call_ends_with_a_tone_when_its_money_is_used_up(payers: Any, product: Product) -> None:
    payer = await payers(5 * A_SECOND + 500)
    call = await payer.call()
    ended = await payer.tenant.api.wait_call(call["id"], "hangup", within=40)
    assert (ended["hangup_by"], ended["hangup_reason"], ended["hangup_detail"]) == (
        "local",
        "timeout",
        USED_UP,
    )
    cdr = await payer.cdr(call)
    assert (cdr["cost_type"], cdr["billable_units"], cdr["amount_credit"]) == ("call_pstn_outgoing", 5, 5_000)
    assert cdr["billsec"] >= 5
    state = await payer.state()
    assert (state.balance_credit, state.held_credit) == (500, 0)
    line = await product.line(payer.to)
    heard = read_wav(product.recording(line))
    # windows of a fifth of a second: where the beep is the loudest of all there is
    size = 1600
    beeps = []
    for start in range(0, heard.size - size, size // 2):
        window = heard[start : start + size]
        spectrum = np.abs(np.fft.rfft(window * np.hanning(size)))
        loudest = float(np.fft.rfftfreq(size, 1 / 8000)[int(spectrum.argmax())])
        if np.sqrt(np.mean(window**2)) > 300 and abs(loudest - BEEP) < 20:
            beeps.append(start / 8000)
    length = heard.size / 8000
    assert beeps, "the other party heard that the end comes"
    # two seconds before five are over, however late the end itself may be
    assert beeps[0] > 2.5 and beeps[-1] < length, (beeps, length)
    # and the next one does not begin
    status, _ = await payer.tenant.api.call("POST", "/v1.0/calls", payer.order())
    assert status == 402


async def test_two_calls_for_the_money_of_one(payers: Any) -> None:
    payer = await payers(30 * A_SECOND)
    answers = await asyncio.gather(
        *(payer.tenant.api.call("POST", "/v1.0/calls", payer.order()) for _ in range(2))
    )
    assert sorted(status for status, _ in answers) == [200, 402], answers
    (call,) = next(answer for status, answer in answers if status == 200)
    await payer.tenant.api.wait_call(call["id"], "progressing")

    async def held() -> bool:
        return (await payer.state()).held_credit == 30 * A_SECOND

    await eventually(held, "all of it is held for the one")
    await payer.tenant.api.post(f"/v1.0/calls/{call['id']}/hangup")
    cdr = await payer.cdr(call)

    async def paid() -> bool:
        state = await payer.state()
        assert state.balance_credit == (30 - cdr["billsec"]) * A_SECOND
        return bool(state.held_credit == 0)

    await eventually(paid, "what was used is paid, and nothing is held any more")


async def test_callers_and_phones_are_told_that_nobody_pays(
    payers: Any,
    carrier: Carrier,
    env: Mapping[str, str],
) -> None:
    payer = await payers(4_499)
    api = payer.tenant.api
    flow = await api.post("/v1.0/flows", {"name": "x", "actions": [ANSWER, sleep(2)]})
    page = await api.get("/v1.0/numbers", number=payer.own)
    await api.put(f"/v1.0/numbers/{page['result'][0]['id']}", {"call_flow_id": flow["id"]})

    async def refused() -> bool:
        answer = await carrier.final(carrier.invite(payer.own))
        assert answer.status == 503, answer.start
        assert "Insufficient Balance" in answer.start
        assert "cause=402" in answer.one("reason"), answer.raw
        return True

    await eventually(refused, "the caller is refused", within=40)

    made = await api.post("/v1.0/extensions", {"extension": "anna", "password": PASSWORD})
    phone = await Phone.open(0, reply(200), "127.0.0.121")
    try:
        account = Account(UUID(made["id"]), UUID(made["customer_id"]), "anna", made["domain_name"], PASSWORD)
        line = Line(phone, account, int(env["RINGLINE_KAMAILIO_PORT"]))

        async def dials() -> bool:
            begun = await line.invite(number("1234"))
            answer = await phone.final(begun.call_id, within=10)
            assert (answer.status, "Insufficient Balance" in answer.start) == (503, True), answer.start
            assert "cause=402" in answer.one("reason")
            return True

        await eventually(dials, "the phone is refused", within=40)
    finally:
        phone.close()


async def test_a_crash_in_a_paid_call_changes_nothing_of_its_price(
    payers: Any, product: Product, containers: Containers
) -> None:
    payer = await payers(80 * A_SECOND)
    call = await payer.call()
    await payer.tenant.api.wait_call(call["id"], "progressing")
    await kill(product, containers)
    await payer.tenant.api.wait_call(call["id"], "progressing")
    await payer.tenant.api.post(f"/v1.0/calls/{call['id']}/hangup")
    cdr = await payer.cdr(call)
    async with product.database.connect() as connection:
        row = (
            await connection.execute(
                sa.text("SELECT tm_progressing, tm_hangup FROM calls WHERE id = :id"),
                {"id": UUID(call["id"])},
            )
        ).one()
    seconds = ceil((row.tm_hangup - row.tm_progressing).total_seconds())
    assert (cdr["billsec"], cdr["amount_credit"]) == (seconds, seconds * A_SECOND)
    state = await payer.state()
    assert (state.balance_credit, state.held_credit) == ((80 - seconds) * A_SECOND, 0)
