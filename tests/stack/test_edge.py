"""The edge, by what is on the wire: who is heard, where a call goes, what it carries, and who hears of it."""

from __future__ import annotations

import asyncio
import random
import re
import string
from collections.abc import AsyncIterator, Mapping
from dataclasses import fields
from urllib.parse import unquote_plus
from uuid import uuid4

import aiohttp
import pytest

from ringline.routing import KamailioRefused, KamailioRpc, Provider, ProviderFields, Source
from tests.stack import edge as edges
from tests.stack.edge import CRLF, Edge, asterisk_headers
from tests.stack.product import eventually
from tests.stack.sip import SDP, Behaviour, Dialog, Message, Phone, dialog, reply, silent
from tests.stack.stalls import Stalls

OWN = "+15551234567"


@pytest.fixture(scope="module")
async def edge(env: Mapping[str, str]) -> AsyncIterator[Edge]:
    running = await edges.start(env)
    try:
        yield running
    finally:
        await edges.stop(running, env)


# --- who may speak ---------------------------------------------------------------------------------------------


async def _silence(phone: Phone, seconds: float = 0.5) -> None:
    await asyncio.sleep(seconds)
    assert [message.start for message in phone.received] == []


@pytest.mark.parametrize(
    "method", ["INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "BYE", "CANCEL"]
)
async def test_a_stranger_hears_nothing_and_reaches_nobody(edge: Edge, method: str) -> None:
    stranger = await edge.phone()
    before, heard = await edge.counters(), len(edge.asterisk.received)
    begun = dialog(stranger, f"sip:{OWN}@{edge.domain}")
    forged = (
        "X-Ringline-Source: provider",
        f"X-Ringline-Provider: {uuid4()}",
        f"X-Ringline-Customer: {uuid4()}",
        f"P-Asserted-Identity: <sip:{OWN}@{edge.domain}>",
    )
    stranger.send(begun.text(method, *forged, body=SDP if method == "INVITE" else ""), edge.port)
    await _silence(stranger)
    assert len(edge.asterisk.received) == heard

    async def counted() -> bool:
        return (await edge.counters())["stranger"] == before["stranger"] + 1

    await eventually(counted, "it is counted")


async def test_a_stranger_cannot_ride_on_a_dialog(edge: Edge) -> None:
    """A To tag and a Route header of one's own making do not turn the edge into a relay."""
    stranger, victim = await edge.phone(), await edge.phone()
    heard = len(edge.asterisk.received)
    for target in (victim.address[1], edge.asterisk.address[1]):
        forged = dialog(stranger, f"sip:{OWN}@127.0.0.1:{target}")
        forged.to += ";tag=guess"
        forged.routes = (f"<sip:127.0.0.1:{edge.port};lr;sig=0123456789abcdef0123456789abcdef>",)
        for method in ("INVITE", "BYE", "ACK", "REFER"):
            stranger.send(forged.text(method), edge.port)
    await _silence(stranger)
    await _silence(victim, 0)
    assert len(edge.asterisk.received) == heard


async def test_a_reply_nobody_asked_for_is_not_forwarded(edge: Edge) -> None:
    stranger, victim = await edge.phone(), await edge.phone()
    lines = [
        "SIP/2.0 200 OK",
        f"Via: SIP/2.0/UDP 127.0.0.1:{edge.port};branch=z9hG4bKnone",
        f"Via: SIP/2.0/UDP 127.0.0.1:{victim.address[1]};branch=z9hG4bKvictim",
        "From: <sip:a@b>;tag=1",
        "To: <sip:c@d>;tag=2",
        "Call-ID: reflected",
        "CSeq: 1 INVITE",
        "Content-Length: 0",
        "",
        "",
    ]
    stranger.send(CRLF.join(lines), edge.port)
    await _silence(victim)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(("CSeq: 1 INVITE", "CSeq: 1 BYE"), id="cseq-of-another-method"),
        pytest.param(("SIP/2.0\r\n", "SIP/3.0\r\n"), id="version"),
        pytest.param(("Content-Length: ", "Content-Length: 9"), id="longer-than-it-is"),
        pytest.param(("To: <", "To: <<<"), id="broken-to"),
        pytest.param(("Call-ID: ", "Nothing: "), id="no-call-id"),
    ],
)
async def test_malformed_requests_are_dropped_even_from_a_known_source(
    edge: Edge, damage: tuple[str, str]
) -> None:
    heard = len(edge.asterisk.received)
    provider, _ = await edge.provider(None)
    text = dialog(provider, f"sip:{OWN}@{edge.domain}").text("INVITE", body=SDP)
    provider.send(text.replace(*damage), edge.port)
    await asyncio.sleep(0.3)
    assert [message for message in provider.received if message.status < 400] == []
    assert len(edge.asterisk.received) == heard


