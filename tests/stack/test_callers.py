"""Callers of the telephone network who ring in, and numbers that exist only inside: who is let in, who hears what."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.billing.tables import billing_accounts
from ringline.customers.tables import customers
from ringline.http import utc_now
from ringline.numbers.tables import numbers
from ringline.routing import KamailioRpc, ProviderFields, RoutingService, Source
from tests.stack.audio import chirp, encode, find, read_wav
from tests.stack.conftest import AsteriskView
from tests.stack.files import Files
from tests.stack.product import ANSWER, HANGUP, SOURCE, Json, Product, eventually, number, play, sleep
from tests.stack.rtp import Ear
from tests.stack.sip import Dialog, Message, Phone, dialog, new_branch

MENU = chirp(500, 1400)
CALLER = "<sip:+15553330001@carrier.test>"


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    yield
    await ari.wait_idle()


class Carrier:
    """A provider of the running instance that is played by the test."""

    def __init__(self, product: Product, phone: Phone, ear: Ear) -> None:
        self.product = product
        self.phone = phone
        self.ear = ear
        self.port = int(product.env["RINGLINE_KAMAILIO_PORT"])

    def invite(self, dialled: str, *headers: str, from_: str = CALLER) -> Dialog:
        """Call; ``dialled`` is the user of the request URI, or a URI where it has a scheme."""
        scheme = dialled.startswith(("tel:", "sip:"))
        uri = dialled if scheme else f"sip:{dialled}@127.0.0.1:{self.port}"
        begun = dialog(self.phone, uri, from_)
        self.phone.send(begun.text("INVITE", *headers, body=self.ear.sdp()), self.port)
        return begun

    async def final(self, begun: Dialog) -> Message:
        """The final answer, acknowledged; an answered call is ended at once."""
        answer = await self.phone.final(begun.call_id, within=20)
        if answer.status >= 300:
            refused = Dialog(**{**begun.__dict__, "to": answer.one("to")})
            self.phone.send(refused.text("ACK"), self.port)
            return answer
        begun.accept(answer)
        begun.branch = new_branch()
        self.phone.send(begun.text("ACK"), self.port)
        begun.next()
        self.phone.send(begun.text("BYE"), self.port)
        await self.phone.final(begun.call_id, "BYE", within=10)
        return answer

    async def status(self, dialled: str, *headers: str, from_: str = CALLER) -> int:
        return (await self.final(self.invite(dialled, *headers, from_=from_))).status


@pytest.fixture(scope="module")
async def carrier(product: Product, env: Mapping[str, str]) -> AsyncIterator[Carrier]:
    phone, ear = await Phone.open(), await Ear.open()
    rpc = KamailioRpc(env["RINGLINE_KAMAILIO_RPC_URL"], env["RINGLINE_KAMAILIO_SECRET"])
    routing = RoutingService(product.database, rpc)
    port = phone.address[1]
    known = await routing.create_provider(
        ProviderFields(
            name=f"callers {port}",
            hostname="127.0.0.1",
            port=port,
            sources=(Source.parse(f"127.0.0.1:{port}"),),
        )
    )
    yield Carrier(product, phone, ear)
    await routing.delete_provider(known.id)
    await rpc.close()
    phone.close()
    ear.close()


class Desk:
    """Numbers and customers of a test, written past the API and taken away after it."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self._numbers: list[UUID] = []
        self._customers: list[UUID] = []

    async def add(
        self,
        flow_id: str | None,
        *,
        status: str = "active",
        virtual: bool = False,
        own: str = "",
        customer_id: UUID | None = None,
    ) -> str:
        own = own or (f"+899{secrets.randbelow(10**9):09}" if virtual else number())
        row = {
            "id": uuid4(),
            "customer_id": customer_id or await self.product.customer_id(),
            "number": own,
            "type": "virtual" if virtual else "normal",
            "call_flow_id": UUID(flow_id) if flow_id else None,
            "status": status,
            "tm_create": utc_now(),
        }
        self._numbers.append(row["id"])
        async with self.product.database.begin() as connection:
            await connection.execute(sa.insert(numbers).values(**row))
        return own

    async def customer(self, *, status: str = "active", credit: int = 1_000_000) -> UUID:
        customer_id, account_id = uuid4(), uuid4()
        self._customers.append(customer_id)
        async with self.product.database.begin() as connection:
            row = {"id": customer_id, "domain_label": customer_id.hex, "status": status}
            row |= {"billing_account_id": account_id, "tm_create": utc_now()}
            await connection.execute(sa.insert(customers).values(**row))
            account = {"id": account_id, "customer_id": customer_id, "balance_credit": credit}
            await connection.execute(sa.insert(billing_accounts).values(**account, tm_create=utc_now()))
        return customer_id

    async def close(self) -> None:
        async with self.product.database.begin() as connection:
            await connection.execute(sa.delete(numbers).where(numbers.c.id.in_(self._numbers)))
            owned = billing_accounts.c.customer_id.in_(self._customers)
            await connection.execute(sa.delete(billing_accounts).where(owned))
            await connection.execute(sa.delete(customers).where(customers.c.id.in_(self._customers)))


