"""Conferences on real calls: who hears whom, every way a stay ends, what is left afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import numpy as np
import pytest

from tests.stack.audio import RATE, Samples, chirp, encode, find, read_wav
from tests.stack.conftest import Api, AsteriskView
from tests.stack.containers import Containers
from tests.stack.files import Files
from tests.stack.party import Party
from tests.stack.product import (
    HANGUP,
    SOURCE,
    Json,
    Product,
    digits,
    eventually,
    number,
    play,
    sleep,
)
from tests.stack.rtp import linear

LOUD, QUIET = -35.0, -50.0
"""In dB: a tone of a party that is heard, and of one that is not."""
TONES = (500.0, 850.0, 1300.0)
AFTER = chirp(2600, 1800)
BEFORE = chirp(700, 1500)

Open = Callable[..., Awaitable[list[Party]]]


@pytest.fixture(autouse=True)
async def nothing_left(product: Product, ari: AsteriskView) -> AsyncIterator[None]:
    """After each test Asterisk has no channel and no bridge; what a failed one left is not held against the next."""
    for status in ("dialing", "ringing", "progressing"):
        for call in (await product.api.get("/v1.0/calls", status=status))["result"]:
            await product.hang_up(call)
    await ari.wait_idle(within=20)
    yield
    await ari.wait_idle(within=20)


@pytest.fixture
async def parties() -> AsyncIterator[Open]:
    opened: list[Party] = []

    async def open_all(*frequencies: float) -> list[Party]:
        made = [await Party.open(frequency) for frequency in frequencies]
        opened.extend(made)
        return made

    yield open_all
    for party in opened:
        await party.close()


def join(conference: Json) -> Json:
    return {"type": "conference_join", "option": {"conference_id": conference["id"]}}


async def make(product: Product, **fields: Any) -> Json:
    conference: Json = await product.api.post("/v1.0/conferences", fields)
    return conference


async def bring(product: Product, party: Party, *actions: Json) -> Json:
    """Call a party and run these actions with it."""
    calls = await product.api.post(
        "/v1.0/calls",
        {
            "source": {"type": "tel", "target": SOURCE},
            "destinations": [party.address],
            "actions": list(actions),
        },
    )
    call: Json = calls[0]
    return call


async def inside(product: Product, conference: Json, count: int, within: float = 30.0) -> list[Json]:
    """The stays of a conference, as soon as so many are in it."""

    async def there() -> list[Json]:
        page = await product.api.get(
            "/v1.0/conferencecalls", conference_id=conference["id"], status="progressing"
        )
        found: list[Json] = page["result"]
        return found if len(found) == count else []

    if not count:

        async def nobody() -> bool:
            return not await there_any()

        async def there_any() -> list[str]:
            shown = await product.api.get(f"/v1.0/conferences/{conference['id']}")
            ids: list[str] = shown["conferencecall_ids"]
            return ids

        await eventually(nobody, "nobody in the conference", within=within)
        return []
    result: list[Json] = await eventually(there, f"{count} in the conference", within=within)
    return result


async def stay_of(product: Product, call: Json, status: str = "") -> Json:
    """The only stay of a call, as soon as it has this status."""

    async def look() -> Json | None:
        page = await product.api.get("/v1.0/conferencecalls", reference_id=call["id"])
        (stay,) = page["result"]
        found: Json = stay
        return found if status in ("", found["status"]) else None

    found: Json = await eventually(look, f"the stay of {call['id']} is {status or 'there'}")
    return found


async def no_bridge(ari: AsteriskView) -> None:
    async def none() -> bool:
        return await ari.list("bridges") == []

    await eventually(none, "there is no bridge any more")


async def end(product: Product, *conferences: Json) -> None:
    for conference in conferences:
        await product.api.call("DELETE", f"/v1.0/conferences/{conference['id']}")


async def hears(party: Party, *, loud: tuple[float, ...], quiet: tuple[float, ...]) -> None:
    """Wait until a party hears these tones and none of those, in its last half second."""

    def right() -> bool:
        levels = party.levels(*loud, *quiet, seconds=0.5)
        return all(level > LOUD for level in levels[: len(loud)]) and all(
            level < QUIET for level in levels[len(loud) :]
        )

    try:
        await eventually(right, "", within=20)
    except AssertionError:
        shown = dict(zip(TONES, party.levels(*TONES, seconds=0.5), strict=True))
        raise AssertionError(f"{party.frequency:g} hears {shown}, not {loud} without {quiet}") from None


async def test_each_hears_the_other_two_and_not_itself(
    product: Product, parties: Open, ari: AsteriskView
) -> None:
    conference = await make(product, name="weekly", detail="all of us", data={"room": 7})
    assert (conference["status"], conference["conferencecall_ids"]) == ("progressing", [])
    three = await parties(*TONES)
    calls = [await bring(product, party, join(conference), sleep(60)) for party in three]
    stays = await inside(product, conference, 3)
    for stay in stays:
        assert stay["conference_id"] == conference["id"]
        assert stay["reference_type"] == "call"
        assert stay["tm_progressing"] is not None
    assert {stay["reference_id"] for stay in stays} == {call["id"] for call in calls}
    for party in three:
        others = tuple(tone for tone in TONES if tone != party.frequency)
        await hears(party, loud=others, quiet=(party.frequency,))
    bridges = await ari.list("bridges")
    assert [bridge["id"] for bridge in bridges] == [f"conference-{conference['id']}"]
    assert len(bridges[0]["channels"]) == 3
    assert bridges[0]["technology"] == "softmix"
    shown = await product.api.get(f"/v1.0/conferences/{conference['id']}")
    assert sorted(shown["conferencecall_ids"]) == sorted(stay["id"] for stay in stays)
    # one is kicked: the others go on, and it hears nobody any more
    kicked = await stay_of(product, calls[0])
    answer = await product.api.call("DELETE", f"/v1.0/conferencecalls/{kicked['id']}")
    assert answer[0] == 200
    assert answer[1]["status"] in ("terminating", "terminated")
    await hears(three[0], loud=(), quiet=TONES)
    await hears(three[1], loud=(TONES[2],), quiet=(TONES[0], TONES[1]))
    await hears(three[2], loud=(TONES[1],), quiet=(TONES[0], TONES[2]))
    await eventually(lambda: _at(product, calls[0], "sleep"), "its flow goes on")
    await stay_of(product, calls[0], "terminated")
    # one hangs up
    three[1].hang_up()
    await product.ended(calls[1])
    await stay_of(product, calls[1], "terminated")
    await hears(three[2], loud=(), quiet=TONES)
    # the conference ends
    status, ended = await product.api.call("DELETE", f"/v1.0/conferences/{conference['id']}")
    assert (status, ended["status"] in ("terminating", "terminated")) == (200, True)
    status, _ = await product.api.call("GET", f"/v1.0/conferences/{conference['id']}")
    assert status == 404
    await eventually(lambda: _at(product, calls[2], "sleep"), "the last one's flow goes on")
    await no_bridge(ari)
    for call in (calls[0], calls[2]):
        await product.hang_up(call)
        record = await product.ended(call)
        assert record["failures"] == []


async def _at(product: Product, call: Json, kind: str) -> bool:
    action = (await product.show(call))["action"]
    return bool(action["type"] == kind)


async def test_two_customers_do_not_meet(product: Product, parties: Open, ari: AsteriskView) -> None:
    here, there = await make(product), await make(product)
    three = await parties(*TONES)
    calls = [
        await bring(product, party, join(where), sleep(60))
        for party, where in zip(three, (here, here, there), strict=True)
    ]
    await inside(product, here, 2)
    await inside(product, there, 1)
    await hears(three[0], loud=(TONES[1],), quiet=(TONES[0], TONES[2]))
    await hears(three[2], loud=(), quiet=TONES)
    assert len(await ari.list("bridges")) == 2
    await end(product, here, there)
    for call in calls:
        await product.hang_up(call)
        await product.ended(call)


async def test_a_conference_of_nobody_and_one_of_somebody_else(product: Product) -> None:
    called = number("1234")
    call = await product.place(called, join({"id": str(uuid4())}), sleep(20))
    record = await product.ended(call)
    assert [failure["reason"] for failure in record["failures"]] == ["CONFERENCE_NOT_FOUND"]
    for path in ("conferences", "conferencecalls"):
        for method in ("GET", "DELETE"):
            status, answer = await product.api.call(method, f"/v1.0/{path}/{uuid4()}")
            assert status == 404
            assert answer["error"]["reason"] == f"{path[:-1].upper()}_NOT_FOUND"


async def test_the_way_in_and_the_way_out(product: Product, files: Files) -> None:
    before = play(files.add("before.wav", encode(BEFORE, "wav")))
    after = play(files.add("after.wav", encode(AFTER, "wav")))
    # a while in which to be seen on the way in
    flow = await product.store_flow(before, sleep(4))
    conference = await make(product, name="meeting", pre_flow_id=flow, post_actions=[after, digits("8")])
    called = number("1234")
    last = {"type": "digits_send", "option": {"digits": "9", "duration": 100, "interval": 100}}
    call = await product.place(called, join(conference), last, HANGUP)

    async def joining() -> bool:
        page = await product.api.get("/v1.0/conferencecalls", reference_id=call["id"])
        return [stay["status"] for stay in page["result"]] == ["joining"]

    await eventually(joining, "the stay is joining during the pre-flow", every=0.05)
    (stay,) = await inside(product, conference, 1)
    await asyncio.sleep(1)
    await product.api.call("DELETE", f"/v1.0/conferencecalls/{stay['id']}")
    record = await product.ended(call)
    assert record["failures"] == []
    line = await product.line(called)
    heard = read_wav(product.recording(line))
    assert find(heard, BEFORE).peak > 0.9
    assert find(heard, AFTER).peak > 0.9
    assert find(heard, AFTER).start > find(heard, BEFORE).end + 0.9
    assert line["dtmf"] == "89", "the conference's way out, then the flow's own next action"
    await end(product, conference)


async def test_keys_pressed_in_a_conference_are_not_a_menus(product: Product, parties: Open) -> None:
    conference = await make(product)
    first, second = await parties(TONES[0], TONES[1])
    menu = {"type": "digits_receive", "option": {"duration": 1500, "length": 1}}
    call = await bring(
        product,
        first,
        join(conference),
        menu,
        {"type": "condition_call_digits", "option": {"length": 1, "false_target_id": str(QUIET_ID)}},
        sleep(60),
        {"id": str(QUIET_ID), "type": "sleep", "option": {"duration": 61000}},
    )
    other = await bring(product, second, join(conference), sleep(60))
    await inside(product, conference, 2)
    await first.press("55")
    await asyncio.sleep(0.5)
    stay = await stay_of(product, call)
    await product.api.call("DELETE", f"/v1.0/conferencecalls/{stay['id']}")

    async def decided() -> bool:
        action = (await product.show(call))["action"]
        return bool(action["id"] == str(QUIET_ID))

    await eventually(decided, "no key is left for the menu")
    await end(product, conference)
    for one in (call, other):
        await product.hang_up(one)
        await product.ended(one)


QUIET_ID = "33333333-3333-4333-8333-333333333333"


async def test_it_ends_when_its_time_is_over(product: Product, parties: Open) -> None:
    conference = await make(product, timeout=9)
    (party,) = await parties(TONES[0])
    call = await bring(product, party, join(conference), sleep(60))
    await inside(product, conference, 1)

    async def over() -> bool:
        shown = await product.api.get(f"/v1.0/conferences/{conference['id']}")
        return bool(shown["status"] == "terminated" and shown["tm_end"])

    await eventually(over, "the conference is over", within=30)
    await eventually(lambda: _at(product, call, "sleep"), "the flow goes on")
    late = await product.place(number("1234"), join(conference), sleep(20))
    record = await product.ended(late)
    assert [failure["reason"] for failure in record["failures"]] == ["CONFERENCE_TERMINATED"]
    status, answer = await product.api.call("PUT", f"/v1.0/conferences/{conference['id']}", {"name": "late"})
    assert (status, answer["error"]["reason"]) == (409, "CONFERENCE_TERMINATED")
    await product.hang_up(call)
    await product.ended(call)


async def test_a_connect_conference_ends_with_one_left(product: Product, parties: Open) -> None:
    conference = await make(product, type="connect")
    first, second = await parties(TONES[0], TONES[1])
    bridge = {"type": "confbridge_join", "option": {"confbridge_id": conference["id"]}}
    calls = [await bring(product, party, bridge, sleep(60)) for party in (first, second)]
    await inside(product, conference, 2)
    await hears(first, loud=(TONES[1],), quiet=(TONES[0],))
    await hears(second, loud=(TONES[0],), quiet=(TONES[1],))
    second.hang_up()
    await product.ended(calls[1])
    await eventually(lambda: _at(product, calls[0], "sleep"), "the one who is left goes on")

    async def over() -> bool:
        shown = await product.api.get(f"/v1.0/conferences/{conference['id']}")
        return bool(shown["status"] == "terminated")

    await eventually(over, "the conference is over")
    await product.hang_up(calls[0])
    await product.ended(calls[0])


async def test_a_beep_when_somebody_joins(product: Product, parties: Open) -> None:
    conference = await make(product, beep="join")
    first, second = await parties(TONES[0], TONES[1])
    first.silent = second.silent = True
    one = await bring(product, first, join(conference), sleep(60))
    await inside(product, conference, 1)
    await hears(first, loud=(), quiet=(1000.0,))
    before = len(first.ear.heard)
    two = await bring(product, second, join(conference), sleep(60))

    def beep() -> bool:
        # in all that came since: a look that comes late misses nothing
        packets = [packet.payload for packet in first.ear.heard[before:] if packet.type == 0]
        pieces = [b"".join(packets[at : at + 10]) for at in range(0, len(packets) - 9, 5)]
        return any(_level(linear(piece), 1000.0) > LOUD for piece in pieces)

    await eventually(beep, "a beep", within=30, every=0.5)
    await hears(first, loud=(), quiet=(1000.0,))
    await end(product, conference)
    for call in (one, two):
        await product.hang_up(call)
        await product.ended(call)


def _level(samples: Samples, frequency: float) -> float:
    """How loud a tone is in a stretch, in dB against full scale."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size))) / (samples.size / 4) / 32768
    bins = np.fft.rfftfreq(samples.size, 1 / RATE)
    return 20 * float(np.log10(max(spectrum[np.abs(bins - frequency) < 12].max(), 1e-6)))


