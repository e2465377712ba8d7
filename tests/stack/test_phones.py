"""Real phones: they dial the telephone network, each other and the house, and are called; both ends listen."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Container, Mapping
from uuid import UUID, uuid4

import numpy as np
import pytest
import sqlalchemy as sa

from ringline.http import utc_now
from ringline.numbers.tables import numbers
from tests.stack import registering
from tests.stack.audio import RATE, Samples, find, read_prompt, read_wav
from tests.stack.baresip import Baresip, account, phones, pitch
from tests.stack.caller import Caller
from tests.stack.conftest import AsteriskView
from tests.stack.containers import Containers
from tests.stack.product import ANSWER, DEFAULT_SOURCE, SOURCE, Json, Product, eventually, number, sleep, talk
from tests.stack.rtp import Ear, noise
from tests.stack.sip import Phone

pytestmark = pytest.mark.timeout(180)
ZERO = "00000000-0000-0000-0000-000000000000"
DIALLED = "+15559876543"
LOW, HIGH = 500, 900


@pytest.fixture(scope="module", autouse=True)
async def shown(product: Product) -> AsyncIterator[None]:
    """The customer's default outgoing number, which its phones show."""
    page = await product.api.get("/v1.0/numbers", number=DEFAULT_SOURCE)
    path, field = "/v1.0/customer", "default_outgoing_source_number_id"
    before = (await product.api.get(path))[field]
    await product.api.call("PUT", path, {field: page["result"][0]["id"]})
    yield
    await product.api.call("PUT", path, {field: before})


@pytest.fixture(scope="module")
async def pair(env: Mapping[str, str]) -> AsyncIterator[tuple[Baresip, Baresip]]:
    """``test11`` hums 500 Hz, ``test12`` 900 Hz."""
    async with phones(env, "test11", tone=LOW) as (first,), phones(env, "test12", tone=HIGH) as (second,):
        yield first, second


@pytest.fixture
async def eva(pair: tuple[Baresip, Baresip], ari: AsteriskView) -> AsyncIterator[Baresip]:
    pair[0].forget()
    yield pair[0]
    await asyncio.gather(*(phone.hang_up() for phone in pair))
    await ari.wait_idle()


@pytest.fixture
async def bob(pair: tuple[Baresip, Baresip]) -> Baresip:
    pair[1].forget()
    return pair[1]


async def record(product: Product, to: str, known: Container[str] = (), within: float = 30.0) -> Json:
    """The record of a phone's last call, found by what it dialled; ``known`` are those that were there before."""
    return await product.show(await product.incoming(to, known=known, within=within))


async def dialled_before(product: Product, to: str) -> set[str]:
    """The calls of phones to a number that other tests dial as well."""
    page = await product.api.get("/v1.0/calls", direction="incoming", page_size="200")
    return {call["id"] for call in page["result"] if call["destination"]["target"] == to}


async def refusals(product: Product, reason: str) -> float:
    return (await product.metrics()).get(f"ringline_calls_refused_total{{reason={reason}}}", 0.0)


async def refused(phone: Baresip, dialled: str) -> str:
    """What a phone is told that is not to hear anything before it: no ringing, no sound, no answer."""
    phone.forget()
    await phone.dial(dialled)
    closed = await phone.event("CALL_CLOSED")
    assert not {"CALL_RINGING", "CALL_PROGRESS", "CALL_ESTABLISHED"} & set(phone.kinds()), phone.kinds()
    return str(closed["param"])[:3]


# to the telephone network


async def test_the_seeds_ladder_without_privacy(eva: Baresip, product: Product) -> None:
    before, known = len(product.lines(DIALLED)), await dialled_before(product, DIALLED)
    await eva.dial(DIALLED)
    await eva.event("CALL_ESTABLISHED")
    kinds = eva.kinds()
    assert kinds.index("CALL_RINGING") < kinds.index("CALL_ESTABLISHED")
    call = await record(product, DIALLED, known)
    assert (call["type"], call["direction"], call["status"]) == ("flow", "incoming", "progressing")
    assert (call["source"]["type"], call["source"]["target"]) == ("extension", "test11")
    assert (call["destination"]["type"], call["flow_id"], call["action"]["type"]) == ("tel", ZERO, "connect")
    (leg,) = call["chained_call_ids"]
    assert (await product.show({"id": leg}))["source"]["target"] == DEFAULT_SOURCE
    flow = await product.api.get(f"/v1.0/activeflows/{call['activeflow_id']}")
    assert (flow["reference_id"], flow["status"]) == (call["id"], "running")
    await asyncio.sleep(1.0)
    await eva.hang_up()
    lines = await eventually(lambda: product.lines(DIALLED)[before:], "the carrier's line", within=20)
    (line,) = lines
    assert (line["privacy"], DEFAULT_SOURCE in line["from_uri"]) == ("", True)
    assert abs(pitch(read_wav(product.recording(line))) - LOW) < 10
    ended = await product.ended(call)
    assert (ended["hangup_by"], ended["hangup_reason"], ended["failures"]) == ("remote", "normal", [])