async def test_garbage_is_survived(edge: Edge) -> None:
    noise, chance = await edge.phone(), random.Random(1)
    good = dialog(noise, f"sip:{OWN}@{edge.domain}").text("INVITE", body=SDP)
    for _ in range(300):
        cut = good[: chance.randrange(len(good))]
        torn = "".join(chance.choice((letter, "\r\n", "\x00", "<", "")) for letter in cut[-40:])
        noise.send(cut[:-40] + torn + "\r\n\r\n" * chance.randrange(2), edge.port)
        noise.send(chance.randbytes(chance.randrange(1, 900)).decode("latin-1"), edge.port)
        # The kernel's buffer is not what is tested.
        await asyncio.sleep(0.005)
    for junk in ("", "\r\n\r\n", "\0", "INVITE", "GET / HTTP/1.1\r\n\r\n", "A" * 60_000):
        noise.send(junk, edge.port)
    await edge.rpc.ping()
    heard = len(edge.asterisk.received)
    begun = edge.call("+899100000001")
    edge.asterisk.answer(await edge.asterisk.request("INVITE", begun.call_id), 486)
    assert (await edge.asterisk.final(begun.call_id)).status == 486
    assert {message.one("call-id") for message in edge.asterisk.received[heard:]} == {begun.call_id}


async def test_a_known_source_is_told_that_its_dialog_is_gone(edge: Edge) -> None:
    lost = dialog(edge.asterisk, f"sip:{OWN}@127.0.0.1:9")
    lost.to += ";tag=forgotten"
    edge.asterisk.send(lost.text("BYE"), edge.port)
    assert (await edge.asterisk.final(lost.call_id, "BYE")).status == 481


@pytest.mark.parametrize("method", ["REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH", "INFO", "REFER"])
async def test_a_provider_may_only_call(edge: Edge, method: str) -> None:
    provider, _ = await edge.provider(None)
    heard = len(edge.asterisk.received)
    begun = dialog(provider, f"sip:{OWN}@{edge.domain}")
    provider.send(begun.text(method), edge.port)
    answer = await provider.final(begun.call_id, method)
    assert (answer.status, answer.one("allow")) == (405, "INVITE, ACK, CANCEL, BYE, OPTIONS")
    assert len(edge.asterisk.received) == heard


async def test_a_loop_ends(edge: Edge) -> None:
    provider, _ = await edge.provider(None)
    begun = edge.call(OWN, "Max-Forwards: 0", caller=provider)
    assert (await provider.final(begun.call_id)).status == 483


async def test_options_is_answered_on_this_machine_but_not_for_a_user(edge: Edge) -> None:
    phone = await edge.phone()
    ping = dialog(phone, f"sip:127.0.0.1:{edge.port}")
    phone.send(ping.text("OPTIONS"), edge.port)
    answer = await phone.final(ping.call_id, "OPTIONS")
    assert answer.status == 200
    assert "server" not in dict(answer.fields) and "amailio" not in answer.raw


async def test_the_control_interface_asks_for_its_secret(edge: Edge) -> None:
    guess = KamailioRpc(f"http://127.0.0.1:{edge.port}/rpc", "guess")
    with pytest.raises(KamailioRefused):
        await guess.ping()
    await guess.close()
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/rpc", "/RPC", "/rpc/../rpc"):
            async with session.get(f"http://127.0.0.1:{edge.port}{path}") as response:
                assert response.status in (401, 404)
                assert "amailio" not in str(response.headers) + await response.text()
    await edge.rpc.ping()