async def test_beeps_and_music_for_who_is_alone(product: Product, parties: Open, ari: AsteriskView) -> None:
    conference = await make(product, beep="both", alone_music=True)
    first, second = await parties(TONES[0], TONES[1])
    first.silent = second.silent = True
    one = await bring(product, first, join(conference), sleep(60))
    await inside(product, conference, 1)

    def music() -> bool:
        return first.loudness(1.0) > 100

    await eventually(music, "music for who is alone")
    two = await bring(product, second, join(conference), sleep(60))
    await inside(product, conference, 2)

    def silence() -> bool:
        return first.loudness(0.5) < 30

    await eventually(silence, "no music for two")
    second.hang_up()
    await product.ended(two)
    await eventually(music, "a beep, and music again")
    await end(product, conference)
    await eventually(lambda: _at(product, one, "sleep"), "the flow goes on")
    await no_bridge(ari)
    await product.hang_up(one)
    await product.ended(one)


async def test_what_is_said_is_recorded(product: Product, parties: Open, tmp_path: Path) -> None:
    conference = await make(product)
    status, answer = await product.api.call(
        "POST", f"/v1.0/conferences/{conference['id']}/recording_start", {}
    )
    assert (status, answer["error"]["reason"]) == (409, "CONFERENCE_EMPTY")
    two = await parties(TONES[0], TONES[1])
    calls = [await bring(product, party, join(conference), sleep(60)) for party in two]
    await inside(product, conference, 2)
    await hears(two[0], loud=(TONES[1],), quiet=(TONES[0],))
    started = await product.api.post(f"/v1.0/conferences/{conference['id']}/recording_start", {})
    recording_id = started["recording_id"]
    await asyncio.sleep(2.5)
    # those in it go on hearing each other
    await hears(two[1], loud=(TONES[0],), quiet=(TONES[1],))
    await end(product, conference)

    async def finished() -> bool:
        recording = await product.api.get(f"/v1.0/recordings/{recording_id}")
        return bool(recording["status"] == "ended")

    await eventually(finished, "the recording ends with the conference", within=40)
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{product.env['RINGLINE_API_URL']}/v1.0/recordingfiles/{recording_id}",
            params={"accesskey": product.env["RINGLINE_ACCESSKEY"]},
        ) as response,
    ):
        assert response.status == 200
        path = tmp_path / "conference.wav"
        path.write_bytes(await response.read())
    heard = read_wav(path)
    assert heard.size > 2 * RATE
    # of all of it: a party that was held up for a moment hums on
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(heard.size)))
    bins = np.fft.rfftfreq(heard.size, 1 / RATE)
    loudest = spectrum.max()
    for tone in TONES:
        level = spectrum[np.abs(bins - tone) < 5].max() / loudest
        assert bool(level > 0.3) is (tone in TONES[:2]), (tone, level)
    for call in calls:
        await product.hang_up(call)
        await product.ended(call)