@pytest.fixture
async def hidden(env: Mapping[str, str]) -> AsyncIterator[tuple[registering.Line, Ear]]:
    """A phone that can say ``Privacy``, which baresip cannot: it dials as ``test11`` without registering."""
    phone, ear = await Phone.open(), await Ear.open()
    who = registering.Account(
        uuid4(), uuid4(), "test11", f"test.{env['RINGLINE_SIP_DOMAIN']}", env["RINGLINE_EXTENSION_PASSWORD"]
    )
    yield registering.Line(phone, who, int(env["RINGLINE_KAMAILIO_PORT"])), ear
    phone.close()
    ear.close()


async def answered(line: registering.Line, ear: Ear, dialled: str, *extra: str) -> Caller:
    """A call that was answered; the answers before it are checked for the ladder's 180."""
    caller = Caller(line.phone, ear, line.port)
    caller.invite = await line.invite(dialled, *extra, body=ear.sdp())
    await caller.answered(within=30.0)
    return caller


async def test_the_seeds_ladder_with_privacy(
    hidden: tuple[registering.Line, Ear], product: Product, ari: AsteriskView
) -> None:
    line, ear = hidden
    to = number()
    caller = await answered(
        line, ear, to, "Privacy: id", "P-Asserted-Identity: <sip:+15550001111@forged.test>"
    )
    assert caller.statuses()[:2] == [100, 180], caller.statuses()
    said = noise(1.5)
    await ear.say(caller.rtp_port, said)
    assert (await record(product, to))["anonymous"]
    await caller.bye()
    found = await product.line(to)
    assert found["privacy"] == "id"
    assert found["from_uri"] == "sip:anonymous@anonymous.invalid", found
    assert (DEFAULT_SOURCE in found["p_asserted_identity"], "0001111" in str(found)) == (True, False)
    assert read_wav(product.recording(found)).size > RATE
    await ari.wait_idle()


async def test_early_media_and_sound_both_ways(eva: Baresip, product: Product) -> None:
    to = number("0006")
    await eva.dial(to)
    await eva.event("CALL_ESTABLISHED")
    kinds = eva.kinds()
    assert kinds.index("CALL_PROGRESS") < kinds.index("CALL_ESTABLISHED")
    await asyncio.sleep(1.2)
    await eva.hang_up()
    await eva.event("CALL_CLOSED")
    line = await product.line(to)
    # the carrier hums 440 and 480 Hz before it answers
    await eventually(lambda: 430 < pitch(eva.heard()[: 2 * RATE]) < 490, "the carrier's early sound")
    assert abs(pitch(read_wav(product.recording(line))) - LOW) < 10


async def test_how_the_far_side_refuses_is_relayed(eva: Baresip, product: Product) -> None:
    for ending, code in (("0001", "486"), ("0003", "603"), ("0004", "404"), ("0005", "503")):
        to = number(ending)
        assert await refused(eva, to) == code, ending
        call = await product.ended(await record(product, to))
        assert (call["status"], call["hangup_by"]) == ("hangup", "local")
        assert call["tm_progressing"] is None


async def test_formats_of_the_customers_country(eva: Baresip, product: Product) -> None:
    local = f"{number()[2:]}"
    await eva.dial(local)
    await eva.event("CALL_ESTABLISHED")
    await eva.hang_up()
    assert (await product.line(f"+1{local}"))["number"] == f"+1{local}"


