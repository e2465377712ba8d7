"""Control of live calls: what the parties really hear, and what is on the wire."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from tests.stack.audio import RATE, Samples, chirp, encode, find, read_wav
from tests.stack.conftest import Api, AsteriskView
from tests.stack.files import Files
from tests.stack.product import HANGUP, Json, Product, eventually, number, play, sleep
from tests.stack.rtp import linear
from tests.stack.test_connect import connect, ended_legs, legs

CHECKOUT = Path(__file__).parents[2]
ZERO = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    """After each test Asterisk has no channel and no bridge."""
    yield
    await ari.wait_idle()


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The music on hold, twice in a row: a stretch of it may pass the end of the loop."""
    folder = tmp_path_factory.mktemp("music")
    subprocess.run(
        [sys.executable, str(CHECKOUT / "docker" / "music.py"), str(folder)], check=True, timeout=60
    )
    once = linear((folder / "hold.ulaw").read_bytes())
    return np.concatenate([once, once])


class Talk:
    """A conversation: ``listener`` hears what comes back from ``echoing``, into which a tone is whispered.

    What is done and when is noted, so that afterwards each stretch of what the listener heard can be judged.
    """

    def __init__(self, product: Product, api: Api) -> None:
        self.product = product
        self.api = api
        self.listener, self.echo = number("1234"), number("0008")
        self.call: Json
        self.leg: Json
        self.marks: list[tuple[str, float]] = []
        self.answered = self.echo_answered = 0.0

    async def begin(self) -> None:
        self.call = await self.product.place(self.listener, connect(self.echo), sleep(1), HANGUP)
        (self.leg,) = await legs(self.product, self.call, 1)
        await self.product.reached(self.leg, "progressing")
        await asyncio.sleep(0.5)

    async def act(self, name: str, call: Json, what: str, *, method: str = "POST", **body: str) -> Json:
        status, answer = await self.api.call(method, f"/v1.0/calls/{call['id']}/{what}", body or None)
        assert status == 200, answer
        self.mark(name)
        shown: Json = answer
        return shown

    def mark(self, name: str) -> None:
        self.marks.append((name, time.time()))

    async def finish(self) -> tuple[Samples, Samples]:
        """What the two sides heard."""
        await self.product.hang_up(self.call)
        await self.product.ended(self.call)
        await ended_legs(self.product, self.call, 1)
        mine, theirs = [await self.product.line(to) for to in (self.listener, self.echo)]
        self.answered = datetime.fromisoformat(mine["tm_answer"]).timestamp()
        self.echo_answered = datetime.fromisoformat(theirs["tm_answer"]).timestamp()
        return read_wav(self.product.recording(mine)), read_wav(self.product.recording(theirs))

    def after(
        self, name: str, heard: Samples, seconds: float = 0.8, skip: float = 1.0, *, echo: bool = False
    ) -> Samples:
        """A stretch of what was heard that begins shortly after a mark; a recording begins with the answer."""
        at = next(moment for label, moment in self.marks if label == name)
        begin = int((at - (self.echo_answered if echo else self.answered) + skip) * RATE)
        assert begin + seconds * RATE <= heard.size, "the recording is too short"
        return heard[begin : begin + int(seconds * RATE)]


@pytest.fixture
async def talk(product: Product, api: Api) -> Talk:
    conversation = Talk(product, api)
    await conversation.begin()
    return conversation


def loud(part: Samples) -> bool:
    return float(np.sqrt(np.mean(part**2))) > 100


def is_music(part: Samples, music: Samples) -> bool:
    return find(music, part).peak > 0.9


SPEECH = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"


async def test_hold_is_told_on_the_wire_and_there_is_music_until_it_ends(
    talk: Talk, product: Product, music: Samples
) -> None:
    shown = await talk.act("hold", talk.call, "hold")
    assert (shown["hold"], shown["moh"]) == (True, False)
    await talk.act("again", talk.call, "hold")
    await asyncio.sleep(3.5)
    shown = await talk.act("off", talk.call, "hold", method="DELETE")
    assert shown["hold"] is False
    await asyncio.sleep(2.2)
    # not to the echo: Asterisk's generator also answers each packet that comes in with one that goes out
    await talk.act("moh", talk.call, "moh")
    await asyncio.sleep(2.5)
    await talk.act("moh off", talk.call, "moh", method="DELETE")
    await asyncio.sleep(2.2)
    heard, echoed = await talk.finish()
    assert is_music(talk.after("hold", heard), music)
    assert is_music(talk.after("hold", heard, skip=2.2), music), "a second request did not disturb it"
    assert not loud(talk.after("off", heard))
    assert is_music(talk.after("moh", heard), music)
    assert not loud(talk.after("moh", echoed, echo=True)), "only the one that was meant hears it"
    assert not loud(talk.after("moh off", heard))


