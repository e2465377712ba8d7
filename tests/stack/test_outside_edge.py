"""Calls to SIP hosts of strangers at the edge, by what is on the wire: where a request goes, and where never."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping

import pytest

from tests.stack import edge as edges
from tests.stack.edge import CRLF, Edge, asterisk_headers
from tests.stack.sip import SDP, Behaviour, Dialog, Message, Phone, reply, silent

HOST = "127.0.0.3"
FORBIDDEN = "127.0.0.9"


@pytest.fixture(scope="module")
async def edge(env: Mapping[str, str]) -> AsyncIterator[Edge]:
    running = await edges.start(env, RINGLINE_SIP_ALLOWED_NETWORKS=f"{HOST}/32,10.99.0.0/24")
    try:
        yield running
    finally:
        await edges.stop(running, env)


async def stranger(edge: Edge, behaviour: Behaviour | None, host: str = HOST) -> Phone:
    phone = await Phone.open(0, behaviour, host)
    edge.phones.append(phone)
    return phone


def call(edge: Edge, target: str, *extra: str) -> Dialog:
    """An INVITE of Asterisk's for a SIP address."""
    headers = ("X-Ringline-Customer: 7", "X-Ringline-Call: 77", *extra)
    return edge.call("x", *headers, uri=f"sip:{target}")


def described(host: str) -> str:
    return SDP.replace("127.0.0.1", host)


async def test_a_host_is_called_and_told_nothing_of_ours(edge: Edge) -> None:
    phone = await stranger(edge, reply(200, after=(180,)))
    begun = call(edge, f"alice@{HOST}:{phone.address[1]}", *asterisk_headers())
    answer = await edge.asterisk.final(begun.call_id)
    assert answer.status == 200
    invite = await phone.request("INVITE", begun.call_id)
    assert invite.uri == f"sip:alice@{HOST}:{phone.address[1]}"
    assert "X-Ringline" not in invite.raw
    assert invite.all("p-asserted-identity") == []
    assert edge.domain in invite.one("from"), "not the machine inside"
    assert invite.one("route") == ""
    edge.acknowledge(begun, answer)
    await phone.request("ACK", begun.call_id)
    begun.next()
    edge.asterisk.send(begun.text("BYE", *asterisk_headers()), edge.port)
    bye = await phone.request("BYE", begun.call_id)
    assert bye.all("p-asserted-identity") == []
    assert (await edge.asterisk.final(begun.call_id, "BYE")).status == 200


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(f"x@{FORBIDDEN}:{{port}}", id="loopback"),
        pytest.param("x@10.1.2.3:5060", id="private"),
        pytest.param("x@169.254.169.254:5060", id="link-local"),
        pytest.param("x@192.168.1.1", id="private-default-port"),
        pytest.param("x@100.64.0.1:5060", id="carrier-grade-nat"),
        pytest.param("x@0.0.0.0:5060", id="this-network"),
        pytest.param("x@224.0.0.1:5060", id="multicast"),
        pytest.param(f"x@{HOST}:25", id="port-of-mail"),
        pytest.param("x@127.0.0.1:{edge}", id="the-edge-itself"),
        pytest.param("x@127.0.0.1:{asterisk}", id="asterisk-itself"),
        pytest.param("x@localhost:{port}", id="a-name-that-leads-inside"),
    ],
)
async def test_what_is_not_public_is_never_called(edge: Edge, target: str) -> None:
    inside = await stranger(edge, None, FORBIDDEN)
    heard = len(edge.asterisk.requests("INVITE"))
    begun = call(
        edge, target.format(port=inside.address[1], edge=edge.port, asterisk=edge.asterisk.address[1])
    )
    answer = await edge.asterisk.final(begun.call_id)
    edge.acknowledge(begun, answer)
    assert answer.status == 404
    assert inside.received == []
    assert len(edge.asterisk.requests("INVITE")) == heard