# --- inbound ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialled", "number"),
    [
        ("+15551234567", "+15551234567"),
        ("0015551234567", "+15551234567"),
        ("15551234567", "+15551234567"),
        ("+15551234567;npdi=yes", "+15551234567"),
        ("+4930901820", "+4930901820"),
    ],
)
async def test_a_provider_reaches_asterisk_with_our_headers_and_none_of_its_own(
    edge: Edge, dialled: str, number: str
) -> None:
    provider, known = await edge.provider(None)
    forged = ("X-Ringline-Arrival: internal,", "x-ringline-arrival: me", f"X-RINGLINE-Customer: {uuid4()}")
    asserted = "P-Asserted-Identity: <tel:+4930123456>"
    begun = edge.call(dialled, *forged, asserted, caller=provider)
    invite = await edge.asterisk.request("INVITE", begun.call_id)
    assert invite.uri == f"sip:{number}@{edge.domain}"
    assert arrival(invite) == ["provider", str(known.id), invite.one("from"), "<tel:+4930123456>", ""]
    assert invite.all("x-ringline-customer") == []
    assert invite.one("p-asserted-identity") == "<tel:+4930123456>"
    edge.asterisk.answer(invite, 404, "Unknown number")
    assert (await provider.final(begun.call_id)).status == 404


def arrival(invite: Message) -> list[str]:
    """What the edge tells the controller of a caller: source, provider, From, P-Asserted-Identity, Privacy."""
    return [unquote_plus(part) for part in invite.one("x-ringline-arrival").split(",")]


async def test_a_callers_words_stay_in_their_place(edge: Edge) -> None:
    """Commas, percent signs, umlauts, quotes and what looks like a variable of the dialplan are text."""
    provider, known = await edge.provider(None)
    asserted = '"a,b+c %2C ${EXTEN} ), \\"M\u00fcller\\"" <sip:+4930123456@x;p=1,2>'
    begun = edge.call(OWN, f"P-Asserted-Identity: {asserted}", "Privacy: id;critical", caller=provider)
    invite = await edge.asterisk.request("INVITE", begun.call_id)
    assert arrival(invite) == ["provider", str(known.id), invite.one("from"), asserted, "id;critical"]
    packed = invite.one("x-ringline-arrival")
    assert set(packed) <= {*string.ascii_letters, *string.digits, *",%+-_.~"}
    assert "${" not in packed
    edge.asterisk.answer(invite, 404, "Unknown number")


@pytest.mark.parametrize(
    "dialled",
    ["+899100000001", "00899100000001", "899100000001", "+899100000001;x=y", "100", "anonymous", "0301234"],
)
async def test_a_provider_does_not_reach_what_is_inside(edge: Edge, dialled: str) -> None:
    provider, _ = await edge.provider(None)
    begun = edge.call(dialled, caller=provider)
    assert (await provider.final(begun.call_id)).status == 404
    assert edge.asterisk.requests("INVITE", begun.call_id) == []


async def test_a_provider_is_its_address_and_port(edge: Edge) -> None:
    other = await edge.phone()
    await edge.provider(None)
    begun = edge.call(OWN, caller=other)
    await _silence(other)
    assert edge.asterisk.requests("INVITE", begun.call_id) == []


async def test_a_call_from_a_provider_is_answered_ended_and_stays_inside_its_dialog(edge: Edge) -> None:
    provider, _ = await edge.provider(reply(200))
    begun = edge.call(OWN, caller=provider)
    invite = await edge.asterisk.request("INVITE", begun.call_id)
    edge.asterisk.answer(invite, 180)
    edge.asterisk.answer(invite, 200, body=SDP)
    answer = await provider.final(begun.call_id)
    assert answer.body == SDP
    edge.acknowledge(begun, answer)
    await edge.asterisk.request("ACK", begun.call_id)

    begun.next()
    provider.send(begun.text("INVITE", "X-Ringline-Source: forged", body=SDP), edge.port)
    again = await edge.asterisk.wait(lambda m: m.method == "INVITE" and m.one("cseq") == "2 INVITE")
    assert again.all("x-ringline-source") == []
    edge.asterisk.answer(again, 200, body=SDP)
    await provider.wait(lambda m: m.status == 200 and m.one("cseq") == "2 INVITE")

    # What Asterisk says in it keeps the name by which the caller knows us.
    ours = Dialog(
        edge.asterisk,
        begun.call_id,
        uri=f"sip:127.0.0.1:{provider.address[1]}",
        from_=answer.one("to"),
        to=invite.one("from"),
        branch="z9hG4bKinfo",
        routes=tuple(invite.all("record-route")),
    )
    edge.asterisk.send(ours.text("INFO"), edge.port)
    assert (await provider.request("INFO", begun.call_id)).one("from") == answer.one("to")

    # The other side speaks from another address, as carriers do; the signed route set lets it.
    elsewhere = await edge.phone()
    moved = Dialog(**{**begun.__dict__, "phone": elsewhere})
    moved.next()
    elsewhere.send(moved.text("BYE"), edge.port)
    bye = await edge.asterisk.request("BYE", begun.call_id)
    edge.asterisk.answer(bye, 200)
    assert (await elsewhere.final(begun.call_id, "BYE")).status == 200

    # But only to Asterisk: the same route set leads nowhere else.
    victim = await edge.phone()
    moved.uri = f"sip:x@127.0.0.1:{victim.address[1]}"
    moved.next()
    elsewhere.send(moved.text("INFO"), edge.port)
    await _silence(victim)