async def test_what_a_hold_looks_like_to_the_carrier(product: Product, api: Api, music: Samples) -> None:
    # the sandbox's echo stops sending when the description says that it is only to listen: RFC 3264 section 8.4
    echo = number("0008")
    call = await product.place(echo, sleep(90), HANGUP)
    await product.reached(call, "progressing")
    statistics = f"channels/call-{call['id']}/rtp_statistics"

    async def received() -> int:
        found = await product.asterisk.get(statistics)
        return int(found["rxcount"])

    async def in_a_second() -> int:
        before = await received()
        await asyncio.sleep(1)
        return await received() - before

    async def speaks() -> bool:
        return await in_a_second() > 30

    async def is_quiet() -> bool:
        return await in_a_second() < 5

    await api.post(f"/v1.0/calls/{call['id']}/moh")
    await eventually(speaks, "the echo sends back what it hears", within=15)
    await api.post(f"/v1.0/calls/{call['id']}/hold")
    await eventually(is_quiet, "on hold it is told to be quiet", within=15)
    await api.call("DELETE", f"/v1.0/calls/{call['id']}/hold")
    await eventually(speaks, "it sends again", within=15)
    await product.hang_up(call)
    await product.ended(call)


async def test_a_text_is_heard_by_its_party_only_and_the_rest_goes_on(talk: Talk, product: Product) -> None:
    # what is whispered to the echo comes back into the conversation: that is the "other tone"
    await talk.act("tone", talk.leg, "talk", text=SPEECH)
    await asyncio.sleep(2)
    await talk.act("whisper", talk.call, "talk", text="hello there, only you can hear this sentence of mine")
    await asyncio.sleep(2.5)
    await eventually(lambda: _no_snoops(product), "the channels that whisper end with their texts", within=20)
    heard, echoed = await talk.finish()
    both = talk.after("whisper", heard, seconds=1.5, skip=0.6)
    one = talk.after("whisper", echoed, seconds=1.5, skip=0.6, echo=True)
    assert loud(talk.after("tone", heard)), "the listener hears the echo's own voice"
    assert loud(one)
    # the echo heard its own text only; the listener heard that text and another one on top
    match = find(heard, one)
    assert 0.3 < match.peak < 0.98, match
    assert np.sum(both**2) > 1.2 * np.sum(one**2)


async def _no_snoops(product: Product) -> bool:
    return len(await product.asterisk.list("channels")) == 2


async def test_mute_silences_one_direction(talk: Talk, product: Product) -> None:
    await talk.act("speech", talk.leg, "talk", text=" ".join([SPEECH] * 3))
    await asyncio.sleep(2.0)
    shown = await talk.act("mute in", talk.leg, "mute", direction="in")
    assert shown["mute_direction"] == "in"
    await asyncio.sleep(2.0)
    shown = await talk.act("unmute", talk.leg, "mute", method="DELETE")
    assert shown["mute_direction"] == ""
    await asyncio.sleep(2.0)
    await talk.act("mute out", talk.call, "mute", direction="out")
    await asyncio.sleep(2.0)
    await talk.act("silence off", talk.call, "mute", method="DELETE", direction="out")
    await talk.act("silence", talk.call, "silence")
    await asyncio.sleep(2.0)
    await talk.act("no silence", talk.call, "silence", method="DELETE")
    await asyncio.sleep(2.0)
    heard, echoed = await talk.finish()
    for name in ("mute in", "mute out", "silence"):
        assert not loud(talk.after(name, heard)), name
        assert loud(talk.after(name, echoed, echo=True)), f"{name} is for the other direction only"
    for name in ("speech", "unmute", "no silence"):
        assert loud(talk.after(name, heard)), name


async def test_a_prompt_waits_while_its_call_is_on_hold(
    product: Product, api: Api, files: Files, music: Samples
) -> None:
    sound = chirp(500, 1400, seconds=3.0)
    to = number("1234")
    call = await product.place(to, play(files.add("long.wav", encode(sound, "wav"))), HANGUP)
    await product.reached(call, "progressing")
    await asyncio.sleep(1)
    await api.post(f"/v1.0/calls/{call['id']}/hold")
    await asyncio.sleep(4)
    assert (await product.show(call))["status"] == "progressing"
    await api.call("DELETE", f"/v1.0/calls/{call['id']}/hold")
    await product.ended(call)
    heard = read_wav(product.recording(await product.line(to)))
    whole = find(heard, sound)
    assert whole.peak > 0.9, "it begins anew and is heard in full"
    assert whole.start > 3.5
    assert is_music(heard[int((whole.start - 2) * RATE) : int((whole.start - 1) * RATE)], music)


async def test_a_call_that_is_connected_is_on_hold_no_more(product: Product, api: Api) -> None:
    caller, called = number("1234"), number("0017")
    call = await product.place(caller, sleep(5), connect(called), HANGUP)
    await product.reached(call, "progressing")
    await api.post(f"/v1.0/calls/{call['id']}/hold")
    await api.post(f"/v1.0/calls/{call['id']}/mute", {"direction": "in"})
    (leg,) = await legs(product, call, 1)
    await product.reached(leg, "progressing")

    async def heard() -> bool:
        return (await product.show(call))["hold"] is False

    await eventually(heard, "the hold ends in the bridge")
    assert (await product.show(call))["mute_direction"] == "in"
    await asyncio.sleep(4)
    await product.hang_up(call)
    await product.ended(call)
    assert (await product.line(caller))["dtmf"] == "7", "it hears the other side"