async def test_what_cannot_be_dialled(eva: Baresip, product: Product) -> None:
    unknown, codes = await refusals(product, "unknown_number"), await refusals(product, "unknown_code")
    for dialled, code in (
        ("nobody", "404"),
        ("*99", "404"),
        ("911", "404"),
        ("+1555", "484"),
        (f"+899{secrets.randbelow(10**9):09}", "404"),
    ):
        assert await refused(eva, dialled) == code, dialled
    assert await refusals(product, "unknown_number") == unknown + 2
    assert await refusals(product, "unknown_code") == codes + 1


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_other_transports(
    env: Mapping[str, str], product: Product, ari: AsteriskView, transport: str
) -> None:
    to = number("0008")
    phone = await Baresip.start(account(env, "test12", transport=transport), tone=HIGH)
    try:
        await phone.registered()
        await phone.dial(to)
        await phone.event("CALL_ESTABLISHED")
        await asyncio.sleep(1.5)
        await phone.hang_up()
        await phone.event("CALL_CLOSED")
        # the carrier echoes
        await eventually(lambda: abs(phone.pitch() - HIGH) < 10, "its own tone came back")
        assert abs(pitch(read_wav(product.recording(await product.line(to)))) - HIGH) < 10
    finally:
        await phone.stop()
    await ari.wait_idle()


async def test_a_trunk_shows_the_customers_numbers_only(
    env: Mapping[str, str], product: Product, ari: AsteriskView
) -> None:
    name, password = f"office{secrets.token_hex(3)}", secrets.token_urlsafe(12)
    trunk = await product.api.post(
        "/v1.0/trunks",
        {
            "name": "Office",
            "domain_name": name,
            "auth_types": ["basic"],
            "username": "pbx",
            "password": password,
        },
    )
    pbx = registering.Account(uuid4(), uuid4(), "pbx", f"{name}.trunk.{env['RINGLINE_SIP_DOMAIN']}", password)
    phone, ear = await Phone.open(), await Ear.open()
    try:
        line = registering.Line(phone, pbx, int(env["RINGLINE_KAMAILIO_PORT"]))
        for user, shown in ((SOURCE, SOURCE), (SOURCE[2:], SOURCE), ("+15550009999", DEFAULT_SOURCE)):
            to = number()
            caller = Caller(phone, ear, line.port)
            caller.invite = await line.invite(to, body=ear.sdp(), user=user)
            await caller.answered(within=30.0)
            await caller.bye()
            found = await product.line(to)
            assert (shown in found["from_uri"], found["privacy"]) == (True, ""), (user, found)
        call = await record(product, to)
        assert (call["source"]["type"], call["source"]["target"]) == ("tel", "+15550009999")
        assert call["source"]["name"] == "Office"
    finally:
        phone.close()
        ear.close()
        await product.api.call("DELETE", f"/v1.0/trunks/{trunk['id']}")
    await ari.wait_idle()


# inside


async def test_an_extension_calls_another(eva: Baresip, bob: Baresip, product: Product) -> None:
    known = await dialled_before(product, "test12")
    await eva.dial("test12")
    await bob.event("CALL_INCOMING")
    await eva.event("CALL_RINGING")
    invite = re.findall(r"INVITE sip:test12.*?\r?\n\r?\n", bob.log, re.DOTALL)[-1]
    assert re.search(r'From: "test11" <sip:test11@', invite), invite
    assert "X-Ringline" not in invite
    await bob.answer()
    await asyncio.gather(eva.event("CALL_ESTABLISHED"), bob.event("CALL_ESTABLISHED"))
    await asyncio.sleep(1.5)
    await bob.hang_up()
    await eva.event("CALL_CLOSED")
    # what they heard is written on for a moment
    await eventually(lambda: abs(eva.pitch() - HIGH) < 10, "eva has heard bob")
    await eventually(lambda: abs(bob.pitch() - LOW) < 10, "bob has heard eva")
    call = await record(product, "test12", known)
    assert (call["destination"]["type"], call["source"]["type"]) == ("extension", "extension")


async def test_who_hides_is_hidden_from_phones_too(
    hidden: tuple[registering.Line, Ear], bob: Baresip, ari: AsteriskView
) -> None:
    line, ear = hidden
    caller = Caller(line.phone, ear, line.port)
    caller.invite = await line.invite("test12", "Privacy: id", body=ear.sdp())
    await bob.event("CALL_INCOMING")
    invite = re.findall(r"INVITE sip:test12.*?\r?\n\r?\n", bob.log, re.DOTALL)[-1]
    assert "anonymous@anonymous.invalid" in invite, invite
    assert "test11" not in invite, invite
    await bob.hang_up()
    await caller.status(486)
    await ari.wait_idle()