# --- outbound --------------------------------------------------------------------------------------------------


async def test_a_call_goes_out_answered_and_ended_by_either_side(edge: Edge) -> None:
    callee, provider = await edge.provider(reply(200, after=(180,)), tech_prefix="9#", tech_postfix="*7")
    await edge.route(provider, target="+4911")
    begun = edge.call("+4911000", customer=str(uuid4()))
    answer = await edge.asterisk.final(begun.call_id)
    assert (answer.status, answer.body) == (200, SDP)
    edge.acknowledge(begun, answer)
    invite = await callee.request("INVITE", begun.call_id)
    assert invite.uri == f"sip:9#+4911000*7@127.0.0.1:{callee.address[1]}"
    assert invite.body == SDP
    assert invite.all("route") == []
    statuses = [m.status for m in edge.asterisk.received if m.one("call-id") == begun.call_id]
    assert list(dict.fromkeys(statuses)) == [100, 180, 200]
    await callee.request("ACK", begun.call_id)
    begun.next()
    edge.asterisk.send(begun.text("BYE"), edge.port)
    assert (await edge.asterisk.final(begun.call_id, "BYE")).status == 200


async def test_the_other_side_hangs_up(edge: Edge) -> None:
    callee, provider = await edge.provider(reply(200))
    await edge.route(provider, target="+4912")
    begun = edge.call("+4912000")
    answer = await edge.asterisk.final(begun.call_id)
    edge.acknowledge(begun, answer)
    invite = await callee.request("INVITE", begun.call_id)
    back = Dialog(
        callee,
        begun.call_id,
        uri=f"sip:asterisk@127.0.0.1:{edge.asterisk.address[1]}",
        from_=answer.one("to"),
        to=invite.one("from"),
        branch="z9hG4bKbye",
        routes=tuple(invite.all("record-route")),
    )
    callee.send(back.text("BYE"), edge.port)
    bye = await edge.asterisk.request("BYE", begun.call_id)
    edge.asterisk.answer(bye, 200)
    assert (await callee.final(begun.call_id, "BYE")).status == 200


async def test_a_call_is_cancelled_while_it_rings(edge: Edge) -> None:
    def ring(phone: Phone, request: Message) -> None:
        phone.answer(request, 180 if request.method == "INVITE" else 200)

    callee, provider = await edge.provider(ring)
    other, second = await edge.provider(reply(200))
    await edge.route(provider, second, target="+4913")
    begun = edge.call("+4913000")
    await edge.asterisk.wait(lambda m: m.status == 180 and m.one("call-id") == begun.call_id)
    edge.asterisk.send(begun.text("CANCEL"), edge.port)
    await callee.request("CANCEL", begun.call_id)
    invite = await callee.request("INVITE", begun.call_id)
    callee.answer(invite, 487, "Request Terminated")
    assert (await edge.asterisk.final(begun.call_id)).status == 487
    await asyncio.sleep(0.2)
    assert other.received == []


@pytest.mark.parametrize("status", [500, 503, 408, 502, 604])
async def test_only_failures_of_the_provider_fail_over(edge: Edge, status: int) -> None:
    await _failover(edge, reply(status), moves_on=status < 600, expected=status)


@pytest.mark.parametrize("status", [486, 603, 600, 404, 403, 480, 487, 488, 484])
async def test_a_refusal_is_final(edge: Edge, status: int) -> None:
    await _failover(edge, reply(status), moves_on=False, expected=status)


