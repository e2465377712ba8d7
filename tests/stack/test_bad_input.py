"""What comes from outside and is not what it should be: refused in a sentence, or noted on a call that goes on."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import pytest

from tests.stack.files import GIGABYTE, Files
from tests.stack.product import SOURCE, Json, Product, digits, number, order, play, sleep, talk

Change = Callable[[Json], object]

GOOD: Json = order("+15559876543", talk("hello"))
DEEP = "[" * 100_000


async def refused(product: Product, body: object, status: int = 400) -> Json:
    """The error of a POST /v1.0/calls, whose envelope is checked. Nothing was placed."""

    async def last() -> list[str]:
        # what else is shown of it may change, for it is written a moment behind
        return [call["id"] for call in (await product.api.get("/v1.0/calls", page_size="1"))["result"]]

    before = await last()
    got, answer = await product.api.call("POST", "/v1.0/calls", body)
    assert got == status, answer
    error: Json = answer["error"]
    assert set(error) == {"status", "reason", "domain", "message", "request_id", "details"}
    assert error["request_id"].startswith("req_")
    assert len(error["message"]) < 2000
    assert "Traceback" not in error["message"]
    assert await last() == before or not before
    return error


def put(*path: str | int, value: object) -> Change:
    """A change of the good body: ``value`` at ``path``."""

    def change(body: Json) -> None:
        place: Any = body
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


TARGET = ("destinations", 0, "target")
ACTION = ("actions", 0)
OPTION = (*ACTION, "option")

FAULTS: list[tuple[str, Change, list[str]]] = [
    # wrong types
    ("a number for a text", put(*OPTION, "text", value=17), ["actions[0].option.text", "string"]),
    ("a text for a list", put("destinations", value="+15559876543"), ["destinations", "array"]),
    ("a text for an object", put("source", value=SOURCE), ["source", "object"]),
    ("null for a list", put("actions", value=None), ["actions", "array"]),
    (
        "a text for a number",
        put(*ACTION, value=sleep(1) | {"option": {"duration": "1000"}}),
        ["duration", "number"],
    ),
    (
        "a fraction of a millisecond",
        put(*ACTION, value=sleep(1) | {"option": {"duration": 1.5}}),
        ["duration"],
    ),
    ("a boolean for a number", put(*ACTION, value=sleep(1) | {"option": {"duration": True}}), ["duration"]),
    (
        "a list of numbers",
        put(*ACTION, value={"type": "play", "option": {"stream_urls": [1]}}),
        ["stream_urls[0]"],
    ),
    ("a number for a variable", put("variables", value={"pin": 4711}), ["variables", "string"]),
    ("no UUID", put("flow_id", value="seven"), ["flow_id", "UUID"]),
    ("no UUID of an action", put(*ACTION, "id", value="seven"), ["actions[0].id", "UUID"]),
    # unknown fields and values
    ("an unknown field", put("destination", value=[]), ["destination", "did you mean `destinations`"]),
    (
        "an unknown field of an address",
        put("source", "number", value=SOURCE),
        ["source.number", "not a known field"],
    ),
    ("an unknown option", put(*OPTION, "langauge", value="de"), ["langauge", "did you mean `language`"]),
    ("an unknown action", put(*ACTION, "type", value="tlak"), ["tlak", "did you mean `talk`"]),
    ("an action without a type", put(*ACTION, value={"option": {}}), ["actions[0]", "type"]),
    ("an unknown anonymity", put("anonymous", value="maybe"), ["anonymous", "`yes`, `no` or `auto`"]),
    (
        "an unknown type of address",
        put("destinations", 0, "type", value="pigeon"),
        ["destinations[0].type", "pigeon"],
    ),
    ("an unknown language", put(*OPTION, "language", value="xx-Klingon"), ["actions[0]", "language"]),
    ("101 variables", put("variables", value={f"v{n}": "" for n in range(101)}), ["variables", "100"]),
    ("a variable of 33 KB", put("variables", value={"v": "x" * 33_000}), ["variables.v", "32768"]),
    # missing, empty, too many
    ("nobody to call", put("destinations", value=[]), ["destinations", "empty"]),
    ("nothing to do", put("actions", value=[]), ["actions", "flow_id"]),
    ("an empty text", put(*OPTION, "text", value=""), ["text", "empty"]),
    ("100 000 characters of text", put(*OPTION, "text", value="long " * 20_000), ["text", "5000"]),
    (
        "100 000 characters of SSML",
        put(*OPTION, "text", value=f"<speak>{'a ' * 50_000}</speak>"),
        ["text", "5000"],
    ),
    ("broken SSML", put(*OPTION, "text", value="<speak>hello"), ["text"]),
    ("no URL at all", put(*ACTION, value=play()), ["stream_urls", "empty"]),
    (
        "1001 destinations",
        put("destinations", value=[{"type": "tel", "target": SOURCE}] * 1001),
        ["destinations", "1000"],
    ),
    ("1001 actions", put("actions", value=[sleep(1)] * 1001), ["actions", "1000"]),
    ("digits that no telephone has", put(*ACTION, value=digits("12E4")), ["digits", "0-9"]),
    ("101 digits", put(*ACTION, value=digits("1" * 101)), ["digits", "100"]),
    ("a key held for a minute", put(*ACTION, value=digits("1", duration=60_000)), ["duration", "1000"]),
    ("a sleep of a year", put(*ACTION, value=sleep(31_536_000)), ["duration", "3600000"]),
    ("a negative sleep", put(*ACTION, value=sleep(-1)), ["duration", "at least"]),
    ("U+0000", put(*OPTION, "text", value="a\0b"), ["U+0000"]),
]


@pytest.mark.parametrize(
    ("change", "words"), [(change, words) for _, change, words in FAULTS], ids=[f[0] for f in FAULTS]
)
async def test_a_fault_is_named_with_its_field(product: Product, change: Change, words: list[str]) -> None:
    body = copy.deepcopy(GOOD)
    change(body)
    error = await refused(product, body)
    assert (error["status"], error["domain"]) == ("INVALID_ARGUMENT", "calls")
    for word in words:
        assert word in error["message"], error["message"]


# What people write, and what the 400 suggests (numbers of the USA where no country is given).
SPELLINGS = {
    "5559876543": "+15559876543",
    "(555) 987-6543": "+15559876543",
    "555-987-6543": "+15559876543",
    "1-555-987-6543": "+15559876543",
    "+1 555 987 6543": "+15559876543",
    "+1-555-987-6543": "+15559876543",
    "+49 (0)30 901820": "+4930901820",
    "+82-10-1234-5678": "+821012345678",
    "tel:+15559876543": "+15559876543",
}


@pytest.mark.parametrize("given", SPELLINGS)
async def test_a_number_in_a_local_spelling_is_refused_with_the_corrected_one(
    product: Product, given: str
) -> None:
    for field, change in (
        ("destinations[0].target", put(*TARGET, value=given)),
        ("source.target", put("source", "target", value=given)),
    ):
        body = copy.deepcopy(GOOD)
        change(body)
        error = await refused(product, body)
        assert field in error["message"]
        assert SPELLINGS[given] in error["message"], error["message"]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "+",
        "abc",
        "+1",
        "+0123456789",
        "+1555987654321012345",
        "+15559876543;ext=5",
        "+899123",
        "١٢٣٤٥٦٧٨٩٠",
    ],
)
async def test_what_is_no_number_is_refused(product: Product, given: str) -> None:
    body = copy.deepcopy(GOOD)
    put(*TARGET, value=given)(body)
    assert "destinations[0].target" in (await refused(product, body))["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"talk"',
        b"null",
        b"\xff\xfe\x00",
        b'{"source": NaN}',
        DEEP.encode(),
        b"{}" * 3,
        b'{"a":' * 50_000,
    ],
    ids=["nothing", "half", "list", "text", "null", "binary", "NaN", "deep", "three", "nested"],
)
async def test_what_is_no_json_object_is_refused(product: Product, raw: bytes) -> None:
    status, answer = await _post(product, raw)
    assert status == 400, answer
    assert answer["error"]["status"] == "INVALID_ARGUMENT"
    assert answer["error"]["reason"] in {"INVALID_JSON_BODY", "INVALID_ARGUMENT"}


async def _post(product: Product, data: object, **headers: str) -> tuple[int, Json]:
    url, key = product.env["RINGLINE_API_URL"], product.env["RINGLINE_ACCESSKEY"]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
        session.post(f"{url}/v1.0/calls", data=data, headers=headers) as response,
    ):
        return response.status, json.loads(await response.text())


async def test_ten_megabytes_are_refused_before_they_are_read(product: Product) -> None:
    """The announced size is enough for a refusal; the sender need not be listened to."""
    url = product.env["RINGLINE_API_URL"].removeprefix("http://")
    host, _, port = url.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1.0/calls HTTP/1.1\r\nHost: {url}\r\nAuthorization: Bearer {product.env['RINGLINE_ACCESSKEY']}\r\n"
        "Content-Type: application/json\r\nContent-Length: 10485760\r\n\r\n"
    )
    writer.write(head.encode())
    await writer.drain()
    async with asyncio.timeout(20):
        status = await reader.readline()
        assert b" 413 " in status, status
        answer = await reader.readuntil(b"}}")
    writer.close()
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["status"], error["reason"]) == ("INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE")
    assert "1048576" in error["message"]


async def test_ten_megabytes_without_an_announcement_are_cut_off(product: Product) -> None:
    async def pour() -> AsyncIterator[bytes]:
        yield b'{"variables": {"a": "'
        for _ in range(160):
            yield b"a" * 65_536
        yield b'"}}'

    memory = (await product.metrics())["process_resident_memory_bytes"]
    try:
        status, answer = await _post(product, pour())
    except (aiohttp.ClientConnectionError, ConnectionResetError):
        pass  # it hung up on a sender that would not stop
    else:
        assert (status, answer["error"]["reason"]) == (413, "PAYLOAD_TOO_LARGE")
    assert (await product.metrics())["process_resident_memory_bytes"] < memory + 32 * 2**20
    assert (await product.api.call("GET", "/healthz"))[0] == 200


# --- files that are no files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.wav",
        "http://10.0.0.1/a.wav",
        "http://192.168.1.1:8080/a.wav",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/a.wav",
        "http://[::ffff:10.0.0.1]/a.wav",
        "http://2130706433/a.wav",
        "http://0x7f000001/a.wav",
        "file:///etc/passwd",
        "ftp://example.com/a.wav",
        "http://user:secret@example.com/a.wav",
        "sound:hello-world",
        "/etc/passwd",
    ],
)
async def test_a_private_address_or_a_strange_scheme_is_refused_or_fails_on_the_call(
    product: Product, url: str
) -> None:
    status, answer = await product.api.call(
        "POST", "/v1.0/calls", order(to := number("0008"), play(url), digits("7"))
    )
    if status == 400:
        assert "stream_urls[0]" in answer["error"]["message"], answer
        return
    # a name (an address in an odd spelling is one) is judged when it is looked up
    assert status == 200, answer
    record = await product.ended(answer[0])
    (failure,) = record["failures"]
    assert failure["reason"] in {"FETCH_FORBIDDEN", "FETCH_FAILED"}, failure
    assert (await product.line(to))["dtmf"] == "7", "the flow did not go on"


@pytest.fixture(scope="module")
async def forbidden() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port of 127.0.0.1 which must not be fetched from, and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


async def test_hostile_files_fail_in_bounded_time_and_the_flow_goes_on(
    product: Product, files: Files, forbidden: tuple[int, list[bytes]]
) -> None:
    """All at once: each waits for no other."""
    port, asked = forbidden
    silent = socket.create_server((files.address, 0))  # accepts, and never says a word
    sound = files.add("noise.wav", b"RIFF" + bytes(range(256)) * 64)
    page = files.add("page.mp3", b"<html><body>not found, but 200</body></html>" * 20)
    cases: Mapping[str, tuple[str, str]] = {
        "a gigabyte, announced": (files.url("gigabyte.wav"), "FETCH_TOO_LARGE"),
        "never ending": (files.url("endless.wav"), "FETCH_TOO_LARGE"),
        "dripping": (files.url("dripping.wav"), "FETCH_TIMEOUT"),
        "silent": (f"http://{files.address}:{silent.getsockname()[1]}/a.wav", "FETCH_TIMEOUT"),
        "a redirect inside": (files.url(f"away.wav?to=http://127.0.0.1:{port}/a.wav"), "FETCH_FORBIDDEN"),
        "a redirect to a file": (files.url("away.wav?to=file:///etc/passwd"), "FETCH_FORBIDDEN"),
        "a name that leads inside": (f"http://localhost:{port}/a.wav", "FETCH_FORBIDDEN"),
        "a redirect without an end": (files.url("loop.wav"), "FETCH_FAILED"),
        "missing": (files.url("sounds/none.wav"), "FETCH_FAILED"),
        "nobody listens": (f"http://{files.address}:9/a.wav", "FETCH_FAILED"),
        "a broken sound": (sound, "MEDIA_UNSUPPORTED"),
        "a page instead": (page, "MEDIA_UNSUPPORTED"),
    }

    async def run(url: str, reason: str) -> None:
        to, began = number("0008"), time.monotonic()
        record = await product.ended(await product.place(to, play(url), digits("42")), within=75)
        (failure,) = record["failures"]
        assert (failure["type"], failure["reason"]) == ("play", reason), failure
        assert failure["message"]
        assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal")
        assert (await product.line(to))["dtmf"] == "42", f"{url}: the flow did not go on"
        assert time.monotonic() - began < 60

    with silent:
        faults = await asyncio.gather(*(run(*case) for case in cases.values()), return_exceptions=True)
    assert {name: fault for name, fault in zip(cases, faults, strict=True) if fault is not None} == {}
    assert asked == [], "somebody inside was asked"
    assert files.sent["/gigabyte.wav"] < GIGABYTE / 8
    assert files.sent["/endless.wav"] < GIGABYTE / 8


async def test_a_failed_file_does_not_keep_the_next_from_being_played(product: Product, files: Files) -> None:
    to = number("0008")
    call = await product.place(to, play(files.url("sounds/none.wav")), talk("still here"), digits("1"))
    record = await product.ended(call, within=60)
    assert [failure["reason"] for failure in record["failures"]] == ["FETCH_FAILED"]
    assert record["failures"][0]["action_id"] != "00000000-0000-0000-0000-000000000000"
    assert (await product.line(to))["dtmf"] == "1"


# --- other resources --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/v1.0/calls/seven", 400, "INVALID_ID"),
        ("GET", "/v1.0/calls/f457951b-9918-44af-a834-2216b1cc31bc", 404, "CALL_NOT_FOUND"),
        ("POST", "/v1.0/calls/f457951b-9918-44af-a834-2216b1cc31bc/hangup", 404, "CALL_NOT_FOUND"),
        ("DELETE", "/v1.0/calls/f457951b-9918-44af-a834-2216b1cc31bc", 404, "CALL_NOT_FOUND"),
        ("GET", "/v1.0/numbers/f457951b-9918-44af-a834-2216b1cc31bc", 404, "NUMBER_NOT_FOUND"),
        ("GET", "/v1.0/nothing", 404, "ROUTE_NOT_FOUND"),
        ("POST", "/v1.0/auth/login", 404, "ROUTE_NOT_FOUND"),
        ("PATCH", "/v1.0/calls", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1.0/calls?page_size=0", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1.0/calls?page_size=1001", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1.0/calls?page_size=many", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1.0/calls?page_token=yesterday", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1.0/calls/" + "a" * 5000, 400, "INVALID_ID"),
    ],
)
async def test_requests_that_lead_nowhere_are_answered_in_the_envelope(
    product: Product, method: str, path: str, status: int, reason: str
) -> None:
    url, key = product.env["RINGLINE_API_URL"], product.env["RINGLINE_ACCESSKEY"]
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
        session.request(method, url + path) as response,
    ):
        answer = json.loads(await response.text())
        assert (response.status, answer["error"]["reason"]) == (status, reason), answer
        assert response.headers["X-Request-Id"] == answer["error"]["request_id"]


async def test_an_unknown_flow_is_not_found(product: Product) -> None:
    body = order(number(), flow_id="f457951b-9918-44af-a834-2216b1cc31bc")
    error = await refused(product, body, 404)
    assert error["reason"] == "FLOW_NOT_FOUND"
