"""The commands of VoIPBIN's call tutorial (``seed_page/``), run as they stand there with host and token replaced."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.stack.audio import RATE, Samples, find, read_prompt, read_wav
from tests.stack.baresip import phones
from tests.stack.product import Json, Product, digits, eventually, number
from tests.stack.registering import forget

pytestmark = pytest.mark.timeout(300)
HOST = "https://api.voipbin.net"
TOKEN = "<YOUR_AUTH_TOKEN>"
PAGE = Path(__file__).with_name("seed_page")
DIALLED = "+15559876543"
ZERO = "00000000-0000-0000-0000-000000000000"

# The keys of a call in the tutorial's answers.
KEYS = {
    *(
        "id",
        "customer_id",
        "flow_id",
        "activeflow_id",
        "type",
        "master_call_id",
        "chained_call_ids",
        "recording_id",
    ),
    *("recording_ids", "groupcall_id", "source", "destination", "status", "direction", "mute_direction"),
    *(
        "hangup_by",
        "hangup_reason",
        "tm_progressing",
        "tm_ringing",
        "tm_hangup",
        "tm_create",
        "tm_update",
        "tm_delete",
    ),
}
PARTY = {"type": "tel", "target_name": "", "name": "", "detail": ""}


@pytest.fixture(scope="module")
async def token(product: Product) -> str:
    """Of ``POST /auth/login``, as the tutorial's prerequisites say."""
    body = {
        "username": product.env["RINGLINE_ADMIN_USERNAME"],
        "password": product.env["RINGLINE_ADMIN_PASSWORD"],
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{product.env['RINGLINE_API_URL']}/auth/login", json=body) as response,
    ):
        answer = await response.json()
        assert response.status == 200, answer
        return str(answer["token"])


async def paste(product: Product, token: str, name: str, **replaced: str) -> Any:
    """Run a command of the page in a shell. ``replaced`` are its other placeholders. The decoded answer."""
    command = (PAGE / f"{name}.sh").read_text()
    assert HOST in command
    assert TOKEN in command
    command = command.replace(HOST, product.env["RINGLINE_API_URL"]).replace(TOKEN, token)
    for placeholder, value in replaced.items():
        old = placeholder if name in ("get_call", "branch") else f"<{placeholder.replace('_', '-')}>"
        assert old in command
        command = command.replace(old, value)
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


def check_new(answer: Any, *, to: str = DIALLED) -> Json:
    """The answer has the shape and the values of those on the page."""
    assert isinstance(answer, list)
    (call,) = answer
    assert call.keys() >= KEYS
    assert call["source"] == {**PARTY, "target": "+15551234567"}
    assert call["destination"] == {**PARTY, "target": to}
    assert (call["type"], call["status"], call["direction"]) == ("flow", "dialing", "outgoing")
    for name in ("master_call_id", "recording_id", "groupcall_id"):
        assert call[name] == ZERO
    assert (call["chained_call_ids"], call["recording_ids"]) == ([], [])
    assert (call["hangup_by"], call["hangup_reason"], call["mute_direction"]) == ("", "", "")
    assert {call[f"tm_{name}"] for name in ("progressing", "ringing", "hangup", "update", "delete")} == {None}
    return dict(call)


@pytest.fixture(scope="module")
async def done(product: Product, token: str) -> dict[str, tuple[Json, Json]]:
    """All calls of the page that need no other resource, placed at once: the first answer and the final record."""

    async def follow(name: str) -> tuple[Json, Json]:
        call = check_new(await paste(product, token, name))
        return call, await product.ended(call, within=120)

    names = ("talk", "anonymous", "play", "talk_and_digits")
    return dict(zip(names, await asyncio.gather(*(follow(name) for name in names)), strict=True))


async def _line(product: Product, record: Json) -> Json:
    """The carrier's line of this call: the tutorial dials one number all the time."""

    async def written() -> list[Json]:
        async with product.database.connect() as connection:
            query = "SELECT sip_call_id FROM calls WHERE id = '" + record["id"] + "'"
            sip_call_id = (await connection.exec_driver_sql(query)).scalar_one()
        assert sip_call_id, "the call's row is written behind"
        return [line for line in product.lines(DIALLED) if line["sip_call_id"] == sip_call_id]

    found: list[Json] = await eventually(written, "the carrier's line", within=30)
    (line,) = found
    return line


async def test_simple_outbound_call_with_tts(product: Product, done: dict[str, tuple[Json, Json]]) -> None:
    _, record = done["talk"]
    assert (record["hangup_by"], record["hangup_reason"], record["failures"]) == ("local", "normal", [])
    recording = read_wav(product.recording(await _line(product, record)))
    # 158 characters: the only rendered speech of about that length that is in the recording
    prompts = [read_prompt(path) for path in product.prompts()]
    heard = [
        prompt.size / RATE
        for prompt in prompts
        if prompt.size > 3 * RATE and find(recording, prompt).peak > 0.9
    ]
    assert len(heard) == 1, heard
    assert 7 < heard[0] < 16