@pytest.mark.parametrize("status", [486, 503, 480, 603, 500])
async def test_a_telephone_that_rang_is_not_rung_again(edge: Edge, status: int) -> None:
    await _failover(edge, reply(status, after=(180,)), moves_on=False, expected=status)


async def test_a_redirect_is_not_followed(edge: Edge) -> None:
    def redirect(phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            phone.answer(request, 302, "Moved", "Contact: <sip:+19005551234@127.0.0.1:9>")

    await _failover(edge, redirect, moves_on=False, expected=502)


async def test_silence_and_a_dead_port_reach_the_second_provider_within_three_seconds(edge: Edge) -> None:
    for dead in (False, True):
        first, provider = await edge.provider(silent)
        if dead:
            first.close()
        second, fallback = await edge.provider(reply(200))
        target = f"+4915{int(dead)}"
        await edge.route(provider, fallback, target=target)
        async with Stalls() as stalls:
            begun = edge.call(f"{target}000")
            invite = await second.request("INVITE", begun.call_id, within=15)
            assert stalls.seconds(invite.at) < 3.0
        assert (await edge.asterisk.final(begun.call_id)).status == 200


async def test_a_provider_that_cannot_be_reached_at_all_is_passed_over(edge: Edge) -> None:
    _, nameless = await edge.provider(None, hostname="nowhere.invalid")
    _, closed = await edge.provider(None, transport="tcp")
    _, broken = await edge.provider(reply(503))
    callee, good = await edge.provider(reply(200))
    await edge.route(nameless, good, target="+49231")
    await edge.route(broken, nameless, closed, good, target="+49232")
    await edge.route(broken, nameless, target="+49233")
    await edge.route(nameless, target="+49234")
    for target, expected in (("+49231", 200), ("+49232", 200), ("+49233", 503), ("+49234", 503)):
        async with Stalls() as stalls:
            begun = edge.call(f"{target}000")
            answer = await edge.asterisk.final(begun.call_id, within=15)
            edge.acknowledge(begun, answer)
            assert answer.status == expected, target
            assert stalls.seconds(answer.at) < 3.0, target
    assert len({message.one("call-id") for message in callee.requests("INVITE")}) == 2


async def test_all_providers_silent_is_a_timeout_and_the_best_answer_wins(edge: Edge) -> None:
    _, mute = await edge.provider(silent)
    _, broken = await edge.provider(reply(503))
    await edge.route(broken, mute, target="+49161")
    await edge.route(mute, broken, target="+49162")
    begun = edge.call("+49161000")
    assert (await edge.asterisk.final(begun.call_id, within=15)).status == 408
    begun = edge.call("+49162000")
    assert (await edge.asterisk.final(begun.call_id, within=15)).status == 503


async def test_a_customer_has_its_own_routes_first_and_the_default_ones_after(edge: Edge) -> None:
    customer = uuid4()
    own, own_provider = await edge.provider(reply(503))
    default, default_provider = await edge.provider(reply(503))
    shared, shared_provider = await edge.provider(reply(503))
    await edge.route(default_provider, shared_provider, target="+4917")
    await edge.route(own_provider, shared_provider, target="+49171", customer_id=customer)

    begun = edge.call("+49171000", customer=str(customer))
    assert (await edge.asterisk.final(begun.call_id)).status == 503
    asked = [phone.requests("INVITE", begun.call_id)[0].at for phone in (own, shared, default)]
    assert asked == sorted(asked)

    # Another number of the same customer, and another customer, take the default routes.
    for number, who in (("+49172000", customer), ("+49171000", uuid4())):
        begun = edge.call(number, customer=str(who))
        await edge.asterisk.final(begun.call_id)
        assert own.requests("INVITE", begun.call_id) == []
        assert _tries(default, begun) == 1


async def test_no_route_is_said_with_a_cause_of_its_own(edge: Edge) -> None:
    begun = edge.call("+81300000000")
    answer = await edge.asterisk.final(begun.call_id)
    assert answer.status == 503
    assert answer.one("reason").startswith("Q.850;cause=3")


@pytest.mark.parametrize(
    "number", ["5551234567", "+0123456789", "+1", "+899123", "test11", "+15551234567890123"]
)
async def test_what_is_no_number_goes_nowhere(edge: Edge, number: str) -> None:
    begun = edge.call(number)
    assert (await edge.asterisk.final(begun.call_id)).status == 404


async def test_a_virtual_number_comes_back_to_asterisk(edge: Edge) -> None:
    customer = str(uuid4())
    begun = edge.call("+899100000001", "X-Ringline-Arrival: provider,x", customer=customer)
    invite = await edge.asterisk.request("INVITE", begun.call_id)
    assert invite.uri == f"sip:+899100000001@{edge.domain}"
    assert arrival(invite) == ["internal", "", invite.one("from"), "", ""]
    assert invite.all("x-ringline-customer") == [customer]
    edge.asterisk.answer(invite, 486)
    assert (await edge.asterisk.final(begun.call_id)).status == 486


async def test_a_change_is_in_force_when_it_returns(edge: Edge) -> None:
    first, provider = await edge.provider(reply(486))
    await edge.route(provider, target="+4918")
    begun = edge.call("+4918000")
    assert (await edge.asterisk.final(begun.call_id)).status == 486
    second = await edge.phone(reply(200))
    async with Stalls() as stalls:
        await edge.routing.update_provider(provider.id, _moved(provider, second.address[1]))
        assert stalls.seconds() < 3.0
    begun = edge.call("+4918000")
    assert (await edge.asterisk.final(begun.call_id)).status == 200
    assert _tries(second, begun) == 1
    # Its old address is a stranger's now, the new one is known.
    begun = edge.call(OWN, caller=second)
    await edge.asterisk.request("INVITE", begun.call_id)
    heard = len(first.received)
    begun = edge.call(OWN, caller=first)
    await asyncio.sleep(0.3)
    assert len(first.received) == heard


# --- identity --------------------------------------------------------------------------------------------------


async def test_an_anonymous_leg_has_the_number_in_the_asserted_identity_alone(edge: Edge) -> None:
    callee, provider = await edge.provider(reply(200))
    await edge.route(provider, target="+4919")
    begun = edge.call(
        "+4919000",
        *asterisk_headers(OWN, anonymous=True),
        f"Remote-Party-ID: <sip:{OWN}@127.0.0.1>",
        f"Diversion: <sip:{OWN}@127.0.0.1>",
        f"X-Ringline-Number: {OWN}",
        from_='"Anonymous" <sip:anonymous@anonymous.invalid>',
        customer=str(uuid4()),
    )
    edge.acknowledge(begun, await edge.asterisk.final(begun.call_id))
    invite = await callee.request("INVITE", begun.call_id)
    assert re.fullmatch(r'"Anonymous" <sip:anonymous@anonymous\.invalid>;tag=\w+', invite.one("from"))
    assert invite.all("privacy") == ["id"]
    assert invite.all("p-asserted-identity") == [f"<sip:{OWN}@{edge.domain}>"]
    ack = await callee.request("ACK", begun.call_id)
    begun.next()
    edge.asterisk.send(begun.text("BYE", f"P-Asserted-Identity: <sip:{OWN}@127.0.0.1>"), edge.port)
    bye = await callee.request("BYE", begun.call_id)
    for message in (invite, ack, bye):
        others = [line for line in message.raw.split(CRLF) if not line.startswith("P-Asserted-Identity")]
        assert OWN.removeprefix("+") not in "\n".join(others)
        assert "x-ringline" not in message.raw.lower()


async def test_a_plain_leg_shows_the_number_at_the_sip_domain_in_every_request(edge: Edge) -> None:
    callee, provider = await edge.provider(reply(200))
    await edge.route(provider, target="+4920")
    begun = edge.call("+4920000", *asterisk_headers(OWN), from_=f'"Joe" <sip:{OWN}@127.0.0.1>')
    edge.acknowledge(begun, await edge.asterisk.final(begun.call_id))
    # Kamailio's workers may overtake each other
    await callee.request("ACK", begun.call_id)
    begun.next()
    edge.asterisk.send(begun.text("BYE"), edge.port)
    await callee.request("BYE", begun.call_id)
    seen = [m for m in callee.received if m.one("call-id") == begun.call_id]
    assert list(dict.fromkeys(m.method for m in seen)) == ["INVITE", "ACK", "BYE"]
    for message in seen:
        assert message.one("from").startswith(f'"Joe" <sip:{OWN}@{edge.domain}>;tag=')
    assert seen[0].all("p-asserted-identity") == [f"<sip:{OWN}@{edge.domain}>"]


# --- another address -------------------------------------------------------------------------------------------


async def test_an_advertised_address_is_what_the_world_sees_and_what_comes_back(
    env: Mapping[str, str],
) -> None:
    edge = await edges.start(
        env, RINGLINE_KAMAILIO_ADDRESS="127.0.0.2", RINGLINE_ADVERTISED_ADDRESS="198.51.100.7"
    )
    try:
        provider, _ = await edge.provider(None)
        begun = dialog(provider, f"sip:{OWN}@198.51.100.7")
        provider.send(begun.text("INVITE", body=SDP), edge.port, "127.0.0.2")
        invite = await edge.asterisk.request("INVITE", begun.call_id)
        # Asterisk is spoken to from loopback, the provider's side of the route set is the advertised address.
        assert invite.source == ("127.0.0.1", edge.port)
        inner, outer = (route.partition(";")[0] for route in invite.all("record-route"))
        assert (inner, outer) == (f"<sip:127.0.0.1:{edge.port}", f"<sip:198.51.100.7:{edge.port}")
        edge.asterisk.answer(invite, 200, body=SDP)
        begun.accept(await provider.final(begun.call_id))
        begun.next()
        provider.send(begun.text("BYE"), edge.port, "127.0.0.2")
        bye = await edge.asterisk.request("BYE", begun.call_id)
        assert bye.all("route") == []
        edge.asterisk.answer(bye, 200)
        assert (await provider.final(begun.call_id, "BYE")).status == 200
        url = f"http://127.0.0.2:{edge.port}/rpc"
        async with aiohttp.ClientSession() as session, session.post(url) as response:
            assert response.status == 404
    finally:
        await edges.stop(edge, env)


# --- outage ----------------------------------------------------------------------------------------------------


async def test_routing_goes_on_without_the_database(edge: Edge) -> None:
    callee, provider = await edge.provider(reply(200))
    await edge.route(provider, target="+4921")
    async with edge.database.begin() as connection:
        await connection.exec_driver_sql(f'ALTER DATABASE "{edge.container}" CONNECTION LIMIT 0')
    async with edge.database.connect() as connection:
        await connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kamailio'"
            f" AND datname = '{edge.container}'"
        )
    begun = edge.call("+4921000")
    assert (await edge.asterisk.final(begun.call_id)).status == 200
    begun = edge.call(OWN, caller=callee)
    await edge.asterisk.request("INVITE", begun.call_id)
    async with edge.database.begin() as connection:
        await connection.exec_driver_sql(f'ALTER DATABASE "{edge.container}" CONNECTION LIMIT -1')
    await edge.rpc.reload_routes()
    begun = edge.call("+4921001")
    assert (await edge.asterisk.final(begun.call_id)).status == 200