@pytest.mark.timeout(240)
async def test_twenty_at_once(product: Product, ari: AsteriskView) -> None:
    conference = await make(product)
    numbers = [number("1234") for _ in range(20)]
    calls = await asyncio.gather(
        *(product.place(called, join(conference), digits("7"), HANGUP) for called in numbers)
    )
    stays = await inside(product, conference, 20, within=60)
    bridges = await ari.list("bridges")
    assert len(bridges) == 1, "one bridge, however many come at once"
    assert len(bridges[0]["channels"]) == 20
    for stay in stays[:5]:
        await product.api.call("DELETE", f"/v1.0/conferencecalls/{stay['id']}")
    for call in calls[:3]:
        await product.hang_up(call)
    await end(product, conference)
    for call in calls:
        record = await product.ended(call, within=40)
        assert record["failures"] == []
        await stay_of(product, call, "terminated")
    kept = [await product.line(called) for called in numbers]
    assert sum(line["dtmf"] == "7" for line in kept) >= 17, "the flows of those who were let go went on"


async def test_hang_ups_at_any_moment_leave_nobody(product: Product, ari: AsteriskView) -> None:
    conference = await make(product, alone_music=True, beep="both")
    for moment in (1.0, 1.15, 1.3, 1.5):
        calls = await asyncio.gather(
            *(product.place(number("1234"), join(conference), sleep(30)) for _ in range(3))
        )
        await asyncio.sleep(moment)
        for call in calls:
            await product.hang_up(call)
        for call in calls:
            await product.ended(call)
        await inside(product, conference, 0)
        await eventually(lambda: _over(product, conference), "every stay has ended")
    await ari.wait_idle()
    await end(product, conference)


