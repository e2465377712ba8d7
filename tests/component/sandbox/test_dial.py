"""``ringline sandbox dial`` against a switch that the test plays."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.component.sandbox.conftest import Running
from tests.stack.rtp import Ear, linear, match, noise, pressed, read_wav
from tests.stack.sip import Message, Phone


class Switch:
    """What the carrier takes for Kamailio."""

    def __init__(self, phone: Phone, ear: Ear) -> None:
        self.phone = phone
        self.ear = ear
        self.statuses: list[int] = [200]

    def behave(self, phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            for status in self.statuses:
                phone.answer(
                    request, status, "Not Found" if status == 404 else "Whatever", **self.body(status)
                )
        elif request.method == "CANCEL":
            phone.answer(request, 200)
            invite = phone.requests("INVITE", request.one("call-id"))[0]
            phone.answer(invite, 487, "Request Terminated")
        elif request.method != "ACK":
            phone.answer(request, 200)

    def body(self, status: int) -> dict[str, Any]:
        return {"body": self.ear.sdp()} if status == 200 else {}


@pytest.fixture
async def switch(carrier: Running) -> AsyncIterator[Switch]:
    ear = await Ear.open()
    phone = await Phone.open(carrier.kamailio_port)
    made = Switch(phone, ear)
    phone.behaviour = made.behave
    yield made
    phone.close()
    ear.close()


async def dial(carrier: Running, *options: str) -> tuple[int, str, str]:
    """Run the command; exit status, output, error output."""
    code = "from ringline.sandbox.cli import app; app()"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        "dial",
        *options,
        env=carrier.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


async def test_unknown_number(carrier: Running, switch: Switch) -> None:
    switch.statuses = [404]
    status, _out, error = await dial(carrier, "--from", "+15557654321", "--to", "+15550000000")
    assert status == 1
    assert "404 Not Found: the number is not known" in error
    invite = switch.phone.requests("INVITE")[0]
    assert invite.uri == f"sip:+15550000000@127.0.0.1:{carrier.kamailio_port}"
    assert invite.one("from").startswith('"+15557654321" <sip:+15557654321@127.0.0.1>;tag=')
    assert invite.one("p-asserted-identity") == "<sip:+15557654321@127.0.0.1>"
    assert not invite.all("privacy")
    await switch.phone.request("ACK", invite.one("call-id"))


async def test_answered_presses_records_and_hangs_up(carrier: Running, switch: Switch) -> None:
    switch.statuses = [100, 180, 200]
    lines = len(carrier.lines())
    running = asyncio.create_task(
        dial(
            carrier,
            "--from",
            "+15557654321",
            "--to",
            "+15551234567",
            "--anonymous",
            "--press",
            "1#9",
            "--seconds",
            "3",
        )
    )
    invite = await switch.phone.wait(lambda m: m.method == "INVITE" and not m.status, within=30)
    assert invite.one("from").startswith('"Anonymous" <sip:anonymous@anonymous.invalid>;tag=')
    assert invite.one("privacy") == "id"
    assert invite.one("p-asserted-identity") == "<sip:+15557654321@127.0.0.1>"
    assert "15557654321" not in invite.raw.replace(invite.one("p-asserted-identity"), "")
    ack = await switch.phone.request("ACK", invite.one("call-id"))
    media = next(line for line in invite.body.splitlines() if line.startswith("m=audio"))
    sent = noise(1.0)
    await switch.ear.say(int(media.split()[1]), sent)
    await switch.ear.press(int(media.split()[1]), "5")
    bye = await switch.phone.request("BYE", invite.one("call-id"), within=20)
    assert 2.5 < bye.at - ack.at < 8
    status, out, error = await running
    assert (status, error) == (0, "")
    assert pressed(switch.ear.heard) == "1#9"
    assert "ringing (180" in out
    assert "answered (200" in out
    assert "heard key 5" in out
    assert "ended by us after 3.0 s" in out
    recording = out.rpartition("recording: ")[2].strip()
    assert recording.startswith("var/carrier/recordings/")
    quality, _ = match(read_wav(carrier.folder / "recordings" / recording.rpartition("/")[2]), linear(sent))
    assert quality > 0.999
    assert len(carrier.lines()) == lines


async def test_the_other_side_hangs_up(carrier: Running, switch: Switch) -> None:
    running = asyncio.create_task(dial(carrier, "--from", "+15557654321", "--to", "+15551234567"))
    ack = await switch.phone.wait(lambda m: m.method == "ACK", within=30)
    invite = switch.phone.requests("INVITE")[0]
    sender, receiver = invite.one("from"), ack.one("to")
    switch.phone.send(
        "\r\n".join(
            [
                f"BYE sip:carrier@127.0.0.1:{carrier.sip_port} SIP/2.0",
                f"Via: SIP/2.0/UDP 127.0.0.1:{carrier.kamailio_port};branch=z9hG4bKbye",
                f"From: {receiver}",
                f"To: {sender}",
                f"Call-ID: {invite.one('call-id')}",
                "CSeq: 1 BYE",
                "Max-Forwards: 70",
                "",
                "",
            ]
        ),
        carrier.sip_port,
    )
    status, out, _ = await running
    assert status == 0
    assert "ended by the other side" in out


async def test_giving_up_cancels_the_call(carrier: Running, switch: Switch) -> None:
    """Whoever closes the connection while it rings hangs up."""
    switch.statuses = [100, 180]
    body = {"from": "+15557654321", "to": "+15551234567"}
    async with aiohttp.ClientSession() as session, session.post(carrier.dial_url, json=body) as response:
        async for line in response.content:
            if b"ringing" in line:
                break
    cancel = await switch.phone.wait(lambda m: m.method == "CANCEL")
    invite = switch.phone.requests("INVITE")[0]
    assert cancel.one("via") == invite.one("via")
    assert cancel.one("cseq") == "1 CANCEL"
    await switch.phone.request("ACK", invite.one("call-id"))


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"from": "+1555", "to": "+1555", "extra": 1}, 400, "extra"),
        ({"from": "+1555\r\nX: y", "to": "+1555"}, 400, "from"),
        ({"from": "+1555", "to": "sip:x@192.0.2.1"}, 400, "to"),
        ({"from": "+1555", "to": "+1555", "press": "12x"}, 400, "press"),
        ({"from": "+1555", "to": "+1555", "seconds": 1e9}, 400, "seconds"),
        ({"from": "+1555"}, 400, "to"),
        ([], 400, ""),
    ],
)
async def test_requests_are_validated(carrier: Running, body: object, status: int, field: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(carrier.dial_url, json=body) as response:
        assert response.status == status
        assert field in (await response.json())["error"]


async def test_other_bodies_are_refused(carrier: Running) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(
            carrier.dial_url, data="{}", headers={"Content-Type": "text/plain"}
        ) as response:
            assert response.status == 415
        headers = {"Content-Type": "application/json"}
        async with session.post(carrier.dial_url, data="[" * 100_000, headers=headers) as response:
            assert response.status == 413


async def test_no_carrier(carrier: Running) -> None:
    environment = {**carrier.environment, "RINGLINE_CARRIER_CONTROL_URL": "http://127.0.0.1:9"}
    other = Running(carrier.process, 0, 0, 0, carrier.folder, environment)
    status, _, error = await dial(other, "--from", "+15557654321", "--to", "+15551234567")
    assert status == 1
    assert "does not answer at http://127.0.0.1:9" in error