async def test_a_phone_that_is_not_registered(eva: Baresip, product: Product) -> None:
    name = f"away{secrets.token_hex(3)}"
    await add_extension(product, name)
    assert await refused(eva, name) == "480"
    call = await record(product, name)
    (leg,) = call["chained_call_ids"]
    shown = await product.show({"id": leg})
    assert (shown["hangup_reason"], shown["hangup_sip_code"]) == ("noanswer", 480)
    assert "registered" in shown["hangup_detail"]


async def add_extension(product: Product, name: str) -> None:
    """An extension of the first customer, with the password of those of the seed."""
    body = {"extension": name, "password": product.env["RINGLINE_EXTENSION_PASSWORD"]}
    await product.api.post("/v1.0/extensions", body)


async def test_a_number_inside_runs_its_flow(eva: Baresip, product: Product) -> None:
    virtual = f"+899{secrets.randbelow(10**9):09}"
    flow_id = await product.store_flow(
        ANSWER, talk("You have reached a number that exists only inside."), sleep(0.3)
    )
    row = {
        "id": uuid4(),
        "customer_id": await product.customer_id(),
        "number": virtual,
        "type": "virtual",
        "call_flow_id": UUID(flow_id),
        "status": "active",
        "tm_create": utc_now(),
    }
    async with product.database.begin() as connection:
        await connection.execute(sa.insert(numbers).values(**row))

    async def reached() -> Json:
        # a number that was written a moment ago is not known everywhere yet
        eva.forget()
        await eva.dial(virtual)
        await eva.event("CALL_CLOSED", within=60)
        assert "CALL_ESTABLISHED" in eva.kinds(), eva.kinds()
        return await product.ended(await record(product, virtual))

    call = await eventually(reached, "the number inside answers", within=30)
    await product.drop_numbers(virtual)
    assert (call["flow_id"], call["chained_call_ids"], call["failures"]) == (flow_id, [], [])
    assert heard_speech(eva, product) >= 1.0
    assert product.lines(virtual) == []


def heard_speech(phone: Baresip, product: Product) -> float:
    """Seconds that a phone heard of the rendered prompt that it heard most of: in half seconds, since a busy machine
    loses packets."""
    heard, step = phone.heard(), RATE // 2

    def seconds(prompt: Samples) -> float:
        pieces = [prompt[at : at + step] for at in range(0, prompt.size - step, step)]
        loud = [piece for piece in pieces if float(np.abs(piece).max()) > 500]
        return sum(find(heard, piece).peak > 0.8 for piece in loud) / 2

    return max((seconds(read_prompt(path)) for path in product.prompts()), default=0.0)


# service codes


async def test_the_echo_test(eva: Baresip, product: Product) -> None:
    dialled = f"*43@{eva.account.realm}"
    known = await dialled_before(product, dialled)
    await eva.dial("*43")
    await eva.event("CALL_ESTABLISHED")

    async def echoed() -> bool:
        return abs(eva.pitch(0.5) - LOW) < 10

    await eventually(echoed, "one's own tone comes back", within=30)
    call = await record(product, dialled, known)
    assert (call["type"], call["destination"]["target_name"]) == ("sip-service", "Echo test")
    await eva.hang_up()
    assert (await product.ended(call))["hangup_by"] == "remote"


async def test_who_am_i(eva: Baresip, product: Product) -> None:
    dialled = f"*65@{eva.account.realm}"
    known = await dialled_before(product, dialled)
    await eva.dial("*65")
    await eva.event("CALL_CLOSED", within=60)
    call = await product.ended(await record(product, dialled, known))
    assert (call["type"], call["status"], call["failures"]) == ("sip-service", "hangup", [])

    async def ran() -> bool:
        flow = await product.api.get(f"/v1.0/activeflows/{call['activeflow_id']}")
        actions = [(one["type"], one["result"]) for one in flow["executed_actions"]]
        assert actions == [("answer", "ok"), ("sleep", "ok"), ("talk", "ok"), ("sleep", "ok")]
        return True

    await eventually(ran, "every action is written down", within=20)
    # it lasts some 5.7 s, a few pauses among them
    assert heard_speech(eva, product) > 3


# called by the API