async def _over(product: Product, conference: Json) -> bool:
    page = await product.api.get("/v1.0/conferencecalls", conference_id=conference["id"])
    return {stay["status"] for stay in page["result"]} <= {"terminated"}


async def test_an_incoming_call_is_answered_by_joining(product: Product) -> None:
    conference = await make(product)
    own = await product.store_number(await product.store_flow(join(conference), HANGUP))
    try:

        async def ring() -> list[Json]:
            events = await product.dial_in("+15553330001", own, seconds=4)
            return events if events[-1]["status"] != 404 else []

        events = await eventually(ring, f"{own} is in service", within=30)
        assert events[-1]["answered"], events
        record = await product.incoming(own)
        assert (await product.ended(record))["failures"] == []
        assert (await stay_of(product, record))["tm_progressing"] is not None
    finally:
        await product.drop_numbers(own)
        await end(product, conference)


@pytest.mark.timeout(240)
async def test_a_conference_survives_its_controller(
    product: Product, parties: Open, ari: AsteriskView, containers: Containers
) -> None:
    conference = await make(product, beep="leave")
    three = await parties(*TONES)
    calls = [await bring(product, party, join(conference), sleep(60)) for party in three]
    stays = await inside(product, conference, 3)
    await hears(three[0], loud=TONES[1:], quiet=TONES[:1])
    started, _ = await containers.life("controller")
    await containers.signal("controller", "KILL")
    # one leaves in the gap; the others go on hearing each other
    three[2].hang_up()
    await hears(three[0], loud=(TONES[1],), quiet=(TONES[0], TONES[2]))

    async def again() -> bool:
        return (await containers.life("controller"))[0] != started

    await eventually(again, "the controller was started again", within=60)
    await containers.healthy("controller")
    found = await inside(product, conference, 2, within=60)
    known = {stay["id"]: stay for stay in stays}
    assert {stay["id"] for stay in found} < set(known), "the same stays"
    for stay in found:
        assert stay["tm_progressing"] == known[stay["id"]]["tm_progressing"]
    await stay_of(product, calls[2], "terminated")
    await asyncio.sleep(5)  # two looks at what nobody owns
    await hears(three[0], loud=(TONES[1],), quiet=(TONES[0], TONES[2]))
    assert [bridge["id"] for bridge in await ari.list("bridges")] == [f"conference-{conference['id']}"]
    (stay,) = [stay for stay in found if stay["reference_id"] == calls[0]["id"]]
    await product.api.call("DELETE", f"/v1.0/conferencecalls/{stay['id']}")
    await eventually(lambda: _at(product, calls[0], "sleep"), "the kicked one's flow goes on")
    await end(product, conference)
    await eventually(lambda: _at(product, calls[1], "sleep"), "the other one's flow goes on")
    await no_bridge(ari)
    for call in calls[:2]:
        await product.hang_up(call)
        assert (await product.ended(call))["failures"] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"type": "queue"}, "type"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": 10**9}, "timeout"),
        ({"beep": "always"}, "beep"),
        ({"data": {"text": "x" * 20000}}, "data"),
        ({"members": 3}, "members"),
        ({"pre_actions": [{"type": "tlak", "option": {"text": "x"}}]}, "pre_actions"),
        ({"post_actions": [{"type": "talk", "option": {"text": "x", "language": "xx-QQ"}}]}, "actions[0]"),
    ],
)
async def test_wrong_conferences_are_refused_by_place(api: Api, body: Json, says: str) -> None:
    status, answer = await api.call("POST", "/v1.0/conferences", body)
    assert status == 400, answer
    assert says in str(answer)


