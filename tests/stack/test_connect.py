"""``connect`` and ``call`` on real calls: who hears whom, what is on the wire, how every way it can end ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tests.stack.audio import RATE, Samples, chirp, encode, find, read_wav
from tests.stack.conftest import Api, AsteriskView
from tests.stack.containers import Containers
from tests.stack.files import Files
from tests.stack.product import HANGUP, SOURCE, Json, Product, digits, eventually, number, play, sleep, talk

GREETING = chirp(500, 1400)
AFTER = chirp(2600, 1800)
MESSAGE = chirp(900, 2900)


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    """After each test Asterisk has no channel and no bridge."""
    yield
    await ari.wait_idle()


def connect(*to: str, **option: Any) -> Json:
    destinations = [{"type": "tel", "target": target} for target in to]
    source = {"type": "tel", "target": SOURCE}
    return {"type": "connect", "option": {"source": source, "destinations": destinations, **option}}


async def legs(product: Product, call: Json, count: int) -> list[Json]:
    """The records of the legs that a call was connected with."""

    async def chained() -> list[str]:
        ids = (await product.show(call))["chained_call_ids"]
        return ids if len(ids) == count else []

    found = await eventually(chained, f"{count} legs", within=30)
    return [await product.api.get(f"/v1.0/calls/{leg_id}") for leg_id in found]


async def bridged(product: Product) -> bool:
    """Whether there is one bridge, with two parties in it."""
    return [len(bridge["channels"]) for bridge in await product.asterisk.list("bridges")] == [2]


async def ring_in(product: Product, to: str, **how: Any) -> list[Json]:
    """A caller of the telephone network calls a number that was made a moment ago."""

    async def taken() -> list[Json]:
        events = await product.dial_in("+15553330001", to, **how)
        return events if events[-1]["status"] != 404 else []

    events: list[Json] = await eventually(taken, f"{to} is in service", within=30)
    return events


async def ended_legs(product: Product, call: Json, count: int) -> list[Json]:
    return [await product.ended(leg) for leg in await legs(product, call, count)]


def tone(recording: Samples, *frequencies: float, begin: float, seconds: float) -> float:
    """How much of a stretch's energy is at these frequencies (0 to 1)."""
    part = recording[int(begin * RATE) : int((begin + seconds) * RATE)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(part.size))) ** 2
    bins = np.fft.rfftfreq(part.size, 1 / RATE)
    wanted = sum(spectrum[np.abs(bins - frequency) < 15].sum() for frequency in frequencies)
    return float(wanted / max(spectrum.sum(), 1e-12))


async def test_the_tutorials_connect_greets_and_bridges_both_ways(product: Product, files: Files) -> None:
    caller, called = number("1234"), number("0017")
    greeting = play(files.add("greeting.wav", encode(GREETING, "wav")))
    after = play(files.add("after.wav", encode(AFTER, "wav")))
    call = await product.place(caller, greeting, connect(called), after, HANGUP)
    (leg,) = await legs(product, call, 1)
    leg = await product.reached(leg, "progressing")
    assert (leg["master_call_id"], leg["direction"]) == (call["id"], "outgoing")
    await eventually(lambda: bridged(product), "both are in one bridge")
    await asyncio.sleep(4)
    await product.hang_up(leg)
    record = await product.ended(call)
    leg = await product.ended(leg)
    assert (record["hangup_reason"], record["failures"]) == ("normal", [])
    assert (leg["hangup_by"], leg["hangup_reason"]) == ("local", "normal")
    line, other = await product.line(caller), await product.line(called)
    heard = read_wav(product.recording(line))
    assert find(heard, GREETING).peak > 0.9
    assert find(heard, AFTER).peak > 0.9, "the flow goes on when the conversation is over"
    assert find(heard, AFTER).start > find(heard, GREETING).end + 4
    # the called side pressed 7 two seconds after its answer: through the bridge
    assert line["dtmf"] == "7"
    assert other["recording"] is not None


