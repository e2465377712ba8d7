"""Providers on the wire: passed over while they are down, asked for a password, given what they want to see."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from ringline.routing import KamailioRpc, Provider, ProviderFields
from ringline.routing.health import Health, ProviderHealth
from tests.stack import edge as edges
from tests.stack.carriers import Challenger, TlsCarrier, checked
from tests.stack.edge import Edge
from tests.stack.product import ANSWER, Product, eventually, number
from tests.stack.sip import CRLF, SDP, WITHIN, Dialog, Message, Phone, dialog, new_branch, reply
from tests.stack.stalls import Stalls

OWN = "+15551234567"
ALL_CODECS = CRLF.join(
    (
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        "m=audio 17999 RTP/AVP 0 8 9 107 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:107 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "",
    )
)
_targets = iter(range(100, 1000))


@pytest.fixture(scope="module")
async def edge(env: Mapping[str, str]) -> AsyncIterator[Edge]:
    """Providers are asked every second instead of every five."""
    running = await edges.start(env, RINGLINE_PROVIDER_CHECK_SECONDS="1")
    try:
        yield running
    finally:
        await edges.stop(running, env)


def a_target() -> str:
    """The beginning of numbers that no other test calls."""
    return f"+4923{next(_targets)}"


async def health(edge: Edge, provider: Provider) -> Health:
    (found,) = await ProviderHealth(edge.rpc).of(provider)
    return found


async def until(edge: Edge, provider: Provider, status: str, within: float = 40.0) -> Health:
    async def now() -> Health | None:
        found = await health(edge, provider)
        return found if found.status == status else None

    found = await eventually(now, f"the provider is {status}", within=within)
    assert isinstance(found, Health)
    return found


async def ended(edge: Edge, number: str, *extra: str, within: float = 30.0) -> tuple[Dialog, Message]:
    """A call and its final answer, acknowledged."""
    begun = edge.call(number, *extra)
    answer = await edge.asterisk.final(begun.call_id, within=within)
    edge.acknowledge(begun, answer)
    return begun, answer


# --- health ----------------------------------------------------------------------------------------------------


async def test_a_dead_provider_is_passed_over_while_it_is_down_and_called_when_it_is_back(edge: Edge) -> None:
    says = {"options": 200}

    def behave(phone: Phone, request: Message) -> None:
        if says["options"]:
            reply(200)(phone, request)

    first, provider = await edge.provider(checked(behave, lambda: says["options"]), health_check=True)
    second, other = await edge.provider(checked(reply(200)), health_check=True)
    target = a_target()
    await edge.route(provider, other, target=target)
    up = await until(edge, provider, "up")
    assert (up.code, up.tm_status is not None, 0 <= up.latency_ms < 5000) == (200, True, True)
    begun, answer = await ended(edge, f"{target}001")
    assert (answer.status, len(first.requests("INVITE", begun.call_id))) == (200, 1)

    # It dies. The first call is with the other one within 3 s, whether that is noticed by OPTIONS or by this call.
    says["options"] = 0
    async with Stalls() as stalls:
        started = stalls.now()
        begun = edge.call(f"{target}002")
        await second.request("INVITE", begun.call_id)
        passed = stalls.now() - started
    answer = await edge.asterisk.final(begun.call_id)
    edge.acknowledge(begun, answer)
    assert answer.status == 200
    assert passed < 3.0
    # From then on nobody waits for it: the silent call has told.
    down = await health(edge, provider)
    assert (down.status, down.failovers) == ("down", 1)
    asked = len(first.requests("INVITE"))
    async with Stalls() as stalls:
        for ending in ("003", "004"):
            started = stalls.now()
            begun, answer = await ended(edge, f"{target}{ending}")
            passed = stalls.now() - started
            assert (answer.status, passed < 1.0) == (200, True), passed
    # Neither does a change of routes bring it back, as drouting's own pinger would have it.
    await edge.rpc.reload_routes()
    await ended(edge, f"{target}005")
    assert len(first.requests("INVITE")) == asked

    says["options"] = 404  # any answer will do
    back = await until(edge, provider, "up")
    assert back.code == 404
    assert back.tm_status is not None
    assert down.tm_status is not None
    assert back.tm_status >= down.tm_status
    begun, answer = await ended(edge, f"{target}006")
    assert len(first.requests("INVITE", begun.call_id)) == 1


async def test_unanswered_options_are_enough_and_nobody_is_left_without_a_provider(edge: Edge) -> None:
    # Both are called although they are down: there is nobody else. The one that is not asked is never passed over.
    mute, dead = await edge.provider(checked(reply(200), 0), health_check=True)
    _, unasked = await edge.provider(reply(486))
    alone, both = a_target(), a_target()
    await edge.route(dead, target=alone)
    await edge.route(unasked, dead, target=both)
    found = await until(edge, dead, "down")
    assert (found.code, found.failovers) == (0, 0)
    begun, answer = await ended(edge, f"{alone}001")
    assert (answer.status, len(mute.requests("INVITE", begun.call_id))) == (200, 1)
    begun, answer = await ended(edge, f"{both}001")
    assert (answer.status, mute.requests("INVITE", begun.call_id)) == (486, [])
    assert (await health(edge, unasked)).status == "unknown"
    options = mute.requests("OPTIONS")[0]
    assert options.uri == f"sip:127.0.0.1:{mute.address[1]}"
    assert (options.one("max-forwards"), edge.domain in options.one("from")) == ("70", True)
    # Without the check it is a provider like any other.
    await edge.routing.change_provider(dead.id, {"health_check": False})
    assert (await health(edge, replace(dead, health_check=False))).status == "unknown"


async def test_what_is_unknown_is_said_so_where_kamailio_does_not_answer() -> None:
    rpc = KamailioRpc("http://127.0.0.1:9/rpc", "x")
    provider: Any = replace(_provider(), registration=True, username="a", password="b")
    (found,) = await ProviderHealth(rpc).of(provider)
    assert (found.status, found.registration.status) == ("unknown", "unknown")
    await rpc.close()


# --- digest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proxy", [True, False])
@pytest.mark.parametrize("realm", ["", "carrier.example"])
async def test_a_challenge_is_answered_and_the_dialog_goes_on(edge: Edge, proxy: bool, realm: str) -> None:
    challenger = Challenger(
        reply(200, after=(180,)),
        username="alice",
        password="s3cret",
        realm="carrier.example",
        proxy=proxy,
        qop=proxy,
    )
    phone, provider = await edge.provider(challenger, username="alice", password="s3cret", realm=realm)
    target = a_target()
    await edge.route(provider, target=target)
    begun, answer = await ended(edge, f"{target}001")
    assert (answer.status, len(challenger.authorised), challenger.refused) == (200, 1, [])
    # The carrier sees CSeq rise with the second try and in each request after it; Asterisk sees its own.
    assert answer.one("cseq") == "1 INVITE"
    ack = await phone.wait(lambda m: m.start.startswith("ACK") and m.one("cseq") == "2 ACK")
    assert ack.one("call-id") == begun.call_id
    begun.next()
    count = begun.cseq
    edge.asterisk.send(begun.text("BYE"), edge.port)
    ended_by = await edge.asterisk.final(begun.call_id, "BYE")
    assert (ended_by.status, ended_by.one("cseq")) == (200, f"{count} BYE")
    assert phone.requests("BYE", begun.call_id)[0].one("cseq") == f"{count + 1} BYE"
    assert "s3cret" not in "".join(message.raw for message in phone.received)


@pytest.mark.parametrize("begins", ["here", "there"])
async def test_challenges_within_a_dialog_are_answered(edge: Edge, begins: str) -> None:
    challenger = Challenger(reply(200), username="alice", password="s3cret", realm="x", within=True)
    phone, provider = await edge.provider(challenger, username="alice", password="s3cret")
    if begins == "here":
        target = a_target()
        await edge.route(provider, target=target)
        begun, answer = await ended(edge, f"{target}001")
        assert (answer.status, len(challenger.authorised)) == (200, 1)
    else:
        edge.asterisk.behaviour = reply(200)
        theirs = edge.call(OWN, caller=phone)
        invite = await edge.asterisk.request("INVITE", theirs.call_id)
        answer = await phone.final(theirs.call_id)
        edge.acknowledge(theirs, answer)
        await edge.asterisk.request("ACK", theirs.call_id)
        edge.asterisk.behaviour = None
        begun = _of_the_callee(edge, invite, answer)
    tried = len(challenger.authorised)
    for method in ("INVITE", "INFO", "BYE"):
        begun.next()
        body = SDP if method == "INVITE" else ""
        edge.asterisk.send(begun.text(method, body=body), edge.port)
        cseq = f"{begun.cseq} {method}"
        settled = await edge.asterisk.wait(
            lambda m, cseq=cseq: (
                m.status >= 200 and m.one("call-id") == begun.call_id and m.one("cseq") == cseq
            ),  # type: ignore[misc]
            WITHIN,
        )
        assert settled.status == 200, method
        if method == "INVITE":
            edge.asterisk.send(replace(begun, branch=new_branch()).text("ACK"), edge.port)
            sent = challenger.authorised[-1].one("cseq").split()[0]
            await phone.wait(
                lambda m, sent=sent: m.start.startswith("ACK") and m.one("cseq") == f"{sent} ACK"
            )  # type: ignore[misc]
    assert len(challenger.authorised) == tried + 3
    assert challenger.refused == []


def _of_the_callee(edge: Edge, invite: Message, answer: Message) -> Dialog:
    """The dialog of a call that came in, as Asterisk speaks in it."""
    contact = invite.one("contact").partition("<")[2].partition(">")[0]
    begun = dialog(edge.asterisk, contact)
    begun.call_id = invite.one("call-id")
    begun.from_, begun.to = answer.one("to"), invite.one("from")
    begun.routes = tuple(invite.all("record-route"))
    return begun


async def test_after_a_challenge_a_refusal_is_acknowledged_and_a_ringing_call_cancelled(edge: Edge) -> None:
    def ring(phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            phone.answer(request, 180)
        elif request.method == "CANCEL":
            phone.answer(request, 200)
            (tried,) = [m for m in ringing.authorised if m.one("call-id") == request.one("call-id")]
            phone.answer(tried, 487, "Request Terminated")

    busy = Challenger(reply(486), username="alice", password="s3cret", realm="x")
    ringing = Challenger(ring, username="alice", password="s3cret", realm="x")
    refusing, first = await edge.provider(busy, username="alice", password="s3cret")
    patient, second = await edge.provider(ringing, username="alice", password="s3cret")
    engaged, long = a_target(), a_target()
    await edge.route(first, target=engaged)
    await edge.route(second, target=long)
    begun, answer = await ended(edge, f"{engaged}001")
    assert (answer.status, answer.one("cseq")) == (486, "1 INVITE")
    await refusing.wait(lambda m: m.start.startswith("ACK") and m.one("cseq") == "2 ACK")
    begun = edge.call(f"{long}001")
    await edge.asterisk.wait(lambda m: m.status == 180 and m.one("call-id") == begun.call_id)
    edge.asterisk.send(begun.text("CANCEL"), edge.port)
    assert (await patient.request("CANCEL", begun.call_id)).one("cseq") == "2 CANCEL"
    assert (await edge.asterisk.final(begun.call_id)).status == 487


async def test_wrong_credentials_are_tried_once_and_the_call_ends(edge: Edge) -> None:
    challenger = Challenger(reply(200), username="alice", password="right", realm="x")
    phone, wrong = await edge.provider(challenger, username="alice", password="wrong")
    other, fallback = await edge.provider(reply(200))
    target, named = a_target(), a_target()
    await edge.route(wrong, fallback, target=target)
    begun, answer = await ended(edge, f"{target}001")
    assert (answer.status, len(phone.requests("INVITE", begun.call_id))) == (407, 2)
    # A realm that is not the one the secret was made with is not even tried.
    _, elsewhere = await edge.provider(challenger, username="alice", password="right", realm="y")
    await edge.route(elsewhere, target=named)
    begun, answer = await ended(edge, f"{named}001")
    assert (answer.status, len(challenger.authorised), other.requests("INVITE")) == (407, 0, [])


async def test_after_a_challenge_that_ends_in_503_the_next_provider_starts_afresh(edge: Edge) -> None:
    challenger = Challenger(reply(503), username="alice", password="s3cret", realm="x")
    _, first = await edge.provider(
        challenger, username="alice", password="s3cret", tech_headers={"X-First": "1"}, tech_prefix="77"
    )
    second, fallback = await edge.provider(reply(200), tech_headers={"X-Second": "2"})
    target = a_target()
    await edge.route(first, fallback, target=target)
    begun, answer = await ended(edge, f"{target}001")
    assert (answer.status, len(challenger.authorised)) == (200, 1)
    invite = await second.request("INVITE", begun.call_id)
    assert invite.uri.startswith(f"sip:{target}001@")
    assert (invite.all("x-second"), invite.all("x-first"), invite.all("proxy-authorization")) == (
        ["2"],
        [],
        [],
    )
    assert invite.one("cseq") == challenger_cseq(challenger, begun)


def challenger_cseq(challenger: Challenger, begun: Dialog) -> str:
    """The CSeq that Asterisk gave its INVITE: one less than that of the authorised try."""
    (tried,) = [m for m in challenger.authorised if m.one("call-id") == begun.call_id]
    return f"{int(tried.one('cseq').split()[0]) - 1} INVITE"


# --- what it hears ---------------------------------------------------------------------------------------------


async def test_headers_and_codecs_are_the_providers_own(edge: Edge) -> None:
    phone, provider = await edge.provider(
        reply(200),
        tech_headers={"X-Account": "77", "X-Trunk": "a;b=c"},
        codecs="PCMA,opus",
        tech_prefix="9#",
        tech_postfix="*1",
    )
    plain, other = await edge.provider(reply(200))
    target, unfiltered = a_target(), a_target()
    await edge.route(provider, target=target)
    await edge.route(other, target=unfiltered)
    for dialled in (f"{target}001", f"{unfiltered}001"):
        begun = edge.call(dialled)
        answer = await edge.asterisk.final(begun.call_id)
        edge.acknowledge(begun, answer)
    invite = phone.requests("INVITE")[0]
    assert invite.uri.startswith(f"sip:9#{target}001*1@127.0.0.1:")
    assert (invite.all("x-account"), invite.all("x-trunk")) == (["77"], ["a;b=c"])
    assert plain.requests("INVITE")[0].all("x-account") == []
    # The same offer with and without a choice.
    offers = []
    for dialled, callee in ((f"{target}002", phone), (f"{unfiltered}002", plain)):
        begun = edge.call(dialled, body=ALL_CODECS)
        edge.acknowledge(begun, await edge.asterisk.final(begun.call_id))
        offers.append((await callee.request("INVITE", begun.call_id)).body)
    assert "m=audio 17999 RTP/AVP 8 107 101\r\n" in offers[0]
    assert ("PCMU" in offers[0], "G722" in offers[0], "opus/48000" in offers[0]) == (False, False, True)
    assert offers[1] == ALL_CODECS


@pytest.mark.parametrize(
    ("codecs", "kinds"),
    [("opus,PCMU,G722", "107 0 9 101"), ("G722", "9 101"), ("PCMU,PCMA,G722,opus", "0 8 9 107 101")],
)
async def test_codecs_are_offered_in_the_order_that_is_given(edge: Edge, codecs: str, kinds: str) -> None:
    phone, provider = await edge.provider(reply(200), codecs=codecs)
    target = a_target()
    await edge.route(provider, target=target)
    body = ALL_CODECS + "a=fmtp:101 0-16\r\na=fmtp:107 useinbandfec=1\r\na=ptime:20\r\na=sendrecv\r\n"
    begun = edge.call(f"{target}001", body=body)
    edge.acknowledge(begun, await edge.asterisk.final(begun.call_id))
    invite = await phone.request("INVITE", begun.call_id)
    assert f"m=audio 17999 RTP/AVP {kinds}\r\n" in invite.body
    assert set(re.findall(r"a=rtpmap:(\d+)", invite.body)) == set(kinds.split())
    assert set(re.findall(r"a=fmtp:(\d+)", invite.body)) == {"101", "107"} & set(kinds.split())
    assert invite.body.endswith("a=ptime:20\r\na=sendrecv\r\n")
    assert invite.one("content-length") == str(len(invite.body))
    assert invite.all("content-type") == ["application/sdp"]


async def test_a_provider_by_tls(edge: Edge, tmp_path: Path) -> None:
    carrier = await TlsCarrier.listen(tmp_path, checked(reply(200)))
    edge.phones.append(carrier)
    port = carrier.address[1]
    provider = await edge.routing.create_provider(
        ProviderFields(name="tls", hostname="127.0.0.1", port=port, transport="tls")
    )
    target = a_target()
    await edge.route(provider, target=target)
    await until(edge, provider, "up")
    begun, answer = await ended(edge, f"{target}001")
    assert answer.status == 200
    invite = await carrier.request("INVITE", begun.call_id)
    assert invite.one("via").startswith("SIP/2.0/TLS ")
    await carrier.request("ACK", begun.call_id)
    begun.next()
    edge.asterisk.send(begun.text("BYE"), edge.port)
    assert (await edge.asterisk.final(begun.call_id, "BYE")).status == 200
    # Gone, and with it the connection: down.
    carrier.close()
    await until(edge, provider, "down")


async def test_a_provider_by_tls_is_checked_where_its_authority_is_known(
    env: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "known").mkdir()
    (tmp_path / "unknown").mkdir()
    carriers = [
        await TlsCarrier.listen(tmp_path / name, checked(reply(200))) for name in ("known", "unknown")
    ]
    tmp_path.chmod(0o755)
    folder = tmp_path / "tls"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    (folder / "providers.pem").write_bytes((tmp_path / "known" / "certificate.pem").read_bytes())
    edge = await edges.start(
        env,
        mounts=(f"{folder}:/tls",),
        RINGLINE_PROVIDER_CHECK_SECONDS="1",
        RINGLINE_PROVIDER_TLS_CA="/etc/carrier.pem",
        RINGLINE_TLS_DIR="/tls",
    )
    edge.phones += carriers
    try:
        known, unknown = [
            await edge.routing.create_provider(
                ProviderFields(name="tls", hostname="127.0.0.1", port=carrier.address[1], transport="tls")
            )
            for carrier in carriers
        ]
        await edge.route(unknown, known, target="+4923")
        await until(edge, known, "up")
        begun, answer = await ended(edge, "+4923001001")
        assert answer.status == 200
        assert await carriers[0].request("INVITE", begun.call_id)
        await until(edge, unknown, "down")
        assert carriers[1].received == []
    finally:
        await edges.stop(edge, env)


# --- registration ----------------------------------------------------------------------------------------------


async def test_a_registration_is_kept_up_and_calls_come_to_its_contact(edge: Edge) -> None:
    challenger = Challenger(
        reply(200), username="alice", password="s3cret", realm="carrier.example", proxy=False, expires=9
    )
    phone, provider = await edge.provider(
        challenger, username="alice", password="s3cret", registration=True, registration_expires=60
    )

    async def registered() -> Health | None:
        found = await health(edge, provider)
        return found if found.registration.status == "registered" else None

    # At once, not with the next round of a timer.
    async with Stalls() as stalls:
        started = stalls.now()
        found = await eventually(registered, "registered", within=30.0)
        assert stalls.now() - started < 3.0
    assert found.registration.tm_expire is not None
    (first,) = challenger.authorised
    contact = first.one("contact").partition("<")[2].partition(">")[0]
    assert contact == f"sip:{provider.id.hex}@127.0.0.1:{edge.port}"
    assert first.one("expires") == "60"
    assert first.one("to") == "<sip:alice@127.0.0.1>"

    # The carrier sends a call to the Contact: the number is in To.
    begun = dialog(phone, contact)
    begun.to = f"<sip:{OWN}@carrier.example>"
    phone.send(begun.text("INVITE", body=SDP), edge.port)
    invite = await edge.asterisk.request("INVITE", begun.call_id)
    assert invite.uri == f"sip:{OWN}@{edge.domain}"
    edge.asterisk.answer(invite, 486)

    # A change of something else does not disturb it; it is renewed before it ends, under the same Call-ID.
    await edge.routing.change_provider(provider.id, {"detail": "the same"})
    await eventually(lambda: len(challenger.authorised) >= 2, "renewed", within=30.0)
    assert {m.one("call-id") for m in challenger.authorised} == {first.one("call-id")}
    assert (await health(edge, provider)).registration.status == "registered"

    # Switched off: the carrier is told, and nothing follows.
    await edge.routing.change_provider(provider.id, {"registration": False})
    goodbye = await eventually(
        lambda: [m for m in phone.requests("REGISTER") if m.one("expires") == "0"], "a goodbye", within=30.0
    )
    assert goodbye
    await eventually(lambda: _nothing_registered(edge), "nothing is registered")


async def _nothing_registered(edge: Edge) -> bool:
    return await edge.rpc.call("uac.reg_dump") in ([], None, {})


async def test_a_registrar_that_refuses_is_named(edge: Edge) -> None:
    challenger = Challenger(reply(200), username="bob", password="right", realm="x", proxy=False)
    _, wrong = await edge.provider(challenger, username="bob", password="wrong", registration=True)

    async def refused() -> bool:
        found = (await health(edge, wrong)).registration
        return found.status == "unregistered" and found.error.startswith("401")

    await eventually(refused, "the registrar's refusal is shown", within=30.0)
    await edge.routing.change_provider(wrong.id, {"password": "right"})

    async def registered() -> bool:
        return (await health(edge, wrong)).registration.status == "registered"

    await eventually(registered, "the new password is used", within=30.0)
    await edge.routing.delete_provider(wrong.id)
    await eventually(lambda: _nothing_registered(edge), "nothing is registered")


def _provider() -> Provider:
    return Provider(id=uuid4(), key=1, name="x", hostname="x.example", tm_create=datetime.now(UTC))


# --- the administrator's API, at the running instance ---------------------------------------------------------------


class Administrator:
    """The API with the administrator's login."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session, self._url = session, url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def call(self, method: str, path: str, body: object = None) -> Any:
        async with self._session.request(
            method, self._url + path, json=body, headers=self._headers
        ) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer


@pytest.fixture
async def administrator(env: Mapping[str, str]) -> AsyncIterator[Administrator]:
    url = env["RINGLINE_API_URL"]
    login = {"username": env["RINGLINE_ADMIN_USERNAME"], "password": env["RINGLINE_ADMIN_PASSWORD"]}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        async with session.post(f"{url}/auth/login", json=login) as response:
            answer = await response.json()
            assert response.status == 200, answer
            token = answer["token"]
        yield Administrator(session, url, token)


async def test_a_change_by_the_api_is_in_force_within_a_second(
    administrator: Administrator, product: Product
) -> None:
    first, second, third = [await Phone.open(behaviour=reply(486)) for _ in range(3)]
    to = number()

    async def called() -> list[Phone]:
        """Whom a call reaches."""
        for phone in (first, second, third):
            phone.received.clear()
        call = await product.ended(await product.place(to, ANSWER))
        assert call["hangup_reason"] == "busy", call
        return [phone for phone in (first, second, third) if phone.requests("INVITE")]

    made: list[str] = []
    try:
        body = {
            "name": "ours",
            "hostname": "127.0.0.1",
            "port": first.address[1],
            "health_check": False,
            "tech_headers": {"X-Account": "77"},
        }
        provider = await administrator.call("POST", "/v1.0/providers", body)
        made.append(f"/v1.0/providers/{provider['id']}")
        route = {"provider_id": provider["id"], "target": to[:9]}
        default = await administrator.call("POST", "/v1.0/routes", route)
        made.append(f"/v1.0/routes/{default['id']}")
        assert await called() == [first]
        assert first.requests("INVITE")[0].all("x-account") == ["77"]

        took = []
        async with Stalls() as stalls:
            for phone in (second, first, second):
                started = stalls.now()
                await administrator.call("PUT", made[0], {"port": phone.address[1]})
                took.append(stalls.now() - started)
        assert sorted(took)[1] < 1.0, took
        assert await called() == [second]

        # The customer's own route comes first, whatever its priority and however short its target.
        body |= {"name": "the customer's", "port": third.address[1]}
        own = await administrator.call("POST", "/v1.0/providers", body)
        made.append(f"/v1.0/providers/{own['id']}")
        route = {"provider_id": own["id"], "target": "us", "priority": 9}
        route["customer_id"] = str(await product.customer_id())
        preferred = await administrator.call("POST", "/v1.0/routes", route)
        made.append(f"/v1.0/routes/{preferred['id']}")
        assert await called() == [third]
        await administrator.call("DELETE", made.pop())
        assert await called() == [second]
    finally:
        # routes before the providers that they lead to
        for path in sorted(made, key=lambda path: "/providers/" in path):
            await administrator.call("DELETE", path)
        for phone in (first, second, third):
            phone.close()