@pytest.fixture
async def desk(product: Product) -> AsyncIterator[Desk]:
    made = Desk(product)
    yield made
    await made.close()


async def refused(product: Product) -> dict[str, float]:
    samples = await product.metrics()
    head = "ringline_calls_refused_total{reason="
    return {name[len(head) : -1]: value for name, value in samples.items() if name.startswith(head)}


def connect(*to: str, **option: Any) -> Json:
    source = {"type": "tel", "target": SOURCE}
    destinations = [{"type": "tel", "target": target} for target in to]
    return {"type": "connect", "option": {"source": source, "destinations": destinations, **option}}


async def test_whoever_is_not_let_in_is_told_so_and_counted(
    product: Product, carrier: Carrier, desk: Desk
) -> None:
    flow, deleted = await product.store_flow(ANSWER, sleep(5)), await product.store_flow(ANSWER, sleep(5))
    frozen, broke = await desk.customer(status="frozen"), await desk.customer(credit=0)
    expected = {
        number(): (404, "unknown_number"),
        await desk.add(flow, status="suspended"): (480, "number_suspended"),
        await desk.add(flow, status="purchase-pending"): (404, "number_not_active"),
        await desk.add(None): (480, "no_flow"),
        await desk.add(flow, customer_id=frozen): (503, "customer_not_active"),
        await desk.add(flow, customer_id=broke): (503, "balance_exhausted"),
    }
    orphan = await desk.add(deleted)
    status, _ = await product.api.call("DELETE", f"/v1.0/flows/{deleted}")
    assert status == 200
    expected[orphan] = (480, "no_flow")
    virtual = await desk.add(flow, virtual=True)
    page = await product.api.get("/v1.0/numbers", number=orphan)
    assert page["result"][0]["call_flow_id"] == "00000000-0000-0000-0000-000000000000"

    async def known() -> bool:
        return await carrier.status(virtual) == 404 and await carrier.status(orphan) == 480

    await eventually(known, "the numbers are known", within=30)
    reasons = [reason for _, reason in expected.values()]

    async def told_and_counted() -> bool:
        before = await refused(product)
        answers = await asyncio.gather(*(carrier.status(dialled) for dialled in expected))
        assert dict(zip(expected, answers, strict=True)) == {
            to: status for to, (status, _) in expected.items()
        }
        after = await refused(product)
        for reason in set(reasons):
            assert after[reason] - before.get(reason, 0) == reasons.count(reason), reason
        return True

    # customers and balances are known a moment after they are written, as numbers are
    await eventually(told_and_counted, "each is told why", within=30)
    page = await product.api.get("/v1.0/calls", direction="incoming", page_size="200")
    assert {call["destination"]["target"] for call in page["result"]}.isdisjoint(expected)


async def test_a_balance_and_a_suspension_count_from_the_next_call_on(
    product: Product, carrier: Carrier, desk: Desk
) -> None:
    flow = await product.store_flow(ANSWER, sleep(2))
    own = await desk.add(flow)
    customer_id = await product.customer_id()

    async def write(table: sa.Table, where: sa.ColumnElement[bool], **values: Any) -> None:
        async with product.database.begin() as connection:
            await connection.execute(sa.update(table).where(where).values(**values))

    async def gives(status: int) -> None:
        async def same() -> bool:
            return await carrier.status(own) == status

        await eventually(same, f"{own} answers {status}", within=30)

    await gives(200)
    mine = billing_accounts.c.customer_id == customer_id
    async with product.database.connect() as connection:
        (account,) = (await connection.execute(sa.select(billing_accounts).where(mine))).all()
    credit, token = billing_accounts.c.balance_credit, billing_accounts.c.balance_token
    # by difference: what was used before may be charged meanwhile
    missing = {"balance_credit": account.balance_credit, "balance_token": account.balance_token}
    await write(
        billing_accounts,
        mine,
        balance_credit=credit - missing["balance_credit"],
        balance_token=token - missing["balance_token"],
    )
    try:
        await gives(503)
        # tokens do not pay for calls from the telephone network
        await write(billing_accounts, mine, balance_token=token + 1)
        missing["balance_token"] -= 1
        await gives(503)
        await write(billing_accounts, mine, balance_credit=credit + 1_000_000)
        missing["balance_credit"] -= 1_000_000
        await gives(200)
    finally:
        await write(
            billing_accounts,
            mine,
            balance_credit=credit + missing["balance_credit"],
            balance_token=token + missing["balance_token"],
        )
    await gives(200)
    await write(numbers, numbers.c.number == own, status="suspended")
    await gives(480)