async def branch(product: Product, token: str, ending: str) -> list[tuple[str, float]]:
    """The page's branch example, called at a number that behaves by its ending: the prompts heard, with lengths."""
    to = DIALLED if not ending else number(ending)
    call = check_new(await paste(product, token, "branch", **({} if not ending else {DIALLED: to})), to=to)
    record = await product.ended(call, within=180)
    assert (record["hangup_by"], record["hangup_reason"], record["failures"]) == ("local", "normal", [])
    line = await _line(product, record) if not ending else await product.line(to)
    # what all tests before have had rendered is looked for: the other calls are not to wait for that
    return await asyncio.to_thread(in_order, read_wav(product.recording(line)), product.prompts())


def in_order(recording: Samples, prompts: set[Path]) -> list[tuple[str, float]]:
    """Which prompts a recording has, each as often as it was said, in order: file and length in seconds."""
    heard = []
    for path in prompts:
        prompt = read_prompt(path)
        rest = recording.copy()
        # shorter ones than the page's are found in longer ones by chance
        while prompt.size > 2 * RATE and (match := find(rest, prompt)).peak > 0.9:
            heard.append((match.start, path.stem, prompt.size / RATE))
            rest[int(match.start * RATE) : int(match.end * RATE)] = 0.0
    return [(name, seconds) for _, name, seconds in sorted(heard)]


async def test_simple_outbound_call_with_branch(product: Product, token: str) -> None:
    one, two, three, none = await asyncio.gather(
        *(branch(product, token, ending) for ending in ("0011", "0012", "0013", ""))
    )
    verses = []
    for heard in (one, two, three):
        (_, menu), verse = heard
        assert menu > 5
        verses.append(verse)
    assert len({name for name, _ in verses}) == 3, "each key has words of its own"
    # 210, 158 and 176 characters, one of them spoken at any pace
    assert verses[0][1] > verses[1][1]
    # no key: the menu and the default three times (loop_count 2), then the closing words, then the hang-up
    assert len(none) == 7, none
    menus, defaults, closing = none[0:6:2], none[1:6:2], none[6]
    assert min(seconds for _, seconds in menus) > 1.5 * max(seconds for _, seconds in defaults)
    assert closing[0] not in {name for name, _ in defaults}
    assert closing[1] < min(seconds for _, seconds in menus) / 1.5


async def test_anonymous_outbound_call(product: Product, done: dict[str, tuple[Json, Json]]) -> None:
    _, record = done["anonymous"]
    assert (record["hangup_by"], record["hangup_reason"], record["failures"]) == ("local", "normal", [])
    line = await _line(product, record)
    assert (line["from_display"], line["from_uri"]) == ("Anonymous", "sip:anonymous@anonymous.invalid")
    assert line["privacy"] == "id"
    assert "+15551234567" in line["p_asserted_identity"]
    assert line["tm_answer"] is not None


async def test_simple_outbound_call_with_media_file_play(
    product: Product, done: dict[str, tuple[Json, Json]]
) -> None:
    """The file is on the public network: where there is none, the call says so and ends in good order."""
    _, record = done["play"]
    assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal")
    assert (await _line(product, record))["tm_answer"] is not None
    for failure in record["failures"]:
        assert (failure["type"], failure["reason"]) in {("play", "FETCH_FAILED"), ("play", "FETCH_TIMEOUT")}


async def test_simple_outbound_call_with_talk_and_digits_send(
    product: Product, done: dict[str, tuple[Json, Json]]
) -> None:
    _, record = done["talk_and_digits"]
    assert (record["hangup_by"], record["hangup_reason"], record["failures"]) == ("local", "normal", [])
    assert (await _line(product, record))["dtmf"] == "1234567890"


async def test_simple_outbound_call_with_an_existing_flow(product: Product, token: str) -> None:
    flow_id, to = await product.store_flow(digits("2468")), number()
    answer = await paste(
        *(product, token, "stored_flow"),
        your_source_number="+15551234567",
        your_destination_number=to,
        your_flow_id=flow_id,
    )
    call = check_new(answer, to=to)
    assert call["flow_id"] == flow_id
    assert (await product.ended(call))["hangup_reason"] == "normal"
    assert (await product.line(to))["dtmf"] == "2468"


async def test_get_call_list(product: Product, token: str, done: dict[str, tuple[Json, Json]]) -> None:
    page = await paste(product, token, "list_calls")
    assert page.keys() == {"result", "next_page_token"}
    assert all(call.keys() >= KEYS for call in page["result"])
    assert {record["id"] for _, record in done.values()} <= {call["id"] for call in page["result"]}


async def test_get_specific_call(product: Product, token: str, done: dict[str, tuple[Json, Json]]) -> None:
    _, record = done["talk"]
    shown = await paste(product, token, "get_call", **{"f457951b-9918-44af-a834-2216b1cc31bc": record["id"]})
    # the record as it is now: something may have followed the end
    assert shown == await product.show(record)
    assert {name: shown[name] for name in KEYS - {"tm_update"}} == {
        name: record[name] for name in KEYS - {"tm_update"}
    }