async def test_callers_from_a_provider_are_admitted_at_once_and_refused_at_once_after_it(
    administrator: Administrator, product: Product
) -> None:
    own = await product.store_number(None)
    phone = await Phone.open()
    port = int(product.env["RINGLINE_KAMAILIO_PORT"])
    address = f"127.0.0.1:{phone.address[1]}"

    async def refused_with() -> int:
        """The final answer to a call to a number without a flow; 0 is silence."""
        begun = dialog(phone, f"sip:{own}@127.0.0.1:{port}")
        phone.send(begun.text("INVITE", body=SDP), port)
        try:
            answer = await phone.final(begun.call_id, within=1.0 if address not in known else 30.0)
        except TimeoutError:
            return 0
        refused = Dialog(**{**begun.__dict__, "to": answer.one("to")})
        phone.send(refused.text("ACK"), port)
        return answer.status

    known: list[str] = []
    try:
        assert await refused_with() == 0
        body = {"name": "callers", "hostname": "127.0.0.1", "addresses": [address], "health_check": False}
        provider = await administrator.call("POST", "/v1.0/providers", body)
        known.append(address)
        assert await refused_with() == 480
        await administrator.call("DELETE", f"/v1.0/providers/{provider['id']}")
        known.clear()
        assert await refused_with() == 0
    finally:
        phone.close()
        await product.drop_numbers(own)
