"""Every behaviour of the sandbox carrier as a caller sees and hears it, and the line it leaves."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import time

import numpy as np
import pytest
from tests.component.sandbox.conftest import Running, until
from tests.stack.caller import Caller
from tests.stack.rtp import linear, match, noise, pressed, read_wav

FIELDS = [
    "number",
    "from_uri",
    "from_display",
    "privacy",
    "p_asserted_identity",
    "sip_call_id",
    "dtmf",
    "tm_start",
    "tm_answer",
    "tm_end",
    "recording",
]


def moment(text: str) -> datetime.datetime:
    parsed = datetime.datetime.fromisoformat(text)
    assert parsed.tzinfo is not None
    return parsed


@pytest.mark.parametrize(
    ("number", "status"), [("+15550000001", 486), ("15550003", 603), ("+442079460004", 404), ("0005", 503)]
)
async def test_refusals(carrier: Running, caller: Caller, number: str, status: int) -> None:
    began = time.monotonic()
    call_id = caller.call(number)
    answer = await caller.status(status)
    caller.refused(answer)
    assert answer.at - began < 10
    # whoever is slow to acknowledge gets it again
    assert list(dict.fromkeys(caller.statuses())) == [100, status]
    line = await carrier.line(call_id)
    assert list(line) == FIELDS
    assert line["number"] == number
    assert (line["tm_answer"], line["recording"], line["dtmf"]) == (None, None, "")
    assert moment(line["tm_start"]) <= moment(line["tm_end"])


async def test_refusal_is_repeated_until_acknowledged(caller: Caller) -> None:
    caller.call("0001")
    answer = await caller.status(486)

    def refusals() -> int:
        return len([m for m in caller.phone.received if m.status == 486])

    await until(lambda: refusals() >= 2)
    caller.refused(answer)
    # one may be on its way
    await asyncio.sleep(0.5)
    repeated = refusals()
    await asyncio.sleep(2.5)
    assert refusals() == repeated


async def test_rings_and_is_cancelled(carrier: Running, caller: Caller) -> None:
    call_id = caller.call("+15550000002")
    await caller.status(180)
    await asyncio.sleep(1.5)
    assert caller.statuses() == [100, 180]
    caller.send("CANCEL")
    assert (await caller.phone.final(call_id, "CANCEL")).status == 200
    caller.refused(await caller.status(487))
    line = await carrier.line(call_id)
    assert line["tm_answer"] is None
    assert line["recording"] is None
    assert 1.4 < (moment(line["tm_end"]) - moment(line["tm_start"])).total_seconds() < 15


async def test_early_media_then_answer(carrier: Running, caller: Caller) -> None:
    call_id = caller.call("+15550000006")
    progress = await caller.status(183)
    answer = await caller.answered()
    assert progress.body == answer.body
    early = [packet for packet in caller.ear.heard if packet.at < answer.at]
    # a hundred, as far as they are read before the answer is
    assert len(early) >= 50
    assert np.std(linear(b"".join(packet.payload for packet in early))) > 1000
    await caller.bye()
    line = await carrier.line(call_id)
    assert 1.9 < (moment(line["tm_answer"]) - moment(line["tm_start"])).total_seconds() < 6


async def test_hangs_up_after_a_second(carrier: Running, caller: Caller) -> None:
    call_id = caller.call("+15550000007")
    await caller.answered()
    bye = await caller.phone.request("BYE", call_id)
    caller.phone.answer(bye, 200)
    line = await carrier.line(call_id)
    assert 0.9 < (moment(line["tm_end"]) - moment(line["tm_answer"])).total_seconds() < 5
    assert line["recording"].startswith("var/carrier/recordings/")


async def test_echo_sends_back_what_it_hears(carrier: Running, caller: Caller) -> None:
    call_id = caller.call("+15550000008")
    await caller.answered()
    sent = noise(1.0)
    await caller.ear.say(caller.rtp_port, sent)
    await caller.ear.press(caller.rtp_port, "7#")
    await until(lambda: sent in caller.ear.audio())
    assert {packet.type for packet in caller.ear.heard} == {0}  # keys are not sent back
    await caller.bye()
    assert (await carrier.line(call_id))["dtmf"] == "7#"


async def test_answering_machine_greets_beeps_and_records(carrier: Running, caller: Caller) -> None:
    call_id = caller.call("+15550000009")
    await caller.answered()
    await until(lambda: len(caller.ear.audio()) >= int(5.58 * 8000))
    heard = linear(caller.ear.audio()[: int(5.6 * 8000)])
    loud = [float(np.std(part)) for part in np.array_split(heard[: 5 * 8000], 10)]
    assert sum(level > 300 for level in loud) >= 7
    spectrum = np.abs(np.fft.rfft(heard[-int(0.6 * 8000) :]))
    assert abs(np.argmax(spectrum) / 0.6 - 1000) < 5
    sent = noise(1.0, seed=9)
    await caller.ear.say(caller.rtp_port, sent)
    await caller.bye()
    line = await carrier.line(call_id)
    recording = read_wav(carrier.folder / "recordings" / line["recording"].rpartition("/")[2])
    correlation, at = match(recording, linear(sent))
    assert correlation > 0.99
    assert 5.3 < at < 12


async def test_presses_the_digit_of_the_number(caller: Caller) -> None:
    caller.call("+15550000017")
    answer = await caller.answered()
    # three times: that it ends
    await until(lambda: sum(one.type == 101 and one.payload[1] >> 7 for one in caller.ear.heard) >= 3)
    events = [packet for packet in caller.ear.heard if packet.type == 101]
    assert pressed(caller.ear.heard) == "7"
    assert 1.0 < events[0].at - answer.at < 10
    assert events[0].marker
    assert [packet.payload[1] >> 7 for packet in events[-3:]] == [1, 1, 1]
    assert int.from_bytes(events[-1].payload[2:4], "big") == 960
    sequences = [packet.sequence for packet in caller.ear.heard]
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(sequences))
    await caller.bye()


async def test_any_other_number_rings_a_second_answers_and_records(carrier: Running, caller: Caller) -> None:
    call_id = caller.call(
        "%2B15557654321",
        "Privacy: id",
        'P-Asserted-Identity: "Joe, \\"J\\"" <sip:+15550001111@127.0.0.1>',
        from_='"Zoë \\"quoted\\" <x>" <sip:anonymous@anonymous.invalid>',
    )
    await caller.status(180)
    await caller.answered()
    first, second = noise(1.0, seed=3), noise(0.6, seed=5)
    await asyncio.sleep(0.3)
    await caller.ear.say(caller.rtp_port, first)
    await caller.ear.press(caller.rtp_port, "12")
    caller.ear.pause(0.5)
    await asyncio.sleep(0.5)
    await caller.ear.press(caller.rtp_port, "2*")
    await caller.ear.say(caller.rtp_port, second, skip=frozenset({10}))
    await caller.bye()
    line = await carrier.line(call_id)
    assert line["number"] == "+15557654321"
    assert 0.9 < (moment(line["tm_answer"]) - moment(line["tm_start"])).total_seconds() < 5
    assert line["from_uri"] == "sip:anonymous@anonymous.invalid"
    assert line["from_display"] == 'Zoë "quoted" <x>'
    assert line["privacy"] == "id"
    assert line["p_asserted_identity"] == '"Joe, \\"J\\"" <sip:+15550001111@127.0.0.1>'
    assert line["dtmf"] == "122*"
    recording = read_wav(carrier.folder / "recordings" / line["recording"].rpartition("/")[2])
    duration = (moment(line["tm_end"]) - moment(line["tm_answer"])).total_seconds()
    assert abs(recording.size / 8000 - duration) < 0.5
    quality, first_at = match(recording, linear(first))
    assert quality > 0.999
    assert 0.25 < first_at < 5
    quality, second_at = match(recording, linear(second))
    assert quality > 0.95  # one packet of thirty was lost
    assert abs((second_at - first_at) - (1.0 + 4 * 0.16 + 0.5)) < 0.06
    lost = recording[int((second_at + 0.2) * 8000) : int((second_at + 0.2) * 8000) + 160]
    assert not lost.any()


async def test_first_word_is_not_lost(carrier: Running, caller: Caller) -> None:
    """Audio that arrives right behind the 200, before the ACK."""
    call_id = caller.call("+15557654321")
    caller.take_media(await caller.status(200))
    sent = noise(0.5, seed=11)
    await caller.ear.say(caller.rtp_port, sent)
    await caller.answered()
    await caller.bye()
    line = await carrier.line(call_id)
    recording = read_wav(carrier.folder / "recordings" / line["recording"].rpartition("/")[2])
    quality, at = match(recording, linear(sent))
    assert quality > 0.999
    assert at < 3
