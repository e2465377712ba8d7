"""What the carrier does with callers who give up, change their mind, or are hostile."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
from pathlib import Path

import aiohttp
import pytest
from tests.component.sandbox.conftest import Running, start_carrier, stop_carrier, until
from tests.stack.caller import Caller
from tests.stack.rtp import Ear, noise
from tests.stack.sip import Message, Phone, dialog, new_branch


async def health(carrier: Running) -> dict[str, object]:
    url = f"http://127.0.0.1:{carrier.control_port}/healthz"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        body: dict[str, object] = await response.json()
        return body


async def is_idle(carrier: Running, within: float = 30.0) -> bool:
    """Whether no call and no RTP port is left within so many seconds."""
    for _ in range(int(within * 10)):
        state = await health(carrier)
        if (state["calls"], state["rtp_ports_used"]) == (0, 0):
            return True
        await asyncio.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("number", "after"), [("0009", 1.0), ("0006", 0.3), ("0015", 2.05), ("0008", 0.0), ("4321", 0.1)]
)
async def test_hang_up_in_any_phase_leaves_one_line_and_nothing_else(
    carrier: Running, caller: Caller, number: str, after: float
) -> None:
    call_id = caller.call(f"+1555000{number}")
    await caller.answered()
    await asyncio.sleep(after)
    await caller.bye()
    line = await carrier.line(call_id)
    assert line["tm_answer"] is not None
    assert (carrier.folder / "recordings" / line["recording"].rpartition("/")[2]).stat().st_size >= 44
    assert await is_idle(carrier)


@pytest.mark.parametrize("number", ["0006", "0002", "4321"])
async def test_cancel_before_the_answer(carrier: Running, caller: Caller, number: str) -> None:
    call_id = caller.call(f"+1555000{number}")
    await caller.status(183 if number == "0006" else 180)
    caller.send("CANCEL")
    caller.refused(await caller.status(487))
    line = await carrier.line(call_id)
    assert (line["tm_answer"], line["recording"]) == (None, None)
    assert await is_idle(carrier)


async def test_bye_is_answered_again_and_then_unknown(caller: Caller) -> None:
    caller.call("+15550000008")
    await caller.answered()
    await caller.bye()
    caller.send("BYE")  # the same one again
    caller.invite.next()
    caller.send("BYE")
    async with asyncio.timeout(20):
        while [m.status for m in caller.phone.received if m.method == "BYE"] != [200, 200, 481]:
            await asyncio.sleep(0.02)


async def test_repeated_invite_is_one_call(carrier: Running, caller: Caller) -> None:
    call_id = caller.call("+15550000001")
    await caller.status(486)
    caller.phone.send(caller.invite.text("INVITE", body=caller.ear.sdp()), caller.port)
    await asyncio.sleep(0.2)
    caller.refused(await caller.status(486))
    assert (await carrier.line(call_id))["number"] == "+15550000001"


async def test_hold_and_resume(caller: Caller) -> None:
    caller.call("+15550000008")
    await caller.answered()
    caller.invite.next()
    caller.send("INVITE", body=caller.ear.sdp("sendonly"))
    held = await caller.phone.wait(lambda m: m.status == 200 and m.one("cseq") == "2 INVITE")
    assert "a=recvonly" in held.body
    caller.invite.branch = new_branch()
    caller.send("ACK")
    caller.ear.heard.clear()
    await caller.ear.say(caller.rtp_port, noise(0.2))
    assert not caller.ear.heard
    caller.invite.next()
    caller.send("INVITE", body=caller.ear.sdp())
    await caller.phone.wait(lambda m: m.status == 200 and m.one("cseq") == "3 INVITE")
    caller.invite.branch = new_branch()
    caller.send("ACK")
    sent = noise(0.2, seed=4)
    await caller.ear.say(caller.rtp_port, sent)
    await until(lambda: sent in caller.ear.audio())
    await caller.bye()


async def test_offer_in_the_answer(caller: Caller) -> None:
    """An INVITE without a description: the carrier offers, the ACK answers."""
    caller.call("+15550000008", body="")
    answer = await caller.status(200)
    assert "m=audio" in answer.body
    caller.take_media(answer)
    caller.invite.accept(answer)
    caller.invite.branch = new_branch()
    caller.send("ACK", body=caller.ear.sdp())
    await asyncio.sleep(0.05)
    sent = noise(0.2)
    await caller.ear.say(caller.rtp_port, sent)
    await until(lambda: sent in caller.ear.audio())
    await caller.bye()


@pytest.mark.parametrize(
    "change",
    [
        ("RTP/AVP 0 101", "RTP/AVP 18"),
        ("RTP/AVP", "RTP/SAVP"),
        ("c=IN IP4 127.0.0.1", "c=IN IP6 ::1"),
        ("c=IN IP4 127.0.0.1", "c=IN IP4 example.invalid"),
    ],
)
async def test_audio_that_cannot_be_joined_is_488(
    carrier: Running, caller: Caller, change: tuple[str, str]
) -> None:
    call_id = caller.call("+15557654321", body=caller.ear.sdp().replace(*change))
    caller.refused(await caller.status(488))
    assert (await carrier.line(call_id))["tm_answer"] is None
    assert await is_idle(carrier)


async def test_advertised_addresses_do_not_get_in_the_way(carrier: Running, caller: Caller) -> None:
    """A machine that advertises its public address still reaches the carrier on loopback."""
    elsewhere = caller.ear.sdp().replace("c=IN IP4 127.0.0.1", "c=IN IP4 192.0.2.1")
    call_id = caller.call("+15550000008", "Record-Route: <sip:192.0.2.1:5060;lr>", body=elsewhere)
    caller.phone.behaviour = hung_up
    await caller.answered()
    sent = noise(0.2)
    await caller.ear.say(caller.rtp_port, sent)
    await until(lambda: sent in caller.ear.audio())
    await caller.bye()
    assert (await carrier.line(call_id))["tm_answer"] is not None
    other = caller.call("+15550000007", "Record-Route: <sip:192.0.2.1:5060;lr>", body=elsewhere)
    await caller.answered()
    bye = await caller.phone.request("BYE", other)
    assert bye.one("route") == "<sip:192.0.2.1:5060;lr>"


async def test_options_and_strange_methods(caller: Caller) -> None:
    for method, status in (("OPTIONS", 200), ("SUBSCRIBE", 405), ("BYE", 481), ("REGISTER", 405)):
        asked = dialog(caller.phone, f"sip:127.0.0.1:{caller.port}")
        caller.phone.send(asked.text(method), caller.port)
        answer = await caller.phone.final(asked.call_id, method)
        assert answer.status == status
        assert "INVITE" in answer.one("allow")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("CSeq: 1 INVITE", "CSeq: 1 BYE", 400),
        ("Max-Forwards: 70", "Max-Forwards: 0", 483),
        ("Max-Forwards: 70", "Max-Forwards: 70\r\nRequire: 100rel", 420),
        (";tag=", ";gat=", 400),
    ],
)
async def test_faulty_invites_are_refused(caller: Caller, old: str, new: str, status: int) -> None:
    asked = dialog(caller.phone, f"sip:+15557654321@127.0.0.1:{caller.port}")
    caller.phone.send(asked.text("INVITE", body=caller.ear.sdp()).replace(old, new, 1), caller.port)
    answer = await caller.phone.wait(lambda m: m.status >= 200 and m.one("call-id") == asked.call_id)
    assert answer.status == status
    if status == 420:
        assert answer.one("unsupported") == "100rel"


async def test_noise_on_the_socket_changes_nothing(carrier: Running, caller: Caller) -> None:
    call_id = caller.call("+15550000008")
    await caller.answered()
    rng = random.Random(7)
    good = caller.invite.text("INFO").encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for index in range(400):
            garbage = bytearray(good if index % 2 else rng.randbytes(rng.randrange(1, 1500)))
            for _ in range(rng.randrange(1, 30)):
                garbage[rng.randrange(len(garbage))] = rng.randrange(256)
            stranger.sendto(bytes(garbage), ("127.0.0.1", carrier.sip_port))
            stranger.sendto(rng.randbytes(rng.randrange(1, 200)), ("127.0.0.1", caller.rtp_port))
            if index % 50 == 0:
                await asyncio.sleep(0.01)
    sent = noise(0.2)
    await caller.ear.say(caller.rtp_port, sent)
    await until(lambda: sent in caller.ear.audio())
    await caller.bye()
    await carrier.line(call_id)
    assert await is_idle(carrier)


async def test_hostile_headers_stay_in_their_fields(carrier: Running, caller: Caller) -> None:
    evil = '"}\\n{\\"number\\":\\"x\u2028\u0000' + "é" * 2000
    call_id = caller.call(
        "%2B1555%220001",
        f"Privacy: {evil}",
        "P-Asserted-Identity: <sip:a@b>,\r\n  <tel:+1555>",
        from_='"\\"},{\\" \u202e" <sip:+1555;x=%00@127.0.0.1>',
    )
    caller.refused(await caller.status(486))
    line = await carrier.line(call_id)
    assert line["number"] == '+1555"0001'
    assert line["privacy"].startswith('"}')
    assert line["p_asserted_identity"] == "<sip:a@b>, <tel:+1555>"
    assert line["from_display"] == '"},{" \u202e'
    assert line["from_uri"] == "sip:+1555;x=%00@127.0.0.1"


async def test_strangers_get_no_answer(tmp_path: Path) -> None:
    carrier = await start_carrier(tmp_path, RINGLINE_CARRIER_ALLOWED_NETWORKS="127.0.0.1/32")
    loop = asyncio.get_running_loop()
    transport, stranger = await loop.create_datagram_endpoint(Phone, local_addr=("127.0.0.2", 0))
    try:
        asked = dialog(stranger, "sip:+15550000001@127.0.0.1")
        stranger.send(asked.text("INVITE"), carrier.sip_port)
        async with asyncio.timeout(20):
            while not (await health(carrier))["datagrams_refused"]:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        assert not stranger.received
        assert (await health(carrier))["datagrams_refused"] == 1
        assert not carrier.lines()
    finally:
        transport.close()
        await stop_carrier(carrier)


async def test_every_port_in_use_is_503_and_sigterm_ends_calls(tmp_path: Path) -> None:
    # Three even ports.
    carrier = await start_carrier(
        tmp_path, RINGLINE_CARRIER_RTP_START="52990", RINGLINE_CARRIER_RTP_END="52995"
    )
    ears = [await Ear.open() for _ in range(4)]
    phone = await Phone.open()
    callers = [Caller(phone, ear, carrier.sip_port) for ear in ears]
    try:
        for one in callers[:3]:
            one.call("+15550000008")
            await one.answered()
        refused = callers[3].call("+15550000008")
        callers[3].refused(await callers[3].status(503))
        assert (await carrier.line(refused))["tm_answer"] is None
        phone.behaviour = lambda own, request: own.answer(request, 200)
        carrier.process.send_signal(signal.SIGTERM)
        for one in callers[:3]:
            await phone.request("BYE", one.invite.call_id)
            assert (await carrier.line(one.invite.call_id))["tm_end"] is not None
        async with asyncio.timeout(20):
            assert await carrier.process.wait() == 0
        assert len(carrier.lines()) == 4
    finally:
        await stop_carrier(carrier)
        phone.close()
        for ear in ears:
            ear.close()


def hung_up(phone: Phone, request: Message) -> None:
    """A telephone that agrees to every hang-up."""
    if request.method == "BYE":
        phone.answer(request, 200)


async def test_many_calls_with_random_hang_ups_leave_nothing(carrier: Running) -> None:
    rng = random.Random(2)
    ear = await Ear.open()
    phones = [await Phone.open(behaviour=hung_up) for _ in range(90)]

    async def one(index: int) -> str:
        await asyncio.sleep(index / 60)
        caller = Caller(phones[index], ear, carrier.sip_port)
        number = rng.choice(["0002", "0006", "0007", "0008", "0009", "0013", "4321"])
        call_id = caller.call(f"+1555000{number}")
        phase = rng.random()
        if phase < 0.3:
            await caller.phone.wait(lambda m: m.status >= 100 and m.one("call-id") == call_id, within=60)
            await asyncio.sleep(rng.random() * 0.5)
            caller.send("CANCEL")
            answer = await caller.phone.final(call_id, within=60)
            if answer.status == 487:
                caller.refused(answer)
                return call_id
        elif number == "0002":
            caller.send("CANCEL")
            caller.refused(await caller.status(487, within=60))
            return call_id
        await caller.answered(within=60)
        await asyncio.sleep(rng.random() * 1.5)
        caller.invite.next()
        caller.send("BYE")
        return call_id

    ids = await asyncio.gather(*(one(index) for index in range(90)))
    assert await is_idle(carrier)
    written = [line["sip_call_id"] for line in carrier.lines()]
    assert [written.count(call_id) for call_id in ids] == [1] * 90
    for phone in phones:
        phone.close()
    ear.close()