async def test_sound_and_keys_cross_the_bridge_in_both_directions(product: Product) -> None:
    echo, machine = number("0008"), number("0009")
    call = await product.place(echo, connect(machine), HANGUP)
    (leg,) = await legs(product, call, 1)
    await product.reached(leg, "progressing")
    await asyncio.sleep(4)
    await product.hang_up(call)
    await product.ended(call)
    heard_by_echo = read_wav(product.recording(await product.line(echo)))
    heard_by_machine = read_wav(product.recording(await product.line(machine)))
    # a loud second that arrived on the one side was sent back by it and arrived on the other; a busy machine may
    # have lost something of one or another
    energy = np.convolve(heard_by_echo**2, np.ones(RATE), mode="valid")
    begins = [begin for begin in range(0, energy.size, RATE // 4) if energy[begin] / RATE > 1e-4]
    assert begins
    peaks = [find(heard_by_machine, heard_by_echo[begin : begin + RATE]).peak for begin in begins]
    assert max(peaks) > 0.8, peaks

    caller, called = number("0012"), number("0017")
    call = await product.place(caller, connect(called), HANGUP)
    (leg,) = await legs(product, call, 1)
    await product.reached(leg, "progressing")
    await asyncio.sleep(4)
    await product.hang_up(call)
    assert [(await product.line(to))["dtmf"] for to in (caller, called)] == ["7", "2"]
    (leg,) = await ended_legs(product, call, 1)
    assert (leg["hangup_by"], leg["hangup_reason"]) == ("local", "normal")


async def test_the_caller_hears_ringing_until_the_answer(product: Product) -> None:
    caller, called = number("1234"), number("0002")
    call = await product.place(caller, connect(called), HANGUP)
    (leg,) = await legs(product, call, 1)
    await product.reached(leg, "ringing")
    await asyncio.sleep(3)
    await product.hang_up(call)
    await product.ended(call)
    (leg,) = await ended_legs(product, call, 1)
    assert (leg["hangup_by"], leg["hangup_reason"]) == ("local", "cancel")
    heard = read_wav(product.recording(await product.line(caller)))
    # some second of it: the other side's ringing may come late
    shares = [tone(heard, 440, 480, begin=at / 4, seconds=1.0) for at in range(1, 9)]
    assert max(shares) > 0.9, shares
    await product.line(called)


async def test_all_ring_and_the_first_to_answer_wins(product: Product) -> None:
    caller, winner, others = number("1234"), number("0013"), [number("0002"), number("0002")]
    call = await product.place(caller, connect(others[0], winner, others[1]), HANGUP)
    first, won, last = await legs(product, call, 3)
    won = await product.reached(won, "progressing")
    for rung in (first, last):
        loser = await product.ended(rung)
        assert loser["tm_progressing"] is None
        assert (loser["hangup_reason"], loser["hangup_cause"]) == ("normal", 26)
    await asyncio.sleep(3)
    await product.hang_up(won)
    await product.ended(call)
    assert (await product.line(caller))["dtmf"] == "3"


async def test_an_anonymous_leg_on_the_wire(product: Product) -> None:
    caller, hidden, shown = number("1234"), number("1234"), number("1234")
    call = await product.place(
        caller, connect(hidden, anonymous="yes"), connect(shown, anonymous="no"), HANGUP
    )
    for count in (1, 2):
        leg = (await legs(product, call, count))[-1]
        await product.reached(leg, "progressing")
        assert leg["anonymous"] is (count == 1)
        await product.hang_up(leg)
    await product.ended(call)
    line = await product.line(hidden)
    assert line["from_uri"].startswith("sip:anonymous@anonymous.invalid")
    assert (line["from_display"], line["privacy"]) == ("Anonymous", "id")
    assert SOURCE in line["p_asserted_identity"]
    line = await product.line(shown)
    assert SOURCE in line["from_uri"]
    assert line["privacy"] in ("", "none")


async def test_auto_inherits_from_the_caller_and_no_wins(product: Product) -> None:
    hidden, shown = number("0007"), number("0007")
    flow = await product.store_flow(
        {"type": "answer"}, connect(hidden, anonymous="auto"), connect(shown, anonymous="no"), HANGUP
    )
    own = await product.store_number(flow)
    try:
        await ring_in(product, own, seconds=15, anonymous=True)
        assert (await product.line(hidden))["privacy"] == "id"
        line = await product.line(shown)
        assert line["privacy"] in ("", "none")
        assert SOURCE in line["from_uri"]
    finally:
        await product.drop_numbers(own)


async def test_a_leg_without_a_number_of_its_own_is_anonymous(product: Product) -> None:
    caller, called = number("1234"), number("0007")
    foreign = {"type": "tel", "target": "+15559990000"}
    before = await product.api.get("/v1.0/customer")
    call = await product.place(caller, connect(called, source=foreign), HANGUP)
    await product.ended(call)
    line = await product.line(called)
    if before.get("default_outgoing_source_number_id") in (None, "00000000-0000-0000-0000-000000000000"):
        assert line["from_uri"].startswith("sip:anonymous@anonymous.invalid")
        assert "15559990000" not in str(line)
    else:
        assert "15559990000" not in line["from_uri"]


async def test_nobody_answers_and_the_flow_goes_on(product: Product, files: Files) -> None:
    caller, busy, refused = number("1234"), number("0001"), number("0003")
    after = play(files.add("after.wav", encode(AFTER, "wav")))
    call = await product.place(caller, connect(busy, refused), after, HANGUP)
    record = await product.ended(call)
    assert record["failures"] == []
    assert [leg["hangup_reason"] for leg in await ended_legs(product, call, 2)] == ["busy", "noanswer"]
    assert find(read_wav(product.recording(await product.line(caller))), AFTER).peak > 0.9


async def test_a_relayed_reason_reaches_a_caller_who_was_never_answered(product: Product) -> None:
    flow = await product.store_flow(connect(number("0001"), relay_reason=True), talk("never said"))
    own = await product.store_number(flow)
    try:
        events = await ring_in(product, own, seconds=15)
        assert (events[-1]["answered"], events[-1]["status"]) == (False, 486), events
        record = await product.incoming(own)
        assert record["tm_progressing"] is None
    finally:
        await product.drop_numbers(own)


async def test_a_caller_who_was_not_answered_is_when_the_other_is(product: Product) -> None:
    called = number("0014")
    flow = await product.store_flow(connect(called), HANGUP)
    own = await product.store_number(flow)
    try:
        dialling = asyncio.create_task(ring_in(product, own, seconds=5))
        record = await product.incoming(own)
        (leg,) = await legs(product, record, 1)
        await product.reached(leg, "ringing", "progressing")
        await product.reached(record, "progressing")
        await dialling
        # the caller hung up: the leg ends with it
        leg = await product.ended(leg)
        assert (leg["hangup_by"], leg["hangup_reason"]) == ("local", "normal")
    finally:
        await product.drop_numbers(own)


async def test_early_media_is_heard_before_the_answer(product: Product, ari: AsteriskView) -> None:
    caller, called = number("1234"), number("0006")
    call = await product.place(caller, connect(called, early_media=True), HANGUP)

    looked: list[datetime] = []

    async def together() -> bool:
        looked.append(datetime.now(UTC))
        return any(len(bridge["channels"]) == 2 for bridge in await ari.list("bridges"))

    await eventually(together, "both parties in one bridge", every=0.05)
    (leg,) = await legs(product, call, 1)
    leg = await product.reached(leg, "progressing")
    assert looked[-1] < datetime.fromisoformat(leg["tm_progressing"]), "not before it answered"
    await asyncio.sleep(1)
    await product.hang_up(leg)
    record = await product.ended(call)
    assert record["failures"] == []
    # our own ring-back ends with the early media: a whole tone without its pause is the carrier's
    heard = read_wav(product.recording(await product.line(caller)))
    assert tone(heard, 440, 480, begin=0.8, seconds=1.0) > 0.9


async def test_an_unanswered_caller_hears_early_media(product: Product) -> None:
    called = number("0006")
    own = await product.store_number(
        await product.store_flow(connect(called, early_media=True, relay_reason=True), HANGUP)
    )
    try:
        events = await ring_in(product, own, seconds=2)
        assert events[-1]["answered"], events
        record = await product.incoming(own)
        assert record["failures"] == []
        (leg,) = await ended_legs(product, record, 1)
        assert (leg["hangup_by"], leg["hangup_reason"]) == ("local", "normal")
    finally:
        await product.drop_numbers(own)


async def test_early_media_wanted_and_none_there(product: Product) -> None:
    caller, called = number("1234"), number("0015")
    call = await product.place(caller, connect(called, early_media=True), HANGUP)
    (leg,) = await legs(product, call, 1)
    leg = await product.reached(leg, "progressing")
    line = await product.api.get(f"/v1.0/calls/{leg['id']}")
    assert line["source"]["target"] == SOURCE
    await asyncio.sleep(3)
    await product.hang_up(leg)
    await product.ended(call)
    assert (await product.line(caller))["dtmf"] == "5"
    assert SOURCE in (await product.line(called))["from_uri"]


async def test_the_called_side_hangs_up_first(product: Product, files: Files) -> None:
    caller, called = number("1234"), number("0007")
    after = play(files.add("after.wav", encode(AFTER, "wav")))
    call = await product.place(caller, connect(called), after, HANGUP)
    await product.ended(call)
    (leg,) = await ended_legs(product, call, 1)
    assert (leg["hangup_by"], leg["hangup_reason"]) == ("remote", "normal")
    assert find(read_wav(product.recording(await product.line(caller))), AFTER).peak > 0.9


async def test_the_tutorials_call_action(product: Product, files: Files) -> None:
    caller, notified = number("1234"), number("1234")
    message = play(files.add("message.wav", encode(MESSAGE, "wav")))
    action = {
        "type": "call",
        "option": {
            "anonymous": "yes",
            "source": {"type": "tel", "target": SOURCE},
            "destinations": [{"type": "tel", "target": notified}],
            "actions": [message, digits("${code}"), HANGUP],
        },
    }
    call = await product.place(caller, action, HANGUP, variables={"code": "42"})
    record = await product.ended(call)
    assert record["failures"] == []
    assert record["chained_call_ids"] == [], "independent"
    line = await product.line(notified)
    assert (line["privacy"], line["dtmf"]) == ("id", "42")
    assert find(read_wav(product.recording(line)), MESSAGE).peak > 0.9


async def test_a_chained_call_ends_with_its_master(product: Product) -> None:
    caller, called = number("1234"), number("1234")
    action = {
        "type": "call",
        "option": {
            "destinations": [{"type": "tel", "target": called}],
            "actions": [sleep(60)],
            "chained": True,
        },
    }
    call = await product.place(caller, action, sleep(60))
    (leg,) = await legs(product, call, 1)
    assert leg["master_call_id"] == call["id"]
    await product.reached(leg, "progressing")
    await product.hang_up(call)
    leg = await product.ended(leg)
    assert (leg["hangup_by"], leg["hangup_reason"]) == ("local", "normal")


async def test_early_execution_runs_while_it_rings(product: Product) -> None:
    caller, called = number("1234"), number("0002")
    action = {
        "type": "call",
        "option": {
            "source": {"type": "tel", "target": SOURCE},
            "destinations": [{"type": "tel", "target": called}],
            "actions": [sleep(1), HANGUP],
            "early_execution": True,
            "chained": True,
        },
    }
    call = await product.place(caller, action, sleep(30))
    (leg,) = await legs(product, call, 1)
    leg = await product.ended(leg)
    assert (leg["hangup_reason"], leg["tm_progressing"]) == ("cancel", None)
    await product.hang_up(call)
    await product.ended(call)


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        ({"type": "tel", "target": "555-123"}, "destinations"),
        ({"type": "sip", "target": "a@localhost"}, "full name"),
    ],
)
async def test_wrong_destinations_are_refused_by_place(api: Api, destination: Json, says: str) -> None:
    body = {
        "source": {"type": "tel", "target": SOURCE},
        "destinations": [{"type": "tel", "target": number()}],
        "actions": [{"type": "connect", "option": {"destinations": [destination]}}],
    }
    status, answer = await api.call("POST", "/v1.0/calls", body)
    assert status == 400
    assert "actions[0]" in str(answer)
    assert says in str(answer)


@pytest.mark.timeout(240)
async def test_a_controller_that_dies_leaves_the_parties_talking(
    product: Product, containers: Containers
) -> None:
    caller, called = number("1234"), number("1234")
    call = await product.place(caller, connect(called), HANGUP)
    (leg,) = await legs(product, call, 1)
    await product.reached(leg, "progressing")
    (bridge,) = await product.asterisk.list("bridges")
    started, _ = await containers.life("controller")
    await containers.signal("controller", "KILL")

    async def again() -> bool:
        return (await containers.life("controller"))[0] != started

    await eventually(again, "the controller was started again", within=60)
    await containers.healthy("controller")
    # longer than the reconciler takes to drop what nobody owns
    await asyncio.sleep(5)
    for record in (call, leg):
        assert (await product.show(record))["status"] == "progressing"
    (still,) = await product.asterisk.list("bridges")
    assert (still["id"], sorted(still["channels"])) == (bridge["id"], sorted(bridge["channels"]))
    await product.hang_up(call)
    for record in (call, leg):
        ended = await product.ended(record)
        assert (ended["hangup_reason"], ended["hangup_by"]) == ("normal", "local")
    await product.asterisk.wait_idle()
