"""Recordings and answering machine detection on real calls: what is in the files, and what is left behind."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

import aiohttp
import numpy as np
import pytest
import soundfile
import sqlalchemy as sa

from ringline.customers.tables import accesskeys, customers
from ringline.customers.tokens import accesskey_hash, accesskey_prefix, new_accesskey
from ringline.http import utc_now
from tests.stack.audio import RATE, Samples, chirp, encode, find
from tests.stack.conftest import Api, AsteriskView
from tests.stack.containers import Containers
from tests.stack.files import Files
from tests.stack.product import HANGUP, SOURCE, Json, Product, eventually, number, play, sleep, talk
from tests.stack.telephone import telephones

FIRST = chirp(500, 1400)
SECOND = chirp(2600, 1800)
NOTHING = "00000000-0000-0000-0000-000000000000"
TONE_HERTZ, BEEP_HERTZ = 700, 1000


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    """After each test Asterisk has no channel (a snoop is one) and no bridge."""
    yield
    await ari.wait_idle()


def start(**option: Any) -> Json:
    return {"type": "recording_start", "option": option}


def amd(**option: Any) -> Json:
    return {"type": "amd", "option": option}


STOP: Json = {"type": "recording_stop"}


def connect(to: str) -> Json:
    source = {"type": "tel", "target": SOURCE}
    return {"type": "connect", "option": {"source": source, "destinations": [{"type": "tel", "target": to}]}}


def tone(hertz: float, seconds: float) -> Samples:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE) * 0.4


def share(sound: Samples, hertz: float) -> float:
    """How much of a sound's energy is at this frequency (0 to 1)."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size))) ** 2
    bins = np.fft.rfftfreq(sound.size, 1 / RATE)
    return float(spectrum[np.abs(bins - hertz) < 20].sum() / max(spectrum.sum(), 1e-12))


async def download(
    env: Mapping[str, str], recording_id: str, **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of the file's download."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{env['RINGLINE_API_URL']}/v1.0/recordingfiles/{recording_id}",
            params={"accesskey": env["RINGLINE_ACCESSKEY"]},
            headers=headers,
        ) as response,
    ):
        return response.status, response.headers, await response.read()


async def sound_of(env: Mapping[str, str], recording: Json) -> Samples:
    status, _, data = await download(env, recording["id"])
    assert status == 200, data
    sound, rate = soundfile.read(io.BytesIO(data))
    assert rate == RATE
    assert sound.ndim == 1
    return np.asarray(sound)


async def ended(api: Api, recording_id: str, within: float = 30.0) -> Json:
    async def look() -> Json | None:
        shown: Json = await api.get(f"/v1.0/recordings/{recording_id}")
        return shown if shown["status"] == "ended" else None

    found: Json = await eventually(look, f"the recording {recording_id} has ended", within=within)
    return found


async def of_call(api: Api, call: Json, count: int = 1) -> list[Json]:
    """The finished recordings of a call, oldest first."""

    async def look() -> list[Json]:
        page = await api.get("/v1.0/recordings", reference_id=call["id"], status="ended")
        return page["result"] if len(page["result"]) == count else []

    found: list[Json] = await eventually(look, f"{count} recordings of {call['id']}", within=30)
    return found[::-1]


async def test_a_flow_records_what_is_played_and_what_comes_back(
    product: Product, files: Files, env: Mapping[str, str]
) -> None:
    sound = play(files.add("first.wav", encode(FIRST, "wav")))
    call = await product.place(number("0008"), start(), sound, sleep(1), STOP, sleep(0.5), HANGUP)
    record = await product.ended(call)
    assert record["failures"] == []
    (recording,) = await of_call(product.api, call)
    assert record["recording_ids"] == [recording["id"]]
    assert record["recording_id"] == NOTHING
    assert recording["reason"] == "stop"
    assert (recording["reference_type"], recording["reference_id"]) == ("call", call["id"])
    assert recording["activeflow_id"] == call["activeflow_id"]
    assert recording["filenames"] == [f"{recording['id']}.wav"]
    heard = await sound_of(env, recording)
    assert recording["duration_ms"] == pytest.approx(heard.size / 8, abs=2)
    there = find(heard, FIRST)
    # the echo is so near that it lies on what was played
    assert there.peak > 0.6
    # 1.2 s of sound and a second after it; a machine that stands still makes it longer
    assert 1.5 < heard.size / RATE < 8