@pytest.mark.parametrize(
    ("name", "called", "hidden"),
    [("connect", "+15551111111", False), ("anonymous_connect", "+15557778888", True)],
)
async def test_connect(product: Product, token: str, name: str, called: str, hidden: bool) -> None:
    before = len(product.lines(called))
    (call,) = await paste(product, token, name)

    async def connected() -> Json | None:
        for leg_id in (await product.show(call))["chained_call_ids"]:
            leg: Json = await product.api.get(f"/v1.0/calls/{leg_id}")
            return leg if leg["status"] == "progressing" else None
        return None

    leg = await eventually(connected, "the two are connected", within=60)
    assert (leg["destination"]["target"], leg["master_call_id"]) == (called, call["id"])
    await product.hang_up(leg)
    assert (await product.ended(call))["failures"] == []
    (line,) = await eventually(lambda: product.lines(called)[before:], "the carrier's line", within=30)
    assert (line["from_uri"].startswith("sip:anonymous@anonymous.invalid"), line["privacy"]) == (
        hidden,
        "id" if hidden else "",
    )


async def test_a_flow_that_calls_somebody_else(product: Product, token: str) -> None:
    """Its actions say to assign it to a number; here it runs on a call that we place."""
    called = "+15557778888"
    before = len(product.lines(called))
    flow = await paste(product, token, "call_action")
    call = await product.place(number(), flow_id=flow["id"])
    record = await product.ended(call, within=90)
    assert (record["failures"], record["chained_call_ids"]) == ([], [])
    (line,) = await eventually(lambda: product.lines(called)[before:], "the carrier's line", within=60)
    assert line["privacy"] == "id"
    heard = read_wav(product.recording(line))
    assert float(abs(heard).max()) > 0.05


async def test_make_a_groupcall(product: Product, token: str) -> None:
    """While its two phones are not registered: what it expands to, and the answer's shape."""
    for name in ("test11", "test12"):
        await forget(product.api, name)
    groupcall = await paste(product, token, "groupcall")
    keys = ["id", "customer_id", "flow_id", "source", "destinations", "master_call_id", "master_groupcall_id"]
    keys += ["ring_method", "answer_method", "answer_call_id", "call_ids", "answer_groupcall_id"]
    keys += ["groupcall_ids", "tm_create", "tm_update", "tm_delete"]
    assert set(groupcall) >= set(keys)
    assert groupcall["source"] == {**PARTY, "target": "+15552222222"}
    assert groupcall["destinations"] == [
        {**PARTY, "type": "endpoint", "target": f"{name}@test"} for name in ("test11", "test12")
    ]
    none = ("flow_id", "master_call_id", "master_groupcall_id", "answer_call_id", "answer_groupcall_id")
    assert {groupcall[name] for name in none} == {ZERO}
    assert (groupcall["ring_method"], groupcall["answer_method"]) == ("", "")
    assert (groupcall["groupcall_ids"], groupcall["tm_delete"]) == ([], None)
    assert groupcall["tm_create"].endswith("Z")
    assert len(groupcall["call_ids"]) == 2
    for call_id, name in zip(groupcall["call_ids"], ("test11", "test12"), strict=True):
        call = await product.ended({"id": call_id})
        assert call["groupcall_id"] == groupcall["id"]
        assert call["destination"]["target"] == f"{name}@test"
        assert (call["hangup_reason"], call["hangup_sip_code"]) == ("noanswer", 480)
        assert "registered" in call["hangup_detail"]

    async def over() -> bool:
        shown = await product.api.get(f"/v1.0/groupcalls/{groupcall['id']}")
        return bool(shown["status"] == "hangup")

    await eventually(over, "the groupcall has ended")


async def test_make_a_groupcall_that_phones_hear(product: Product, token: str) -> None:
    """Both ring, one answers and hears the words, the other is told that it was answered elsewhere."""
    async with phones(product.env, "test11", "test12") as (first, second):
        groupcall = await paste(product, token, "groupcall")
        await asyncio.gather(first.event("CALL_INCOMING"), second.event("CALL_INCOMING"))
        await first.answer()
        closed = await second.event("CALL_CLOSED")
        assert "CALL_ESTABLISHED" not in second.kinds(), closed
        assert re.search(
            r"CANCEL sip:test12[^\0]*?Reason: [^\r\n]*(cause=26|completed elsewhere)", second.log
        )
        await first.event("CALL_CLOSED", within=90)
        heard = first.heard()
        spoken = [read_prompt(path) for path in product.prompts()]
        lengths = [one.size / RATE for one in spoken if one.size > 3 * RATE and find(heard, one).peak > 0.9]
    # 158 characters
    assert len(lengths) == 1, lengths
    assert 7 < lengths[0] < 16
    won, lost = groupcall["call_ids"]
    answered = await product.ended({"id": won})
    assert (answered["destination"]["target"], answered["hangup_by"]) == ("test11@test", "local")
    other = await product.ended({"id": lost})
    assert (other["hangup_reason"], other["hangup_cause"], other["tm_progressing"]) == ("normal", 26, None)
    shown = await product.api.get(f"/v1.0/groupcalls/{groupcall['id']}")
    assert shown["answer_call_id"] == won