async def test_ported_numbers_in_every_form_reach_their_flow(
    product: Product, carrier: Carrier, desk: Desk
) -> None:
    flow = await product.store_flow(ANSWER, sleep(1))
    # Berlin, and a number that exists nowhere else
    digits = f"30{secrets.randbelow(9 * 10**7) + 10**7}"
    own = await desk.add(flow, own=f"+49{digits}")
    port = carrier.port
    forms = [
        own,
        own[1:],
        f"00{own[1:]}",
        f"%2B{own[1:]}",
        f"0{digits}",
        digits,
        f"{own};npdi;rn=+4930000000",
        f"tel:{own}",
        f"tel:+49-{digits[:2]}-{digits[2:]}",
        f"tel:{digits};phone-context=+49",
        f"tel:{own};npdi;rn=+4930000000",
        f"sip:{own}@127.0.0.1:{port};user=phone",
        f"sip:{digits};phone-context=+49@127.0.0.1:{port};user=phone",
    ]

    async def known() -> bool:
        return await carrier.status(own) == 200

    await eventually(known, "the number is known", within=30)
    begun = [carrier.invite(form) for form in forms]
    answers = await asyncio.gather(*(carrier.final(one) for one in begun))
    assert dict(zip(forms, (answer.status for answer in answers), strict=True)) == dict.fromkeys(forms, 200)

    async def recorded() -> list[Json]:
        page = await product.api.get("/v1.0/calls", direction="incoming", page_size="200")
        return [call for call in page["result"] if call["destination"]["target"] == own]

    async def all_recorded() -> bool:
        assert len(await recorded()) == len(forms) + 1, "each under the number as we know it"
        return True

    await eventually(all_recorded, "the calls are recorded")
    # a second country with the same national number: nobody can say which one is meant
    await desk.add(flow, own=f"+43{digits}")

    async def ambiguous() -> bool:
        return await carrier.status(digits) == 404

    await eventually(ambiguous, "the number is ambiguous", within=30)
    assert await carrier.status(own) == 200


async def test_who_calls_is_asserted_by_the_provider(product: Product, carrier: Carrier, desk: Desk) -> None:
    flow = await product.store_flow(sleep(0.2), HANGUP)
    anonymous = '"Anonymous" <sip:anonymous@anonymous.invalid>'
    asserted = "P-Asserted-Identity: <sip:+4930111222@carrier.test;user=phone>"
    cases = [
        # From, further headers: caller, withheld
        (CALLER, (), ("+15553330001", False)),
        (CALLER, (asserted,), ("+4930111222", False)),
        (anonymous, (asserted, "Privacy: id"), ("+4930111222", True)),
        (CALLER, (asserted, "Privacy: user"), ("+4930111222", True)),
        (CALLER, (asserted, "Privacy: header;critical"), ("+4930111222", True)),
        (CALLER, (asserted, "Privacy: none"), ("+4930111222", False)),
        (anonymous, (), ("", True)),
        ("<sip:+4930111222;npdi@carrier.test>", (), ("+4930111222", False)),
        (CALLER, ("P-Asserted-Identity: <tel:+49-30-111222>",), ("+4930111222", False)),
        ("<sip:004930111222@carrier.test>", (), ("+4930111222", False)),
    ]
    own = [await desk.add(flow) for _ in cases]

    async def ring(to: str, from_: str, headers: tuple[str, ...]) -> None:
        async def taken() -> bool:
            return await carrier.status(to, *headers, from_=from_) != 404

        await eventually(taken, f"{to} is known", within=30)

    await asyncio.gather(*(ring(to, *case[:2]) for to, case in zip(own, cases, strict=True)))
    for to, (from_, headers, wanted) in zip(own, cases, strict=True):
        call = await product.incoming(to)
        assert (call["source"]["target"], call["anonymous"]) == wanted, (from_, headers)
        assert (call["direction"], call["source"]["type"]) == ("incoming", "tel")