async def test_both_parties_of_a_conversation_and_what_comes_before_and_after_are_in_one_file(
    product: Product, files: Files, env: Mapping[str, str]
) -> None:
    first, second = (
        play(files.add(name, encode(sound, "wav"))) for name, sound in (("a.wav", FIRST), ("b.wav", SECOND))
    )
    machine = number("0009")
    call = await product.place(number("1234"), start(), sleep(0.3), first, connect(machine), second, HANGUP)

    async def leg() -> Json | None:
        ids = (await product.show(call))["chained_call_ids"]
        return await product.api.get(f"/v1.0/calls/{ids[0]}") if ids else None

    other = await eventually(leg, "a leg")
    await product.reached(other, "progressing")
    # the machine greets for 5 s, then beeps (1 kHz)
    await asyncio.sleep(8)
    await product.hang_up(other)
    await product.ended(call)
    (recording,) = await of_call(product.api, call)
    assert recording["reason"] == "hangup"
    heard = await sound_of(env, recording)
    before, after = find(heard, FIRST), find(heard, SECOND)
    assert before.peak > 0.75, "what was played before the conversation"
    # a new snoop channel listens from now on: the first 50 ms are missing
    assert after.peak > 0.75, "what was played after it"
    between = heard[int(before.end * RATE) : int(after.start * RATE)]
    beep = max(
        share(between[at : at + RATE // 4], BEEP_HERTZ)
        for at in range(0, between.size - RATE // 4, RATE // 8)
        if np.mean(between[at : at + RATE // 4] ** 2) > 1e-4
    )
    assert beep > 0.9, "what the other party let be heard"
    shown, row = recording["tm_start"], await product.show(call)
    assert shown >= row["tm_progressing"]


async def test_what_a_caller_says_is_recorded(product: Product, files: Files, env: Mapping[str, str]) -> None:
    """In a call alone, without any bridge: the answering machine is who speaks."""
    call = await product.place(number("0009"), start(), sleep(9), HANGUP)
    await product.ended(call)
    (recording,) = await of_call(product.api, call)
    heard = await sound_of(env, recording)
    beep = max(
        share(heard[at : at + RATE // 4], BEEP_HERTZ)
        for at in range(4 * RATE, heard.size - RATE // 4, RATE // 8)
    )
    assert beep > 0.9
    assert float(np.mean(heard[RATE : 4 * RATE] ** 2)) > 1e-4, "the greeting"


async def test_recording_by_the_api(product: Product, files: Files, env: Mapping[str, str]) -> None:
    api = product.api
    sound = play(files.add("long.wav", encode(tone(TONE_HERTZ, 20.0), "wav")))
    call = await product.place(number("1234"), sound, sleep(60))
    at = f"/v1.0/calls/{call['id']}"
    status, refused = await api.call("POST", f"{at}/recording_stop")
    assert (status, refused["error"]["reason"]) == (409, "RECORDING_NOT_ACTIVE")
    await product.reached(call, "progressing")
    # in the middle of a prompt
    await asyncio.sleep(1)
    shown = await api.post(f"{at}/recording_start", {"format": "ogg"})
    recording_id = shown["recording_id"]
    assert shown["recording_ids"] == [recording_id]
    recording = await api.get(f"/v1.0/recordings/{recording_id}")
    assert (recording["status"], recording["format"], recording["filenames"]) == ("recording", "ogg", [])
    assert [one["id"] for one in (await api.get("/v1.0/recordings", reference_id=call["id"]))["result"]] == [
        recording_id
    ]
    status, refused = await api.call("POST", f"{at}/recording_start", {})
    assert (status, refused["error"]["reason"]) == (409, "RECORDING_ALREADY_ACTIVE")
    status, _, data = await download(env, recording_id)
    assert status == 409, data
    await asyncio.sleep(3)
    shown = await api.post(f"{at}/recording_stop")
    assert shown["recording_id"] == NOTHING
    again = await api.post(f"{at}/recording_start", {"duration": 1})
    second = await ended(api, again["recording_id"])
    assert second["reason"] == "duration"
    # where the controller stood still Asterisk has ended it, two seconds later
    assert 0.5 < second["duration_ms"] / 1000 < 3.5
    recording = await ended(api, recording_id)
    assert recording["reason"] == "stop"
    assert recording["filenames"] == [f"{recording_id}.ogg"]
    heard = await sound_of(env, recording)
    assert 2.2 < heard.size / RATE < 8
    assert share(heard[RATE // 2 : -RATE // 4], TONE_HERTZ) > 0.9
    await product.hang_up(call)
    await product.ended(call)
    status, refused = await api.call("POST", f"{at}/recording_start", {})
    assert (status, refused["error"]["reason"]) == (409, "CALL_ALREADY_HANGUP")


async def test_files_are_served_in_parts_with_an_etag_and_deleted(
    product: Product, env: Mapping[str, str]
) -> None:
    api = product.api
    call = await product.place(number("1234"), start(format="wav"), talk("one two three"), HANGUP)
    await product.ended(call)
    (recording,) = await of_call(api, call)
    status, headers, whole = await download(env, recording["id"])
    assert status == 200
    assert headers["Content-Type"] == "audio/wav"
    assert f"{recording['id']}.wav" in headers["Content-Disposition"]
    assert len(whole) == recording["size"]
    status, parted, part = await download(env, recording["id"], Range="bytes=100-199")
    assert (status, part) == (206, whole[100:200])
    assert parted["Content-Range"] == f"bytes 100-199/{len(whole)}"
    status, _, body = await download(env, recording["id"], **{"If-None-Match": headers["ETag"]})
    assert (status, body) == (304, b"")
    path = product.var / "recordings" / f"{recording['id']}.wav"
    assert path.stat().st_mode & 0o077 == 0, "nobody else's to read"
    status, deleted = await api.call("DELETE", f"/v1.0/recordings/{recording['id']}")
    assert status == 200
    assert deleted["tm_delete"] is not None
    assert not path.exists()
    for method, place in (("GET", "recordings"), ("GET", "recordingfiles"), ("DELETE", "recordings")):
        status, refused = await api.call(method, f"/v1.0/{place}/{recording['id']}")
        assert (status, refused["error"]["reason"]) == (404, "RECORDING_NOT_FOUND")


async def test_deleting_a_recording_that_lasts_ends_it(product: Product) -> None:
    api = product.api
    call = await product.place(number("1234"), start(), sleep(60))
    await product.reached(call, "progressing")
    recording_id = await eventually(
        lambda: _recording_id(product, call), "the call is being recorded", within=30
    )
    await api.call("DELETE", f"/v1.0/recordings/{recording_id}")
    path = product.var / "recordings" / f"{recording_id}.wav"
    await eventually(lambda: not path.exists(), "the file is gone")
    await eventually(lambda: _nothing_recorded(product, call), "the call is not recorded any more")
    assert (await product.show(call))["status"] == "progressing"
    await product.hang_up(call)
    await product.ended(call)


async def _recording_id(product: Product, call: Json) -> str | None:
    shown = (await product.show(call))["recording_id"]
    return None if shown == NOTHING else str(shown)


async def _nothing_recorded(product: Product, call: Json) -> bool:
    return await _recording_id(product, call) is None


async def test_a_key_silence_and_the_time_end_a_recording(
    product: Product, files: Files, env: Mapping[str, str]
) -> None:
    sound, other = (
        play(files.add(name, encode(said, "wav"))) for name, said in (("c.wav", FIRST), ("d.wav", SECOND))
    )
    # the carrier presses 5 two seconds after its answer
    by_key = await product.place(number("0015"), start(end_of_key="any"), sleep(4), HANGUP)
    other_key = await product.place(number("0015"), start(end_of_key="#"), sleep(4), HANGUP)
    by_silence = await product.place(number("1234"), start(end_of_silence=2), sound, other, sleep(5), HANGUP)
    by_time = await product.place(number("1234"), start(duration=2), sound, other, sound, sleep(2), HANGUP)
    reasons = {}
    for name, call in (("key", by_key), ("#", other_key), ("silence", by_silence), ("time", by_time)):
        await product.ended(call)
        (reasons[name],) = await of_call(product.api, call)
    assert [reasons[name]["reason"] for name in ("key", "#", "silence", "time")] == [
        "key",
        "hangup",
        "silence",
        "duration",
    ]
    seconds = {name: recording["duration_ms"] / 1000 for name, recording in reasons.items()}
    # why each ended is said above; a machine that stands still for a moment makes each longer
    assert 1.0 < seconds["key"] < 6.0
    assert 3.0 < seconds["#"] < 8.0
    assert 1.4 < seconds["time"] < 4.5, "less than the call lasts"
    # both sounds, whole, and the silence after them
    assert 2 * 1.2 + 1.5 < seconds["silence"] < 2 * 1.2 + 5.0
    heard = await sound_of(env, reasons["silence"])
    # a busy machine leaves some of it out
    assert find(heard, FIRST).peak > 0.75
    assert find(heard, SECOND).peak > 0.75, "speech before the silence is not cut off"


async def test_a_beep_formats_and_a_second_start(product: Product, env: Mapping[str, str]) -> None:
    target = number("1234")
    call = await product.place(
        target,
        start(format="mp3", beep_start=True),
        start(),
        talk("hello. this is a recording."),
        {"type": "variable_set", "option": {"key": "copy", "value": "${voipbin.recording.filenames}"}},
        STOP,
        STOP,
        HANGUP,
    )
    record = await product.ended(call)
    # the second start fails, the second stop finds what it wants
    assert [failure["reason"] for failure in record["failures"]] == ["RECORDING_ALREADY_ACTIVE"]
    (recording,) = await of_call(product.api, call)
    assert (recording["format"], recording["reason"]) == ("mp3", "stop")
    status, headers, data = await download(env, recording["id"])
    assert (status, headers["Content-Type"]) == (200, "audio/mpeg")
    assert data[:3] == b"ID3" or data[0] == 0xFF
    heard = await sound_of(env, recording)
    assert float(np.mean(heard**2)) > 1e-5
    line = await product.line(target)
    played, _ = soundfile.read(product.recording(line))
    beeps = [
        share(played[at : at + RATE // 4], BEEP_HERTZ) for at in range(0, played.size - RATE // 4, RATE // 16)
    ]
    assert max(beeps) > 0.9
    left = list((product.var / "recordings").glob(f"{recording['id']}*"))
    assert [path.suffix for path in left] == [".mp3"]


async def test_a_caller_who_hangs_up_ends_the_recording(product: Product, env: Mapping[str, str]) -> None:
    async with telephones(env) as made:
        phone = await made.add(0.2)
        destinations = [phone.destination]
        call = await product.place("", start(), sleep(60), HANGUP, destinations=destinations)
        await product.reached(call, "progressing")
        recording_id = await eventually(lambda: _recording_id(product, call), "the call is recorded")
        began = time.monotonic()
        await asyncio.sleep(1)
        phone.hang_up(phone.phone.requests("INVITE")[0].one("call-id"))
        record = await product.ended(call)
        seconds = time.monotonic() - began
    assert record["hangup_by"] == "remote"
    (recording,) = await of_call(product.api, call)
    assert (recording["id"], recording["reason"]) == (recording_id, "hangup")
    # the telephone sends no sound: what is in the file is how long it was written
    assert 0.3 < recording["duration_ms"] / 1000 < seconds + 3
    assert recording["tm_end"] is not None


async def test_hang_ups_at_every_moment_leave_nothing(product: Product) -> None:
    calls = [
        await product.place(number("1234"), start(beep_start=index % 2 == 0), STOP, start(), amd(), sleep(5))
        for index in range(8)
    ]
    for index, call in enumerate(calls):
        await product.reached(call, "progressing", "hangup", within=30)
        await asyncio.sleep(0.03 * index)
        await product.hang_up(call)
    for call in calls:
        await product.ended(call)
        shown = await product.show(call)
        for recording_id in shown["recording_ids"]:
            assert (await ended(product.api, recording_id))["reason"] in ("stop", "hangup", "failed")


async def test_another_customer_sees_nothing(product: Product) -> None:
    api = product.api
    call = await product.place(number("1234"), start(), sleep(1), HANGUP)
    await product.ended(call)
    (recording,) = await of_call(api, call)
    stranger = await _stranger(product)
    for method, path in (
        ("GET", f"/v1.0/recordings/{recording['id']}"),
        ("GET", f"/v1.0/recordingfiles/{recording['id']}"),
        ("DELETE", f"/v1.0/recordings/{recording['id']}"),
        ("POST", f"/v1.0/calls/{call['id']}/recording_stop"),
    ):
        status, refused = await api.call(method, path, accesskey=stranger)
        assert status == 404, refused
    status, page = await api.call("GET", "/v1.0/recordings", accesskey=stranger)
    assert (status, page["result"]) == (200, [])
    status, refused = await api.call(
        "POST", f"/v1.0/calls/{call['id']}/recording_start", {"on_end_flow_id": str(uuid4())}
    )
    assert status == 409, refused


async def test_a_bad_request_names_its_fault(product: Product) -> None:
    api = product.api
    call = await product.place(number("1234"), sleep(60))
    await product.reached(call, "progressing")
    at = f"/v1.0/calls/{call['id']}/recording_start"
    for body, word in (
        ({"format": "flac"}, "format"),
        ({"end_of_key": "5"}, "end_of_key"),
        ({"duration": -1}, "duration"),
        ({"quality": 1}, "quality"),
    ):
        status, refused = await api.call("POST", at, body)
        assert status == 400
        assert word in refused["error"]["message"]
    status, refused = await api.call("POST", at, {"on_end_flow_id": str(uuid4())})
    assert (status, refused["error"]["reason"]) == (404, "FLOW_NOT_FOUND")
    assert (await product.show(call))["recording_ids"] == []
    await product.hang_up(call)
    await product.ended(call)


async def test_an_answering_machine_is_hung_up_on(product: Product) -> None:
    call = await product.place(number("0009"), amd(), sleep(20), HANGUP)
    record = await product.ended(call)
    assert (record["hangup_by"], record["hangup_reason"]) == ("local", "amd")
    assert record["failures"] == []


async def test_an_answering_machine_may_be_spoken_to_and_is_told_from_others(product: Product) -> None:
    decide = [
        {
            "type": "condition_variable",
            "option": {
                "condition": "==",
                "variable": "voipbin.call.amd_status",
                "value_type": "string",
                "value_string": "MACHINE",
                "false_target_id": "11111111-1111-4111-8111-111111111111",
            },
        },
        {"type": "digits_send", "option": {"digits": "1", "duration": 100, "interval": 100}},
        HANGUP,
        {
            "id": "11111111-1111-4111-8111-111111111111",
            "type": "digits_send",
            "option": {"digits": "2", "duration": 100, "interval": 100},
        },
        HANGUP,
    ]
    machine, silent, echo = number("0009"), number("1234"), number("0008")
    calls = {
        to: await product.place(to, amd(machine_handle="continue"), *decide) for to in (machine, silent, echo)
    }
    for call in calls.values():
        record = await product.ended(call)
        assert (record["hangup_reason"], record["failures"]) == ("normal", [])
    assert [(await product.line(to))["dtmf"] for to in (machine, silent, echo)] == ["1", "2", "2"]


async def test_a_machine_is_recognised_while_the_flow_goes_on(product: Product) -> None:
    call = await product.place(number("0009"), amd(**{"async": True}), sleep(20), HANGUP)
    record = await product.ended(call)
    assert (record["hangup_by"], record["hangup_reason"]) == ("local", "amd")
    call = await product.place(number("1234"), amd(**{"async": True}), sleep(7), HANGUP)
    assert (await product.ended(call))["hangup_reason"] == "normal"


async def test_a_recording_goes_on_while_its_controller_is_away(
    product: Product, containers: Containers
) -> None:
    placed = time.monotonic()
    call = await product.place(number("1234"), start(), sleep(90))
    await product.reached(call, "progressing")
    recording_id = await eventually(lambda: _recording_id(product, call), "the call is recorded")
    began = time.monotonic()
    await asyncio.sleep(1)
    await containers.kill("controller")
    await containers.start("controller")

    async def goes_on() -> bool:
        shown = await product.api.get(f"/v1.0/recordings/{recording_id}")
        return bool(shown["status"] == "recording" and (await product.show(call))["status"] == "progressing")

    await eventually(goes_on, "call and recording go on", within=60)
    await asyncio.sleep(6)
    shown = await product.show(call)
    assert (shown["recording_id"], shown["recording_ids"]) == (recording_id, [recording_id])
    least = time.monotonic() - began
    await product.api.post(f"/v1.0/calls/{call['id']}/recording_stop")
    most = time.monotonic() - placed
    recording = await ended(product.api, recording_id)
    assert recording["reason"] == "stop"
    assert least - 1.5 < recording["duration_ms"] / 1000 < most + 1.5, "the gap is in it"
    await product.hang_up(call)
    await product.ended(call)


async def test_a_recording_that_ends_while_there_is_no_controller_gets_its_true_end(
    product: Product, containers: Containers, env: Mapping[str, str]
) -> None:
    call = await product.place(number("1234"), start(duration=4), sleep(60))
    await product.reached(call, "progressing")
    recording_id = await eventually(lambda: _recording_id(product, call), "the call is recorded")
    await asyncio.sleep(0.5)
    await containers.kill("controller")
    try:
        # longer than the recording lasts, with what Asterisk adds
        await asyncio.sleep(9)
    finally:
        await containers.start("controller")
    recording = await ended(product.api, recording_id, within=60)
    assert recording["reason"] in ("duration", "hangup")
    assert 3.0 < recording["duration_ms"] / 1000 < 8.5
    began, over = (np.datetime64(recording[name].rstrip("Z")) for name in ("tm_start", "tm_end"))
    assert 3 <= (over - began).astype(int) <= 8, "the end of the sound, not of the gap"
    await product.api.call("POST", f"/v1.0/calls/{call['id']}/hangup")


async def _stranger(product: Product) -> str:
    """An access key of a customer who has nothing to do with all this; written past the API, which makes none."""
    customer_id, key = uuid4(), new_accesskey()
    async with product.database.begin() as connection:
        await connection.execute(
            sa.insert(customers).values(
                id=customer_id, domain_label=f"x{customer_id.hex[:12]}", tm_create=utc_now()
            )
        )
        await connection.execute(
            sa.insert(accesskeys).values(
                id=uuid4(),
                customer_id=customer_id,
                token_hash=accesskey_hash(key),
                token_prefix=accesskey_prefix(key),
                tm_create=utc_now(),
            )
        )

    async def known() -> bool:
        status, _ = await product.api.call("GET", "/v1.0/customer", accesskey=key)
        return status == 200

    await eventually(known, "the key is known")
    return key