async def test_who_may_control_which_call(product: Product, api: Api) -> None:
    ringing = await product.place(number("0002"), HANGUP)
    await product.reached(ringing, "ringing")
    for what in ("hold", "moh", "silence", "mute", "talk"):
        body = {"text": "hello"} if what == "talk" else None
        for method in ("POST",) if what == "talk" else ("POST", "DELETE"):
            status, answer = await api.call(method, f"/v1.0/calls/{ringing['id']}/{what}", body)
            assert (status, answer["error"]["reason"]) == (409, "CALL_STATE_INVALID"), (method, what, answer)
            status, answer = await api.call(method, f"/v1.0/calls/{ZERO}/{what}", body)
            assert (status, answer["error"]["reason"]) == (404, "CALL_NOT_FOUND")
    await product.hang_up(ringing)
    ended = await product.ended(ringing)
    status, answer = await api.call("POST", f"/v1.0/calls/{ended['id']}/hold")
    assert (status, answer["error"]["reason"]) == (409, "CALL_STATE_INVALID")
    for path, body in (
        ("mute", {"direction": "left"}),
        ("talk", {}),
        ("talk", {"text": "hello", "language": "xx-XX"}),
        ("talk", {"text": "<speak>broken"}),
    ):
        status, answer = await api.call("POST", f"/v1.0/calls/{ended['id']}/{path}", body)
        assert status in (400, 409), answer


async def test_a_text_into_an_idle_call_and_a_key_that_ends_it(product: Product, api: Api) -> None:
    to = number("0015")  # presses 5 two seconds after its answer
    call = await product.place(to, sleep(8), HANGUP)
    await product.reached(call, "progressing")
    await api.post(f"/v1.0/calls/{call['id']}/talk", {"text": SPEECH, "digits_handle": "next"})
    await product.ended(call)
    heard = read_wav(product.recording(await product.line(to)))
    # sooner or later before the key
    assert loud(heard[: int(2.5 * RATE)])
    assert not loud(heard[int(3.5 * RATE) : int(5.5 * RATE)])


async def test_a_caller_hears_itself(product: Product, files: Files) -> None:
    # the carrier's machine speaks, is echoed, and records what it hears
    machine = number("0009")
    call = await product.place(
        machine,
        {"type": "echo", "option": {"duration": 13000}},
        play(files.add("after.wav", encode(chirp(2600, 1800), "wav"))),
        HANGUP,
    )
    ended = await product.ended(call)
    heard = read_wav(product.recording(await product.line(machine)))
    greeting = read_wav(CHECKOUT / "src" / "ringline" / "sandbox" / "audio" / "greeting.wav")
    # it begins to speak at its answer, which is where its recording begins; a loaded machine loses some of it
    late, pieces = [], range(RATE // 2, 4 * RATE, RATE // 2)
    for at in pieces:
        match = find(heard[at : at + 2 * RATE], greeting[at : at + RATE // 2])
        late += [match.start] if match.peak > 0.9 else []
    assert len(late) >= len(pieces) / 2, f"only {len(late)} of {len(pieces)} pieces came back"
    assert min(late) < 0.2, f"the echo came {min(late):.2f} s late"
    assert find(heard, chirp(2600, 1800)).peak > 0.9, "the flow goes on after its time"
    lasted = datetime.fromisoformat(ended["tm_hangup"]) - datetime.fromisoformat(ended["tm_progressing"])
    assert lasted.total_seconds() >= 13, "longer than whoever reconciles needs to find a stranger"
    assert ended["failures"] == []


@pytest.mark.parametrize("ending", ["caller", "api", "at once"])
async def test_an_echo_leaves_nothing(product: Product, ending: str) -> None:
    to = number("0007" if ending == "caller" else "1234")
    call = await product.place(to, {"type": "stream_echo"})
    await product.reached(call, "progressing", "hangup")
    if ending == "api":
        await asyncio.sleep(1)
    if ending != "caller":
        await product.hang_up(call)
    record = await product.ended(call)
    assert record["failures"] == []


async def test_a_cause_is_relayed(product: Product) -> None:
    busy = await product.ended(await product.place(number("0001"), HANGUP))
    assert busy["hangup_reason"] == "busy"
    flow = await product.store_flow({"type": "hangup_relay", "option": {"reference_id": busy["id"]}})
    own = await product.store_number(flow)
    try:

        async def refused() -> Json | None:
            events = await product.dial_in("+15553330001", own, seconds=5)
            return events[-1] if events[-1]["status"] != 404 else None

        last: Json = await eventually(refused, f"{own} is in service", within=30)
        assert last["status"] == 486
    finally:
        await product.drop_numbers(own)