async def test_the_flow_begins_while_it_rings(product: Product, carrier: Carrier, desk: Desk) -> None:
    # long enough to be looked at by a machine that stands still for a moment
    own = await desk.add(await product.store_flow(sleep(8), ANSWER, sleep(5)))

    async def ringing() -> Dialog | None:
        begun = carrier.invite(own)
        while True:
            page = await product.api.get("/v1.0/calls", direction="incoming", page_size="50")
            if any(call["destination"]["target"] == own for call in page["result"]):
                return begun
            said = [m.status for m in carrier.phone.received if m.one("call-id") == begun.call_id]
            if any(status >= 300 for status in said):
                return None  # a number that was written a moment ago is not known yet
            await asyncio.sleep(0.1)

    begun = await eventually(ringing, "the number is known", within=30)
    call = await product.show(await product.incoming(own))
    assert (call["status"], call["tm_progressing"]) == ("ringing", None)
    active = await product.api.get(f"/v1.0/activeflows/{call['activeflow_id']}")
    assert (active["reference_id"], active["current_action"]["type"]) == (call["id"], "sleep")
    assert (await carrier.final(begun)).status == 200
    call = await product.ended(call)
    assert call["tm_progressing"] is not None
    assert (call["hangup_by"], call["hangup_reason"]) == ("remote", "normal")


async def test_a_caller_hears_the_menu_chooses_and_is_connected_anonymously(
    product: Product, desk: Desk, files: Files
) -> None:
    called = number("0017")
    receive = {"type": "digits_receive", "option": {"duration": 8000, "length": 1}}
    wait = {**sleep(0.1), "id": str(uuid4())}
    onward = {**connect(called, anonymous="yes"), "id": str(uuid4())}
    branch = {
        "type": "branch",
        "option": {"default_target_id": wait["id"], "target_ids": {"1": onward["id"]}},
    }
    menu = play(files.add("callers.wav", encode(MENU, "wav")))
    flow = await product.store_flow(ANSWER, menu, receive, branch, wait, HANGUP, onward, HANGUP)
    own = await desk.add(flow)

    async def taken() -> list[Json]:
        # the key for the menu, and one for the other party when it has answered
        events = await product.dial_in("+15553330001", own, press=",,1,,,,,,5", seconds=14)
        return events if events[-1]["status"] != 404 else []

    events: list[Json] = await eventually(taken, f"{own} is in service", within=40)
    call = await product.ended(await product.incoming(own))
    assert (call["hangup_by"], call["hangup_reason"], call["failures"]) == ("remote", "normal", [])
    (leg_id,) = call["chained_call_ids"]
    leg = await product.ended({"id": leg_id})
    assert (leg["anonymous"], leg["source"]["target"], leg["master_call_id"]) == (True, SOURCE, call["id"])
    line = await product.line(called)
    assert (line["from_uri"], line["privacy"]) == ("sip:anonymous@anonymous.invalid", "id")
    assert SOURCE in line["p_asserted_identity"]
    assert "5553330001" not in str(line), "the caller's own number is nobody's business"
    # both ways of the conversation: each end heard the key of the other
    assert line["dtmf"] == "5"
    assert events[-1]["dtmf"] == "7"
    heard = read_wav(product.recording(events[-1]))
    assert find(heard, MENU).peak > 0.9


async def test_numbers_inside_are_reached_from_inside_only(
    product: Product, carrier: Carrier, desk: Desk, files: Files
) -> None:
    sound = files.add("inside.wav", encode(MENU, "wav"))
    virtual = await desk.add(await product.store_flow(ANSWER, play(sound), HANGUP), virtual=True)

    async def taken() -> Json | None:
        placed = await product.place(virtual, sleep(10))
        shown = await product.reached(placed, "progressing", "hangup")
        return placed if shown["tm_progressing"] else None

    call = await eventually(taken, "the number is known", within=30)
    incoming = await product.incoming(virtual)
    assert (await product.ended(incoming))["hangup_reason"] == "normal"
    assert (await product.ended(call))["tm_progressing"] is not None
    assert incoming["source"]["target"] == SOURCE
    # a flow's connect
    caller = number("1234")
    call = await product.place(caller, connect(virtual), HANGUP)
    await product.ended(call)
    line = await product.line(caller)
    assert find(read_wav(product.recording(line)), MENU).peak > 0.9
    assert product.lines(virtual) == [], "no provider has a part in it"
    assert await carrier.status(virtual) == 404
    assert await carrier.status(virtual[1:]) == 404


async def test_a_number_inside_is_no_source_outside(product: Product, desk: Desk) -> None:
    virtual = await desk.add(await product.store_flow(ANSWER, HANGUP), virtual=True)
    source = {"type": "tel", "target": virtual}
    body = {"source": source, "destinations": [{"type": "tel", "target": number()}], "actions": [HANGUP]}
    status, answer = await product.api.call("POST", "/v1.0/calls", body)
    assert status == 400, answer
    assert virtual in answer["error"]["message"]
    caller, called = number("0008"), number("0007")
    call = await product.place(caller, connect(called, source=source), HANGUP)
    await product.ended(call)
    line = await product.line(called)
    assert (line["from_uri"], line["privacy"]) == ("sip:anonymous@anonymous.invalid", "id")
    assert virtual not in str(line)