async def test_a_name_that_nobody_has(edge: Edge) -> None:
    begun = call(edge, "x@nobody.invalid:5060")
    answer = await edge.asterisk.final(begun.call_id, within=40)
    edge.acknowledge(begun, answer)
    assert answer.status == 404


async def test_a_host_that_never_answers(edge: Edge) -> None:
    phone = await stranger(edge, silent)
    begun = call(edge, f"x@{HOST}:{phone.address[1]}")
    answer = await edge.asterisk.final(begun.call_id, within=40)
    edge.acknowledge(begun, answer)
    assert answer.status == 408


async def test_no_tcp_connection(edge: Edge) -> None:
    begun = call(edge, f"x@{HOST}:{edges.free_port()}", "X-Ringline-Transport: tcp")
    answer = await edge.asterisk.final(begun.call_id, within=40)
    edge.acknowledge(begun, answer)
    assert answer.status in (408, 477, 500, 503)


async def test_a_call_that_is_withdrawn_says_why(edge: Edge) -> None:
    def ring(phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            phone.answer(request, 180)
        elif request.method == "CANCEL":
            phone.answer(request, 200)
            invite = phone.requests("INVITE", request.one("call-id"))[0]
            phone.answer(invite, 487)

    phone = await stranger(edge, ring)
    begun = call(edge, f"x@{HOST}:{phone.address[1]}")
    await edge.asterisk.wait(lambda m: m.status == 180 and m.one("call-id") == begun.call_id)
    edge.asterisk.send(
        begun.text("CANCEL", "Reason: Q.850;cause=26", 'Reason: SIP;cause=200;text="Elsewhere"'), edge.port
    )
    cancel = await phone.request("CANCEL", begun.call_id)
    assert "Q.850;cause=26" in ", ".join(cancel.all("reason"))
    answer = await edge.asterisk.final(begun.call_id)
    edge.acknowledge(begun, answer)
    assert answer.status == 487


async def test_a_redirect_is_not_followed(edge: Edge) -> None:
    inside = await stranger(edge, None, FORBIDDEN)

    def away(phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            phone.answer(request, 302, "Moved", f"Contact: <sip:x@{FORBIDDEN}:{inside.address[1]}>")

    phone = await stranger(edge, away)
    begun = call(edge, f"x@{HOST}:{phone.address[1]}")
    answer = await edge.asterisk.final(begun.call_id)
    edge.acknowledge(begun, answer)
    assert answer.status == 502
    assert inside.received == []


@pytest.mark.parametrize("where", ["contact", "record-route", "unsigned"])
async def test_an_answer_leads_no_request_inside(edge: Edge, where: str) -> None:
    """The host names an inner address as the place for what follows: it goes to the host all the same, or nowhere."""
    inside = await stranger(edge, None, FORBIDDEN)
    place = f"{FORBIDDEN}:{inside.address[1]}"

    def behave(phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            if where == "contact":
                phone.answer(request, 200, "OK", f"Contact: <sip:x@{place}>", body=described(HOST))
                return
            routes = request.all("record-route")
            if where == "record-route":
                routes = [f"<sip:{place};lr>", *routes]
            else:
                routes = [re.sub(r";out=[^;]*", f";out={place}:udp", route) for route in routes]
            fields = tuple((k, v) for k, v in request.fields if k != "record-route")
            fields += tuple(("record-route", route) for route in routes)
            altered = Message(request.start, fields, request.body, request.raw, request.source)
            phone.answer(altered, 200, body=described(HOST))
        elif request.method == "BYE":
            phone.answer(request, 200)

    phone = await stranger(edge, behave)
    begun = call(edge, f"x@{HOST}:{phone.address[1]}")
    answer = await edge.asterisk.final(begun.call_id)
    edge.acknowledge(begun, answer)
    begun.next()
    edge.asterisk.send(begun.text("BYE"), edge.port)
    if where == "unsigned":
        await asyncio.sleep(0.5)
        assert phone.requests("BYE") == []
    else:
        await phone.request("ACK", begun.call_id)
        await phone.request("BYE", begun.call_id)
    assert inside.received == []


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        pytest.param(described("10.9.8.7"), HOST, id="private"),
        pytest.param(described("127.0.0.1"), HOST, id="loopback"),
        pytest.param(described("internal.example"), HOST, id="name"),
        pytest.param(SDP + "c=IN IP4 192.168.0.9\r\n", HOST, id="of-the-media"),
        pytest.param(described(HOST), HOST, id="allowed"),
        pytest.param(described("8.8.4.4"), "8.8.4.4", id="public"),
    ],
)
async def test_sound_is_sent_to_no_inner_address(edge: Edge, body: str, sent: str) -> None:
    def behave(phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            phone.answer(request, 200, body=body)
        elif request.method == "BYE":
            phone.answer(request, 200)

    phone = await stranger(edge, behave)
    begun = call(edge, f"x@{HOST}:{phone.address[1]}")
    answer = await edge.asterisk.final(begun.call_id)
    edge.acknowledge(begun, answer)
    places = re.findall(r"c=IN IP4 (\S+)", answer.body)
    assert set(places) == {sent}, answer.body


async def test_an_extension_without_a_phone(edge: Edge) -> None:
    begun = call(edge, f"test11@test.{edge.domain}")
    answer = await edge.asterisk.final(begun.call_id)
    edge.acknowledge(begun, answer)
    assert answer.status == 480


async def test_only_asterisk_calls_outside(edge: Edge) -> None:
    phone = await stranger(edge, None)
    provider, _ = await edge.provider(None)
    begun = edge.call("x", "X-Ringline-Call: 77", caller=provider, uri=f"sip:x@{HOST}:{phone.address[1]}")
    answer = await provider.final(begun.call_id)
    edge.acknowledge(begun, answer)
    assert answer.status == 404
    assert phone.received == []


async def test_a_host_over_tcp(edge: Edge) -> None:
    """All of its dialog goes over the connection that the INVITE opened."""
    heard: list[Message] = []
    changed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        where = writer.get_extra_info("peername")
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = int(re.search(rb"(?i)content-length:\s*(\d+)", head)[1])  # type: ignore[index]
            message = Message.parse(head + await reader.readexactly(length), where)
            heard.append(message)
            changed.set()
            if message.method == "ACK":
                continue
            lines = ["SIP/2.0 200 OK", *(f"Via: {via}" for via in message.all("via"))]
            lines += [f"Record-Route: {route}" for route in message.all("record-route")]
            to = message.one("to")
            lines += [f"From: {message.one('from')}", f"To: {to if 'tag=' in to else to + ';tag=tcp'}"]
            lines += [f"Call-ID: {message.one('call-id')}", f"CSeq: {message.one('cseq')}"]
            lines += [f"Contact: <sip:x@{HOST}:{port};transport=tcp>"]
            body = described(HOST) if message.method == "INVITE" else ""
            lines += ["Content-Type: application/sdp"] if body else []
            writer.write(CRLF.join([*lines, f"Content-Length: {len(body)}", "", body]).encode())
        writer.close()

    async def wanted(method: str) -> Message:
        async with asyncio.timeout(20):
            while True:
                changed.clear()
                for message in heard:
                    if message.method == method:
                        return message
                await changed.wait()

    server = await asyncio.start_server(serve, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    try:
        begun = call(edge, f"x@{HOST}:{port}", "X-Ringline-Transport: tcp")
        answer = await edge.asterisk.final(begun.call_id)
        assert answer.status == 200
        invite = await wanted("INVITE")
        assert "X-Ringline" not in invite.raw
        edge.acknowledge(begun, answer)
        await wanted("ACK")
        begun.next()
        edge.asterisk.send(begun.text("BYE"), edge.port)
        await wanted("BYE")
        assert (await edge.asterisk.final(begun.call_id, "BYE")).status == 200
    finally:
        server.close()