# --- helpers ---------------------------------------------------------------------------------------------------

_targets = iter(range(300, 999))


async def _failover(edge: Edge, behaviour: Behaviour, *, moves_on: bool, expected: int) -> None:
    """Call over two providers of which the first behaves like this, and see who is asked and what comes back."""
    first, provider = await edge.provider(behaviour)
    second, fallback = await edge.provider(reply(200))
    target = f"+4922{next(_targets)}"
    await edge.route(provider, fallback, target=target)
    async with Stalls() as stalls:
        begun = edge.call(f"{target}000", customer=str(uuid4()))
        answer = await edge.asterisk.final(begun.call_id)
        edge.acknowledge(begun, answer)
        await asyncio.sleep(0.1)
    assert _tries(first, begun) == 1
    if moves_on:
        assert answer.status == 200
        assert _tries(second, begun) == 1
        # at once, and not when its time is up
        assert stalls.seconds(second.requests("INVITE", begun.call_id)[0].at) < 2.0
    else:
        assert answer.status == expected
        assert second.received == []


def _tries(phone: Phone, begun: Dialog) -> int:
    """How often it was asked to take the call: what is sent again meanwhile is the same request."""
    return len({message.one("via") for message in phone.requests("INVITE", begun.call_id)})


def _moved(provider: Provider, port: int) -> ProviderFields:
    """The same provider at another port of this machine."""
    values = {item.name: getattr(provider, item.name) for item in fields(ProviderFields)}
    return ProviderFields(**{**values, "port": port, "sources": (Source.parse(f"127.0.0.1:{port}"),)})