async def test_calls_and_groupcalls_ring_phones(eva: Baresip, bob: Baresip, product: Product) -> None:
    groupcall = await product.api.post(
        "/v1.0/groupcalls",
        {
            "source": {"type": "tel", "target": DEFAULT_SOURCE, "target_name": 'Acme "Ltd" <x>'},
            "destinations": [{"type": "extension", "target": name} for name in ("test11", "test12")],
            "actions": [talk("You were the first to answer this call."), sleep(0.2)],
        },
    )
    await asyncio.gather(eva.event("CALL_INCOMING"), bob.event("CALL_INCOMING"))
    invite = re.findall(r"INVITE sip:test11.*?\r?\n\r?\n", eva.log, re.DOTALL)[-1]
    assert re.search(rf'From: "?Acme Ltd x"? <sip:\{DEFAULT_SOURCE}@', invite), invite
    await bob.answer()
    await bob.event("CALL_CLOSED", within=60)
    await eva.event("CALL_CLOSED")
    assert "CALL_ESTABLISHED" not in eva.kinds()
    assert re.search(r"CANCEL sip:.*?Reason: .*?cause=(26|200)", eva.log, re.DOTALL)
    assert heard_speech(bob, product) >= 0.5
    shown = await product.api.get(f"/v1.0/groupcalls/{groupcall['id']}")
    winner = await product.show({"id": shown["answer_call_id"]})
    assert winner["destination"]["target"] == "test12"
    (other,) = set(shown["call_ids"]) - {winner["id"]}
    ended = await product.ended({"id": other})
    assert (ended["hangup_cause"], ended["hangup_reason"]) == (26, "normal")


async def test_several_phones_of_one_extension(
    env: Mapping[str, str], product: Product, ari: AsteriskView
) -> None:
    name = f"many{secrets.token_hex(3)}"
    await add_extension(product, name)
    async with phones(env, name, name, tone=LOW) as (desk, mobile):
        (call,) = await product.api.post(
            "/v1.0/calls",
            {
                "source": {"type": "tel", "target": DEFAULT_SOURCE},
                "destinations": [{"type": "extension", "target": name}],
                "actions": [sleep(1)],
            },
        )
        await asyncio.gather(desk.event("CALL_INCOMING"), mobile.event("CALL_INCOMING"))
        await mobile.answer()
        await desk.event("CALL_CLOSED")
        assert "CALL_ESTABLISHED" not in desk.kinds()
        await mobile.event("CALL_CLOSED")
        assert (await product.ended(call))["hangup_reason"] == "normal"
    await ari.wait_idle()


# ends


async def test_ends_in_each_state_leave_nothing(
    eva: Baresip, bob: Baresip, product: Product, ari: AsteriskView
) -> None:
    """The phone hangs up while dialling, ringing, hearing and talking; the other side hangs up."""
    for ending, event in (
        ("0002", ""),
        ("0002", "CALL_RINGING"),
        ("0006", "CALL_PROGRESS"),
        ("1234", "CALL_ESTABLISHED"),
    ):
        eva.forget()
        to = number(ending)
        await eva.dial(to)
        if event:
            await eva.event(event)
        await eva.hang_up()
        call = await record(product, to) if event else None
        if call is not None:
            assert (await product.ended(call))["hangup_by"] == "remote"
    await ari.wait_idle()
    eva.forget()
    await eva.dial(number("0007"))
    await eva.event("CALL_CLOSED")
    assert "CALL_ESTABLISHED" in eva.kinds()
    eva.forget()
    await eva.dial("test12")
    await bob.event("CALL_INCOMING")
    await bob.hang_up()
    assert str((await eva.event("CALL_CLOSED"))["param"])[:3] == "486"


async def test_a_phones_call_outlives_its_controller(
    eva: Baresip, product: Product, containers: Containers
) -> None:
    to = number()
    await eva.dial(to)
    await eva.event("CALL_ESTABLISHED")
    call = await record(product, to)
    await containers.signal("controller", "KILL")

    async def back() -> bool:
        return bool((await product.show(call))["status"] == "progressing")

    await eventually(back, "the call goes on", within=60)
    await asyncio.sleep(1)
    assert "CALL_CLOSED" not in eva.kinds()
    await eva.hang_up()
    ended = await product.ended(call)
    assert (ended["hangup_by"], ended["hangup_reason"]) == ("remote", "normal")
    line = await product.line(to)
    assert abs(pitch(read_wav(product.recording(line))[-RATE:]) - LOW) < 10

    async def ready() -> bool:
        return (await product.api.call("GET", "/readyz"))[0] == 200

    await eventually(ready, "every part is ready", within=60)
