"""What telephones do during a call: transfer, hold, keys, new descriptions, timers, codecs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.stack.audio import RATE
from tests.stack.baresip import phones as baresips
from tests.stack.conftest import AsteriskView
from tests.stack.product import ANSWER, HANGUP, Product, digits, eventually, number, sleep
from tests.stack.rtp import pressed
from tests.stack.sip import Dialog, Message, new_branch
from tests.stack.softphone import Softphone, Talk, loudness, share
from tests.stack.test_callers import Carrier, Desk, carrier, connect, desk

__all__ = ["carrier", "desk"]
MUSIC = 50.0
"""How loud music on hold is at the least."""


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    yield
    await ari.wait_idle()


@asynccontextmanager
async def softphones(env: Mapping[str, str], *users: str) -> AsyncIterator[list[Softphone]]:
    """Registered telephones that hum 400, 600, 800 ... Hz."""
    made: list[Softphone] = []
    try:
        for index, user in enumerate(users):
            made.append(await Softphone.open(env, user, 400.0 + 200 * index))
        yield made
    finally:
        await asyncio.gather(*(phone.close() for phone in made))


async def hears(phone: Softphone, frequency: float, within: float = 20.0) -> None:
    await eventually(
        lambda: phone.hears(frequency), f"{phone.user} hears {frequency:g} Hz", within=within, every=0.2
    )


async def talking(one: Softphone, other: Softphone) -> None:
    """Each of the two hears the other's tone."""
    await asyncio.gather(hears(one, other.frequency), hears(other, one.frequency))


async def call(caller: Softphone, callee: Softphone) -> tuple[Talk, Talk]:
    """The caller's and the callee's ends of a call between two extensions, in which both are heard."""
    mine = await caller.dial(callee.user)
    theirs = await callee.called()
    await talking(caller, callee)
    return mine, theirs


async def told(talk: Talk, status: str, within: float = 20.0) -> list[str]:
    """Everything that NOTIFY said, once it said this."""
    await eventually(lambda: status in talk.told(), f"{status} is told", within=within)
    return talk.told()


async def dialled(phone: Softphone, to: str) -> Talk:
    """A call to a number that was made a moment ago."""

    async def answered() -> Talk | None:
        begun = await phone.line.invite(to, body=phone.offer())
        answer = await phone.final(begun)
        return phone.established(begun, answer) if answer.status == 200 else None

    found: Talk = await eventually(answered, f"{to} is known", within=30)
    return found


def echo() -> str:
    """A number whose telephone sends back what it hears."""
    return number("0008")


async def test_a_blind_transfer_by_whoever_was_called(product: Product, env: Mapping[str, str]) -> None:
    async with softphones(env, "test11", "test12") as (a, b):
        mine, theirs = await call(a, b)
        to = echo()
        assert (await theirs.refer(f"sip:{to}@test.{env['RINGLINE_SIP_DOMAIN']}")).status == 202
        assert await told(theirs, "200") == ["100", "200"]
        await hears(a, a.frequency)
        await asyncio.wait_for(theirs.ended.wait(), 20)
        assert not mine.ended.is_set()
        await mine.bye()
        line = await product.line(to)
    assert line["tm_answer"] is not None


async def test_a_blind_transfer_by_whoever_called(product: Product, env: Mapping[str, str]) -> None:
    async with softphones(env, "test11", "test12") as (a, b):
        mine, theirs = await call(a, b)
        to = echo()
        assert (await mine.refer(f"sip:{to}@test.{env['RINGLINE_SIP_DOMAIN']}")).status == 202
        await told(mine, "200")
        await hears(b, b.frequency)
        await asyncio.wait_for(mine.ended.wait(), 20)
        assert not theirs.ended.is_set()
        await theirs.bye()


async def test_a_transfer_that_fails_gives_the_party_back(product: Product, env: Mapping[str, str]) -> None:
    async with softphones(env, "test11", "test12") as (a, b):
        _, theirs = await call(a, b)
        # busy
        await theirs.refer(f"sip:{number('0001')}@test.{env['RINGLINE_SIP_DOMAIN']}")
        assert (await told(theirs, "503"))[0] == "100"
        await asyncio.sleep(0.6)
        await talking(a, b)
        await theirs.bye()


async def test_a_consulted_party_gets_the_call(product: Product, env: Mapping[str, str]) -> None:
    """The telephone was called, calls somebody, and joins the two."""
    async with softphones(env, "test11", "test12") as (a, b):
        mine, theirs = await call(a, b)
        await theirs.hold()
        to = echo()
        second = await b.dial(to)
        await eventually(
            lambda: share(b.last(0.5, second), b.frequency) > 0.5, "the echo is heard", within=20, every=0.2
        )
        answer = await theirs.refer(f"sip:{to}@test.{env['RINGLINE_SIP_DOMAIN']}?Replaces={second.replaces}")
        assert answer.status == 202
        await told(theirs, "200")
        await hears(a, a.frequency)
        await asyncio.wait_for(asyncio.gather(theirs.ended.wait(), second.ended.wait()), 20)
        assert not mine.ended.is_set()
        await mine.bye()


