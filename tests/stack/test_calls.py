"""Outgoing calls: the other side hears what was said, gets what was pressed, and each end is told truthfully."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ringline.routing import KamailioRpc, ProviderFields, RouteFields, RoutingService
from tests.stack.audio import RATE, Match, Samples, chirp, encode, find, read_prompt, read_wav
from tests.stack.files import Files
from tests.stack.product import (
    BEEP,
    HANGUP,
    SOURCE,
    Json,
    Product,
    digits,
    eventually,
    number,
    play,
    sleep,
    talk,
)
from tests.stack.sip import Behaviour, Phone, reply, silent

ZERO = "00000000-0000-0000-0000-000000000000"
HEARD = 0.9


def moment(text: str | None) -> datetime:
    assert text is not None
    return datetime.fromisoformat(text)


def unheard() -> str:
    """Words that no earlier run had rendered."""
    return " ".join(
        secrets.choice(("seven", "eleven", "sunday", "harbour", "violet", "candle")) for _ in range(9)
    )


def in_order(recording: Samples, prompts: set[Path]) -> list[Match]:
    """Where the prompts are in the recording, the first one first.

    Those that were heard: on a machine that is held up a second engine renders a text as well, and speaks first.
    """
    matches = [find(recording, read_prompt(path)) for path in prompts]
    return sorted((match for match in matches if match.peak > HEARD), key=lambda match: match.start)


# --- 60 s are waited for while the other tests of this module run -------------------------------------------


@pytest.fixture(scope="module", autouse=True)
async def never_answered(product: Product) -> AsyncIterator[Json]:
    """A call to a telephone that rings and is not answered, placed before everything else here."""
    call = await product.place(number("0002"), sleep(1))
    yield call
    await product.hang_up(call)


FIELDS = {
    *("id", "customer_id", "flow_id", "activeflow_id", "type", "master_call_id", "chained_call_ids"),
    *(
        "recording_id",
        "recording_ids",
        "groupcall_id",
        "source",
        "destination",
        "status",
        "action",
        "direction",
    ),
    *("mute_direction", "hangup_by", "hangup_reason", "tm_progressing", "tm_ringing", "tm_hangup"),
    *("tm_create", "tm_update", "tm_delete"),
}


async def test_the_answer_of_a_new_call_has_every_field_of_the_seed_page(product: Product) -> None:
    call = await product.place(number("0001"), talk("hello"))
    assert call.keys() >= FIELDS
    assert (call["type"], call["status"], call["direction"]) == ("flow", "dialing", "outgoing")
    assert (call["hangup_by"], call["hangup_reason"], call["mute_direction"]) == ("", "", "")
    assert [call[f"tm_{name}"] for name in ("progressing", "ringing", "hangup", "update", "delete")] == [
        None
    ] * 5
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", call["tm_create"])
    assert [call[name] for name in ("flow_id", "master_call_id", "recording_id", "groupcall_id")] == [
        ZERO
    ] * 4
    assert set(call["source"]) == {"type", "target", "target_name", "name", "detail"}
    await product.ended(call)


# --- what is heard ------------------------------------------------------------------------------------------


async def test_a_call_speaks(product: Product) -> None:
    to = number()
    known = product.prompts()
    text = f"This is a call that speaks. {unheard()}."
    call = await product.place(to, talk(text))
    assert call["status"] == "dialing"
    line = await product.line(to, within=40)
    answered = (moment(line["tm_answer"]) - moment(call["tm_create"])).total_seconds()
    assert answered < 15, f"answered after {answered} s"
    assert (line["from_uri"], line["privacy"]) == (f"sip:{SOURCE}@{product.env['RINGLINE_SIP_DOMAIN']}", "")

    (heard,) = in_order(read_wav(product.recording(line)), product.prompts() - known)
    assert heard.start < 20, "the speech began late"

    record = await product.ended(call)
    assert (record["hangup_by"], record["hangup_reason"], record["failures"]) == ("local", "normal", [])
    assert record["action"] == {"id": "00000000-0000-0000-0000-000000000001", "type": ""}
    times = [moment(record[f"tm_{name}"]) for name in ("create", "ringing", "progressing", "hangup")]
    assert times == sorted(times)
    assert (record["tm_delete"], record["tm_update"]) == (None, record["tm_hangup"])


async def test_sixteen_kilohertz_lies_beside_every_prompt(product: Product) -> None:
    prompts = product.prompts()
    assert prompts
    for narrow in prompts:
        wide = narrow.with_suffix(".sln16")
        assert abs(wide.stat().st_size - 4 * narrow.stat().st_size) <= 8, narrow


async def test_a_flow_is_heard_in_order_and_its_digits_arrive_once(product: Product, files: Files) -> None:
    to = number("4321")
    sounds = {"wav": chirp(300, 1100), "mp3": chirp(1100, 300), "ogg": chirp(500, 900, 1.6)}
    urls = {
        "wav": files.add("glide.wav", encode(sounds["wav"], "wav")),
        "mp3": files.add("glide.mp3", encode(sounds["mp3"], "mp3", rate=16000)),
        "ogg": files.add("glide.ogg", encode(sounds["ogg"], "ogg", rate=16000)),
    }
    known = product.prompts()
    keys = "1234567890*#ABCD1122"
    first, last = f"First. {unheard()}.", f"Last. {unheard()}."
    legacy = {"type": "dtmf_send", "option": {"dtmfs": keys, "duration": 100, "interval": 60}}
    plays = (play(urls["wav"], urls["mp3"]), play(urls["ogg"]))
    call = await product.place(to, talk(first), *plays, BEEP, legacy, talk(last))
    line = await product.line(to, within=60)
    record = await product.ended(call)
    assert (record["hangup_reason"], record["failures"]) == ("normal", [])
    assert line["dtmf"] == keys

    recording = read_wav(product.recording(line))
    speeches = in_order(recording, product.prompts() - known)
    assert len(speeches) == 2
    tone = chirp(1000, 1000, 0.4)
    heard = [
        speeches[0],
        *(find(recording, sounds[kind]) for kind in ("wav", "mp3", "ogg")),
        find(recording, tone),
    ]
    assert [one.peak > HEARD for one in (*heard, speeches[1])] == [True] * 6, (heard, speeches)
    for earlier, later in zip(heard, [*heard[1:], speeches[1]], strict=True):
        assert earlier.end <= later.start + 0.05, (earlier, later)


async def test_the_next_speech_is_made_while_the_present_one_plays(product: Product) -> None:
    to = number("0008")
    known = product.prompts()
    call = await product.place(to, talk(f"One. {unheard()} {unheard()}."), talk(f"Two. {unheard()}."))
    await product.ended(call, within=60)
    line = await product.line(to)
    recording = read_wav(product.recording(line))
    first, second = in_order(recording, product.prompts() - known)
    # without that it would be as long as the second one takes to be made
    assert second.start - first.end < 0.8, f"{second.start - first.end:.2f} s of silence between the two"


async def test_variables_are_put_in(product: Product) -> None:
    to = number()
    await product.place(to, digits("${pin}#"), variables={"pin": "4711"})
    line = await product.line(to)
    assert line["dtmf"] == "4711#"


async def test_ssml_and_other_languages_are_spoken(product: Product) -> None:
    known = product.prompts()
    to = number()
    marked = f'<speak>{unheard()}<break time="1200ms"/><prosody rate="slow">slow</prosody></speak>'
    german = {"type": "talk", "option": {"text": f"Guten Tag. {unheard()}", "language": "de-DE"}}
    call = await product.place(to, talk(marked), german)
    record = await product.ended(call, within=60)
    assert record["failures"] == []
    line = await product.line(to)
    recording = read_wav(product.recording(line))
    assert len(in_order(recording, product.prompts() - known)) == 2


async def test_a_key_of_the_other_side_ends_a_speech_that_allows_it(product: Product) -> None:
    known = product.prompts()
    long = f"I go on and on. {unheard()}, {unheard()}, {unheard()}, {unheard()}."
    # made before it is needed: the key comes two seconds after the answer
    await product.place(number("0007"), talk(long))
    await eventually(lambda: product.prompts() - known, "the speech", within=30)
    to = number("0015")
    call = await product.place(to, talk(long, digits_handle="next"), digits("99"), HANGUP)
    line = await product.line(to, within=60)
    assert line["dtmf"] == "99"
    recording = read_wav(product.recording(line))
    speeches = [read_prompt(path) for path in product.prompts() - known]
    assert max(find(recording, speech[:RATE]).peak for speech in speeches) > HEARD
    assert min(speech.size for speech in speeches) > 8 * RATE
    assert recording.size < min(speech.size for speech in speeches), "the key did not end the speech"
    assert (await product.ended(call))["hangup_reason"] == "normal"


async def test_several_destinations_are_several_calls(product: Product) -> None:
    numbers = [number("0007"), number("0001"), number("0003")]
    body = {
        "source": {"type": "tel", "target": SOURCE},
        "destinations": [{"type": "tel", "target": to} for to in numbers],
        "actions": [sleep(20)],
    }
    calls = await product.api.post("/v1.0/calls", body)
    assert [call["destination"]["target"] for call in calls] == numbers
    assert len({call["id"] for call in calls}) == len({call["activeflow_id"] for call in calls}) == 3
    records = await asyncio.gather(*(product.ended(call) for call in calls))
    assert [record["hangup_reason"] for record in records] == ["normal", "busy", "noanswer"]


# --- how calls end ------------------------------------------------------------------------------------------

ENDINGS: dict[str, tuple[str, str, int, set[str]]] = {
    # last digits: hangup_reason, hangup_by, SIP code of the other side, times that happened
    "0001": ("busy", "remote", 486, set()),
    "0003": ("noanswer", "remote", 603, set()),
    "0004": ("failed", "remote", 404, set()),
    "0005": ("failed", "remote", 503, set()),
    "0006": ("normal", "local", 0, {"tm_progressing"}),
    "0007": ("normal", "remote", 0, {"tm_progressing"}),
    "1234": ("normal", "local", 0, {"tm_ringing", "tm_progressing"}),
}


@pytest.fixture(scope="module")
async def endings(product: Product) -> dict[str, Json]:
    """A call for each ending, all at once."""
    calls = [product.place(number(ending), sleep(20 if ending == "0007" else 3)) for ending in ENDINGS]
    return dict(zip(ENDINGS, await asyncio.gather(*calls), strict=True))


@pytest.mark.parametrize("ending", ENDINGS)
async def test_each_end_has_its_reason_and_its_times(
    product: Product, endings: dict[str, Json], ending: str
) -> None:
    reason, by, sip_code, happened = ENDINGS[ending]
    call = endings[ending]
    record = await product.ended(call, within=40)
    assert (record["hangup_reason"], record["hangup_by"]) == (reason, by), record
    assert record["hangup_sip_code"] == sip_code
    assert {name for name in ("tm_ringing", "tm_progressing") if record[name] is not None} == happened
    assert moment(record["tm_create"]) <= moment(record["tm_hangup"])
    line = await product.line(record["destination"]["target"])
    assert (line["tm_answer"] is not None) == ("tm_progressing" in happened)
    if ending == "0006":
        assert (moment(line["tm_answer"]) - moment(line["tm_start"])).total_seconds() > 1.8, "no early media"
    assert await product.show(call) == record, "the final record changed"


# --- failover, from the API to the second provider ----------------------------------------------------------


@asynccontextmanager
async def first_provider(
    env: Mapping[str, str], product: Product, behaviour: Behaviour
) -> AsyncIterator[tuple[Phone, str]]:
    """A provider that is tried before the sandbox for numbers that begin as the text that comes with it."""
    target = "+1" + number()[2:8]
    rpc = KamailioRpc(env["RINGLINE_KAMAILIO_RPC_URL"], env["RINGLINE_KAMAILIO_SECRET"])
    routing = RoutingService(product.database, rpc)
    sandbox = next(
        one for one in await routing.providers() if one.port == int(env["RINGLINE_CARRIER_SIP_PORT"])
    )
    async with AsyncExitStack() as cleaning:
        cleaning.push_async_callback(rpc.close)
        phone = await Phone.open(0, behaviour)
        cleaning.callback(phone.close)
        # it does not answer OPTIONS, and is to be tried all the same
        fields = ProviderFields(
            name=f"test {target}", hostname="127.0.0.1", port=phone.address[1], health_check=False
        )
        provider = await routing.create_provider(fields)
        cleaning.push_async_callback(routing.delete_provider, provider.id)
        for priority, one in enumerate((provider, sandbox)):
            route = await routing.create_route(
                RouteFields(provider_id=one.id, target=target, priority=priority)
            )
            cleaning.push_async_callback(routing.delete_route, route.id)
        yield phone, target


@pytest.mark.parametrize("behaviour", [reply(503), silent], ids=["503", "silence"])
async def test_a_provider_that_fails_is_followed_by_the_next_within_three_seconds(
    env: Mapping[str, str], product: Product, behaviour: Behaviour
) -> None:
    async with first_provider(env, product, behaviour) as (phone, target):
        to = f"{target}0007"
        record = await product.ended(await product.place(to, sleep(20)))
        line = await product.line(to)
        assert phone.requests("INVITE"), "the first provider was not tried"
        # from when the first one was asked: what the machine needs before that is not the edge's
        began = datetime.now(UTC) - timedelta(seconds=time.monotonic() - phone.requests("INVITE")[0].at)
    assert (record["hangup_reason"], record["hangup_by"]) == ("normal", "remote")
    waited = (moment(line["tm_start"]) - began).total_seconds()
    assert waited < 3, f"the second provider was tried after {waited} s"
    assert record["tm_progressing"] is not None


@pytest.mark.parametrize(("status", "reason"), [(486, "busy"), (603, "noanswer"), (600, "busy")])
async def test_a_refusal_of_the_called_person_is_final(
    env: Mapping[str, str], product: Product, status: int, reason: str
) -> None:
    async with first_provider(env, product, reply(status)) as (phone, target):
        to = f"{target}0007"
        record = await product.ended(await product.place(to, sleep(20)))
        assert len({message.one("call-id") for message in phone.requests("INVITE")}) == 1
    assert (record["hangup_reason"], record["hangup_by"], record["hangup_sip_code"]) == (
        reason,
        "remote",
        status,
    )
    assert product.lines(to) == [], "the second provider was tried"


# --- the last one: by now the 60 s are mostly over ----------------------------------------------------------


@pytest.mark.timeout(180)
async def test_a_call_that_nobody_answers_ends_by_our_own_timer(
    product: Product, never_answered: Json
) -> None:
    record = await product.ended(never_answered, within=90)
    assert (record["hangup_reason"], record["hangup_by"]) == ("dialout", "remote")
    assert record["tm_ringing"] is not None
    assert record["tm_progressing"] is None
    lasted = (moment(record["tm_hangup"]) - moment(record["tm_create"])).total_seconds()
    assert 59 <= lasted <= 68, lasted
    line = await product.line(record["destination"]["target"])
    assert line["tm_answer"] is None
    assert 58 <= (moment(line["tm_end"]) - moment(line["tm_start"])).total_seconds() <= 68