async def test_paging_filters_and_changes(product: Product) -> None:
    made = [await make(product, name=f"conference {index}", timeout=index * 1000) for index in range(3)]
    status, answer = await product.api.call("POST", "/v1.0/conferences", {"pre_flow_id": str(uuid4())})
    assert (status, answer["error"]["reason"]) == (404, "FLOW_NOT_FOUND")
    page = await product.api.get("/v1.0/conferences", page_size="2", status="progressing", type="conference")
    assert [one["id"] for one in page["result"]] == [made[2]["id"], made[1]["id"]]
    following = await product.api.get("/v1.0/conferences", page_size="1", page_token=page["next_page_token"])
    assert [one["id"] for one in following["result"]] == [made[0]["id"]]
    status, changed = await product.api.call(
        "PUT", f"/v1.0/conferences/{made[0]['id']}", {"detail": "new", "beep": "join"}
    )
    assert status == 200
    assert (changed["name"], changed["detail"], changed["beep"]) == ("conference 0", "new", "join")
    await end(product, *made)
    page = await product.api.get("/v1.0/conferences", page_size="1000")
    assert not {one["id"] for one in page["result"]} & {one["id"] for one in made}


async def test_one_key_one_conference(product: Product) -> None:
    headers = {"Idempotency-Key": f"conference-{uuid4()}"}
    url = f"{product.env['RINGLINE_API_URL']}/v1.0/conferences"
    async with aiohttp.ClientSession() as session:
        answers = []
        for _ in range(2):
            async with session.post(
                url, params={"accesskey": product.env["RINGLINE_ACCESSKEY"]}, json={}, headers=headers
            ) as response:
                assert response.status == 200
                answers.append((await response.json())["id"])
    assert answers[0] == answers[1]
    await end(product, {"id": answers[0]})