async def test_two_callers_are_joined_and_each_flow_goes_on(product: Product, env: Mapping[str, str]) -> None:
    """Both parties called the telephone: both have flows that wait. A real softphone is one of them."""
    async with (
        softphones(env, "test11", "test12") as (a, b),
        baresips(env, "test11", tone=800) as (other,),
    ):
        mine, first = await call(a, b)
        await first.hold()
        a.answers = False
        await other.dial("test12")
        second = await b.called(besides=first)
        await eventually(
            lambda: share(b.last(0.5, second), 800) > 0.5, "the second caller is heard", within=20, every=0.2
        )
        answer = await second.refer(f"sip:x@test.{env['RINGLINE_SIP_DOMAIN']}?Replaces={first.replaces}")
        assert answer.status == 202
        await told(second, "200")
        await hears(a, 800)
        await asyncio.wait_for(asyncio.gather(first.ended.wait(), second.ended.wait()), 20)
        await mine.bye()
        await other.event("CALL_CLOSED")


async def test_a_real_softphone_transfers(product: Product, env: Mapping[str, str]) -> None:
    async with softphones(env, "test11") as (a,), baresips(env, "test12", answer="auto") as (b,):
        mine = await a.dial("test12")
        await hears(a, 440)
        await b.transfer(echo())
        await hears(a, a.frequency)
        await b.event("CALL_CLOSED")
        assert not mine.ended.is_set()
        await mine.bye()


async def test_who_may_not_transfer_does_not(product: Product, env: Mapping[str, str]) -> None:
    domain = f"test.{env['RINGLINE_SIP_DOMAIN']}"
    async with softphones(env, "test11", "test12") as (a, b):
        mine, theirs = await call(a, b)
        for to in ("sip:+15559876543@outside.test", "sip:+15559876543@127.0.0.9:5060", f"tel:{number()}"):
            assert (await theirs.refer(to)).status in (400, 603), to
        # somebody else's dialog, one that there is none of, nobody, a service code
        foreign = mine.replaces
        unknown = "nothing%3Bto-tag%3D1%3Bfrom-tag%3D2"
        for index, to in enumerate(
            (
                f"sip:x@{domain}?Replaces={foreign}",
                f"sip:x@{domain}?Replaces={unknown}",
                f"sip:nobody@{domain}",
                f"sip:*43@{domain}",
            ),
            start=1,
        ):
            assert (await theirs.refer(to, "Refer-Sub: false")).status == 202, to
            await eventually(lambda: theirs.finals() == index, f"{to} is declined", within=20)  # noqa: B023
        assert set(theirs.told()) == {"100", "603"}
        await talking(a, b)
        assert not mine.ended.is_set()
        # an INVITE that names the dialog of others rings like any other
        begun = await a.line.invite("nobody", f"Replaces: {theirs.plain}", body=a.offer())
        assert (await a.final(begun)).status == 404
        await talking(a, b)
        await mine.bye()


async def test_a_carrier_transfers_nobody(product: Product, desk: Desk, carrier: Carrier) -> None:
    called = echo()
    own = await desk.add(await product.store_flow(connect(called), HANGUP))

    async def answered() -> tuple[Dialog, Message] | None:
        begun = carrier.invite(own)
        answer = await carrier.phone.final(begun.call_id, within=20)
        return (begun, answer) if answer.status == 200 else None

    begun, answer = await eventually(answered, f"{own} is known", within=30)
    begun.accept(answer)
    begun.branch = new_branch()
    carrier.phone.send(begun.text("ACK"), carrier.port)
    begun.next()
    carrier.phone.send(begun.text("REFER", f"Refer-To: <sip:{number()}@x.test>"), carrier.port)
    assert (await carrier.phone.final(begun.call_id, "REFER")).status == 603
    begun.next()
    carrier.phone.send(begun.text("BYE"), carrier.port)
    assert (await carrier.phone.final(begun.call_id, "BYE")).status == 200
    assert carrier.phone.requests("NOTIFY", begun.call_id) == []


