"""What a telephone that has proved its account may not do all the same: be somebody else, call what its customer may
not, call more than its extension may, and call for help where nobody would hear it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.customers.tables import customers
from ringline.http import utc_now
from ringline.numbers.tables import numbers
from tests.stack.product import Product, eventually, number
from tests.stack.registering import Account, Line
from tests.stack.sip import Dialog, Message, Phone, reply


@pytest.fixture
async def line(product: Product, env: Mapping[str, str]) -> AsyncIterator[Line]:
    """An extension of the test's own, registered from an address of its own."""
    name, password = f"g{uuid4().hex[:10]}", uuid4().hex
    made = await product.api.post("/v1.0/extensions", {"extension": name, "password": password})
    phone = await Phone.open(0, reply(200), "127.0.0.120")
    account = Account(UUID(made["id"]), UUID(made["customer_id"]), name, made["domain_name"], password)
    found = Line(phone, account, int(env["RINGLINE_KAMAILIO_PORT"]))
    try:
        assert (await found.register()).status == 200
        yield found
    finally:
        phone.close()
        await product.api.call("DELETE", f"/v1.0/extensions/{made['id']}")


async def refused(line: Line, dialled: str) -> int:
    begun = await line.invite(dialled)
    return (await _final(line, begun)).status


async def _final(line: Line, begun: Dialog) -> Message:
    answer = await line.phone.final(begun.call_id, within=30)
    _acknowledge(line, begun, answer)
    return answer


def _acknowledge(line: Line, begun: Dialog, answer: Message) -> None:
    if answer.status >= 300:
        line.phone.send(Dialog(**{**begun.__dict__, "to": answer.one("to")}).text("ACK"), line.port)
        return
    begun.accept(answer)
    cseq = begun.cseq
    begun.next()
    begun.cseq = cseq
    line.phone.send(begun.text("ACK"), line.port)


async def _hang_up(line: Line, begun: Dialog) -> None:
    """BYE, with an answer to a challenge where there is one: the dialog's requests are known by its signature."""
    begun.next()
    line.phone.send(begun.text("BYE"), line.port)
    assert (await line.phone.final(begun.call_id, "BYE")).status == 200


async def test_a_phone_cannot_be_somebody_else(product: Product, line: Line) -> None:
    theirs = await _foreign_number(product)
    to = number("0007")
    begun = await line.invite(
        to,
        f"P-Asserted-Identity: <sip:{theirs}@x>",
        f"P-Preferred-Identity: <sip:{theirs}@x>",
        f"Remote-Party-ID: <sip:{theirs}@x>;party=calling",
        f"Diversion: <sip:{theirs}@x>",
        f"X-Ringline-Arrival: provider,{uuid4()},<sip:{theirs}@x>,<sip:{theirs}@x>,",
        f"X-Ringline-Customer: {uuid4()}",
        f"X-Ringline-Call: {uuid4()}",
        user=theirs,
    )
    answer = await line.phone.final(begun.call_id, within=30)
    assert answer.status == 200, answer.raw
    _acknowledge(line, begun, answer)
    carried = await product.line(to)
    assert theirs not in str(carried)
    record = await eventually(lambda: _record(product, to), "the record of the phone's call", within=20)
    assert record["customer_id"] == str(line.account.customer_id)
    assert record["source"]["target"] == line.account.user
    assert theirs not in str(record)


async def _record(product: Product, to: str) -> dict[str, Any] | None:
    page = await product.api.get("/v1.0/calls", direction="incoming", page_size="100")
    return next((call for call in page["result"] if call["destination"]["target"] == to), None)


async def _foreign_number(product: Product) -> str:
    own, customer_id, now = number("5555"), uuid4(), utc_now()
    async with product.database.begin() as connection:
        await connection.execute(
            sa.insert(customers).values(
                id=customer_id, domain_label=f"f{customer_id.hex[:12]}", status="active", tm_create=now
            )
        )
        await connection.execute(
            sa.insert(numbers).values(
                id=uuid4(), customer_id=customer_id, number=own, type="normal", status="active", tm_create=now
            )
        )
    return own


async def test_calls_for_help_are_refused_at_once(product: Product, line: Line) -> None:
    before = await product.metrics()
    name = "ringline_calls_refused_total{reason=emergency_number}"
    assert [await refused(line, dialled) for dialled in ("911", "112")] == [404, 404]
    assert (await product.metrics())[name] == before.get(name, 0) + 2


async def test_countries_are_the_customers_for_phones_too(product: Product, line: Line) -> None:
    await product.api.call("PUT", "/v1.0/outbound_config", {"destination_whitelist": ["us"]})
    try:
        before = await product.metrics()
        name = "ringline_calls_refused_total{reason=country_not_allowed}"
        assert await refused(line, "+493012345678") == 403
        assert await refused(line, "011493012345678") == 403
        assert (await product.metrics())[name] == before.get(name, 0) + 2
    finally:
        status, _ = await product.api.call("PUT", "/v1.0/outbound_config", {"destination_whitelist": ["all"]})
        assert status == 200


async def test_a_trunk_transfers_nobody(product: Product, env: Mapping[str, str]) -> None:
    name, password = f"t{uuid4().hex[:10]}", uuid4().hex
    body = {"domain_name": name, "auth_types": ["basic"], "username": name, "password": password}
    made = await product.api.post("/v1.0/trunks", body)
    phone = await Phone.open(0, _takes_notify, "127.0.0.122")
    account = Account(UUID(made["id"]), UUID(made["customer_id"]), name, made["realm"], password)
    trunk = Line(phone, account, int(env["RINGLINE_KAMAILIO_PORT"]))
    try:
        begun = await trunk.invite("*43")
        assert (await _final(trunk, begun)).status == 200
        begun.next()
        phone.send(begun.text("REFER", f"Refer-To: <sip:{number()}@{made['realm']}>"), trunk.port)
        assert (await phone.final(begun.call_id, "REFER")).status == 202
        told = await phone.wait(lambda m: m.method == "NOTIFY" and "603" in m.body)
        assert told.one("call-id") == begun.call_id
        await _hang_up(trunk, begun)
    finally:
        phone.close()
        await product.api.delete(f"/v1.0/trunks/{made['id']}")


def _takes_notify(phone: Phone, request: Message) -> None:
    if request.method == "NOTIFY":
        phone.answer(request, 200)


async def test_an_extension_has_a_limit(product: Product, line: Line) -> None:
    path = f"/v1.0/extensions/{line.account.id}"
    status, answer = await product.api.call("PUT", path, {"max_calls": 1})
    assert status == 200, answer
    to = number()
    begun = await line.invite(to)
    assert (await _final(line, begun)).status == 200
    assert await refused(line, number()) == 503
    record = await eventually(lambda: _record(product, to), "the record of the phone's call", within=20)
    await _hang_up(line, begun)
    await product.ended(record)
    assert await refused(line, number("0001")) == 486