async def test_keys_by_info_and_by_events(product: Product, env: Mapping[str, str], desk: Desk) -> None:
    receive = {"type": "digits_receive", "option": {"duration": 25000, "length": 5}}
    flow = await product.store_flow(ANSWER, receive, digits("${voipbin.call.digits}"), sleep(1), HANGUP)
    own = await desk.add(flow, virtual=True)
    async with softphones(env, "test11") as (a,):
        talk = await dialled(a, own)
        relay, plain = "Content-Type: application/dtmf-relay", "Content-Type: application/dtmf"
        assert (await talk.request("INFO", relay, body="Signal=1\r\nDuration=160\r\n")).status == 200
        assert (await talk.request("INFO", plain, body="2")).status == 200
        assert (await talk.request("INFO", relay, body="Signal=*\r\nDuration=160\r\n")).status == 200
        assert (await talk.request("INFO", plain, body="#")).status == 200
        # a key of an INFO sounds for a moment
        await asyncio.sleep(0.5)
        await a.ear.press(talk.rtp_port, "3")
        # the flow presses what it has read
        await eventually(lambda: pressed(a.ear.heard) == "12*#3", "the keys come back", within=30)
        await asyncio.wait_for(talk.ended.wait(), 20)


async def test_timers_and_new_descriptions(env: Mapping[str, str]) -> None:
    async with softphones(env, "test11") as (a,):
        small = await a.line.invite(
            echo(), "Session-Expires: 30", "Min-SE: 30", "Supported: timer", body=a.offer()
        )
        refusal = await a.final(small)
        assert (refusal.status, refusal.one("min-se")) == (422, "90")
        timer = ("Supported: timer", "Session-Expires: 90;refresher=uac", "Min-SE: 90")
        talk = await a.dial(echo(), *timer)
        answer = a.phone.received[-1]
        answer = next(m for m in a.phone.received if m.status == 200 and m.one("call-id") == talk.call_id)
        assert answer.one("session-expires").replace(" ", "") == "90;refresher=uac"
        await hears(a, a.frequency)
        refreshed = await talk.request("UPDATE", *timer)
        assert (refreshed.status, refreshed.one("session-expires").partition(";")[0]) == (200, "90")
        # another codec, in the middle
        again = await talk.request("INVITE", *timer, body=a.offer(codecs=("PCMA",)))
        assert again.status == 200
        assert talk.codec == "PCMA"

        def codecs() -> set[int]:
            return {packet.type for packet in a.ear.heard if packet.at > time.monotonic() - 0.5}

        await eventually(lambda: codecs() == {8}, "only the new codec is heard", within=20)
        await hears(a, a.frequency)
        assert codecs() == {8}
        assert (await talk.request("OPTIONS")).status == 200
        await talk.bye()


async def test_an_invite_without_an_offer(env: Mapping[str, str]) -> None:
    async with softphones(env, "test11") as (a,):
        talk = await a.dial(echo(), body="")
        await hears(a, a.frequency)
        await talk.bye()


@pytest.mark.parametrize("codec", ["opus/48000/2", "G722/16000/1", "PCMU/8000/1", "PCMA/8000/1"])
async def test_every_codec_is_heard_both_ways(env: Mapping[str, str], codec: str, tmp_path: Path) -> None:
    # baresip plays a file only with as many channels as its codec has
    tone = tmp_path / "tone.wav"
    samples = 0.2 * np.sin(2 * np.pi * 700 * np.arange(60 * RATE) / RATE)
    soundfile.write(tone, np.column_stack([samples] * int(codec[-1])), RATE, subtype="PCM_16")
    async with (
        softphones(env, "test11") as (a,),
        baresips(env, "test12", answer="auto", source=tone, codecs=codec) as (b,),
    ):
        talk = await a.dial("test12")
        await hears(a, 700)
        await asyncio.sleep(1.0)
        await talk.bye()
        await b.event("CALL_CLOSED")
        # a busy machine may swallow a part, and the file is written on for a moment
        await eventually(
            lambda: any(
                share(b.heard()[-RATE * 2 :][at : at + RATE // 2], a.frequency) > 0.5
                for at in range(0, RATE * 3 // 2 + 1, RATE // 4)
            ),
            "the softphone has heard the tone",
        )


async def test_hold_plays_music_to_the_other_party(product: Product, env: Mapping[str, str]) -> None:
    async with softphones(env, "test11", "test12") as (a, b):
        mine, theirs = await call(a, b)
        for holder, waiting, talk in ((a, b, mine), (b, a, theirs)):
            answer = await talk.hold("sendonly" if holder is a else "inactive")
            assert answer.status == 200
            assert "a=recvonly" in answer.body or "a=inactive" in answer.body

            def music(waiting: Softphone = waiting, tone: float = holder.frequency) -> bool:
                return loudness(waiting.last(0.5)) > MUSIC and not waiting.hears(tone)

            await asyncio.sleep(0.8)
            await eventually(music, f"{waiting.user} hears music", within=20)
            assert (await talk.resume()).status == 200
            await asyncio.sleep(0.6)
            await talking(a, b)
        await mine.bye()
