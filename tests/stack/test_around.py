"""What lies around a call: state and metrics, documentation, logins, lists, replays, numbers, and the doctor."""

from __future__ import annotations

import asyncio
import json
import re
import time
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

import aiohttp
import pytest

from tests.stack.containers import Containers
from tests.stack.product import (
    DEFAULT_SOURCE,
    SOURCE,
    Json,
    Product,
    eventually,
    number,
    order,
    sleep,
)
from tests.stack.wrapper import ringline

PARTS = {"database", "redis", "ari", "kamailio", "calls"}
ZERO = "00000000-0000-0000-0000-000000000000"
NUMBER_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")


async def fetch(
    product: Product, path: str, method: str = "GET", **options: Any
) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of a request without any credential of its own."""
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.request(
            method, urljoin(product.env["RINGLINE_API_URL"], path), allow_redirects=False, **options
        ) as response,
    ):
        return response.status, await response.text(), dict(response.headers)


# --- is it well -----------------------------------------------------------------------------------------------


async def test_the_process_is_alive_and_every_part_is_ready(product: Product) -> None:
    status, text, _ = await fetch(product, "/healthz")
    assert (status, json.loads(text)["status"]) == (200, "ok")

    async def ready() -> bool:
        status, text, _ = await fetch(product, "/readyz")
        report = json.loads(text)
        assert (status, report["status"], set(report["parts"])) == (200, "ready", PARTS)
        assert all(part["ok"] and part["milliseconds"] < 2000 for part in report["parts"].values()), report
        return True

    # a busy machine may be slow once
    await eventually(ready, "every part is ready")


async def test_a_part_that_stands_still_is_told_by_readyz_and_by_the_doctor(
    product: Product, containers: Containers
) -> None:
    async with containers.stopped("redis"):

        async def told() -> Json | None:
            status, text, _ = await fetch(product, "/readyz")
            report: Json = json.loads(text)
            down = [name for name, part in report["parts"].items() if not part["ok"]]
            return report if (status, down) == (503, ["redis"]) else None

        report = await eventually(told, "/readyz says so of this part only")
        assert report["parts"]["redis"]["detail"]
        status, _, _ = await fetch(product, "/healthz")
        assert status == 200, "a part that is down is no reason to restart the controller"
        code, said = await ringline("doctor")
        assert code == 1, said
        (line,) = [line for line in said.splitlines() if re.match(r"FAILED +redis", line)]
        after = said[said.index(line) :].splitlines()[1]
        assert "->" in after, f"no advice: {after}"

    async def ready() -> bool:
        return (await fetch(product, "/readyz"))[0] == 200

    await eventually(ready, "ready again")


async def test_the_doctor_finds_nothing_on_a_healthy_stack(product: Product) -> None:
    code, said = await ringline("doctor")
    assert code == 0, said
    for part in ("postgres", "redis", "asterisk", "kamailio", "carrier", "speech", "api"):
        assert re.search(rf"^ok +{part}", said, re.MULTILINE), said
    for name, value in product.env.items():
        if any(word in name for word in ("PASSWORD", "SECRET", "ACCESSKEY")):
            assert value not in said, f"{name} is shown"


async def test_metrics_have_the_names_that_were_promised(product: Product) -> None:
    call = await product.place(number("0007"), {"type": "answer"}, sleep(5))
    await product.ended(call)
    wanted = (
        "ringline_calls_live{status=progressing}",
        "ringline_calls_ended_total{direction=outgoing,reason=normal}",
        "ringline_calls_started_total{direction=outgoing}",
        "ringline_call_setup_seconds_count",
        "ringline_action_seconds_count{result=ok,type=answer}",
        "ringline_action_seconds_count{result=gone,type=sleep}",
        "ringline_calls_overdue",
        "ringline_journal_depth",
        "ringline_ari_connected",
        "ringline_tasks",
        "process_cpu_seconds_total",
    )

    async def there() -> dict[str, float]:
        samples = await product.metrics()
        assert [name for name in wanted if name not in samples] == []
        assert samples["ringline_ari_connected"] == 1
        assert samples["ringline_calls_overdue"] == 0
        return samples

    # an action is counted when the flow comes to its end, gauges are read once a second
    samples = await eventually(there, "all metrics are there")
    assert samples["ringline_call_setup_seconds_count"] > 0
    assert any(name.startswith("ringline_ari_request_seconds_count{") for name in samples)
    # providers are few, and two may have one name
    labels = {
        re.sub(r"provider_id=[^,}]+", "", name.partition("{")[2])
        for name in samples
        if name.startswith("ringline_")
    }
    assert not any(re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", label) for label in labels), (
        "a series for each call"
    )


# --- documentation ----------------------------------------------------------------------------------------------


def references(value: Any) -> set[str]:
    """Every ``$ref`` below a value."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(references(item) for item in value))
    return set()


def resolve(document: Json, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    place: Any = document
    for step in reference[2:].split("/"):
        place = place[step.replace("~1", "/").replace("~0", "~")]
    return place


async def test_the_openapi_document_is_whole(product: Product) -> None:
    status, text, headers = await fetch(product, "/openapi.json")
    assert status == 200
    assert headers["Content-Type"].startswith("application/json")
    document = json.loads(text)
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    for reference in references(document):
        assert resolve(document, reference), reference
    ids, tags = set(), {tag["name"] for tag in document.get("tags", [])}
    schemes = set(document["components"]["securitySchemes"])
    operations = [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in {"get", "put", "post", "delete", "patch"}
    ]
    for path, method, operation in operations:
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["operationId"] not in ids, where
        ids.add(operation["operationId"])
        # a WebSocket answers with another protocol (RFC 9110 section 15.2.2)
        assert ("101" if path == "/v1.0/ws" else "200") in operation["responses"], where
        assert all(response["description"] for response in operation["responses"].values()), where
        declared = {one["name"] for one in operation.get("parameters", []) if one.get("in") == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path)), where
        assert not tags or set(operation.get("tags", [])) <= tags, where
        for requirement in operation.get("security", document.get("security", [])):
            assert set(requirement) <= schemes, where
    paths = {f"{method.upper()} {path}" for path, method, _ in operations}
    assert paths >= {
        *("POST /auth/login", "GET /v1.0/customer", "PUT /v1.0/customer", "GET /v1.0/numbers"),
        *("POST /v1.0/calls", "GET /v1.0/calls", "GET /v1.0/calls/{call_id}", "DELETE /v1.0/calls/{call_id}"),
        *("POST /v1.0/calls/{call_id}/hangup", "GET /v1.0/numbers/{number_id}", "GET /v1.0/accesskeys"),
    }


async def test_the_document_says_what_the_api_does(product: Product) -> None:
    """The models that validate are the ones that are described: every field of a real answer is in the schema."""
    document = json.loads((await fetch(product, "/openapi.json"))[1])
    shown = document["paths"]["/v1.0/calls/{call_id}"]["get"]["responses"]["200"]
    schema = shown["content"]["application/json"]["schema"]
    schema = resolve(document, schema["$ref"]) if "$ref" in schema else schema
    call = await product.place(number("0001"), sleep(1))
    record = await product.ended(call)
    assert set(record) == set(schema["properties"]) == set(schema["required"])
    assert "talk" in json.dumps(document["paths"]["/v1.0/calls"]["post"])
    errors = {"400", "401", "404"}
    assert errors <= document["paths"]["/v1.0/calls"]["post"]["responses"].keys()


class Links(HTMLParser):
    """What a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"script": "src", "link": "href", "img": "src", "iframe": "src"}.get(tag)
        self.found += [value for name, value in attrs if name == wanted and value]


async def test_the_documentation_needs_no_other_host(product: Product) -> None:
    status, page, headers = await fetch(product, "/docs")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    links = Links()
    links.feed(page)
    assert len(links.found) >= 2
    for link in links.found:
        assert not re.match(r"(https?:)?//", link), link
        status, text, _ = await fetch(product, urljoin("/docs", link))
        assert status == 200, link
        assert not re.search(r"(@import|url\(|import\(|fetch\(|src *=)[ '\"]*https?://", text), link
    assert "unsafe" not in headers["Content-Security-Policy"]


# --- who may ------------------------------------------------------------------------------------------------------


async def test_login_and_all_places_of_a_credential(product: Product) -> None:
    user, password = product.env["RINGLINE_ADMIN_USERNAME"], product.env["RINGLINE_ADMIN_PASSWORD"]
    status, text, headers = await fetch(
        product, "/auth/login", "POST", json={"username": user, "password": password}
    )
    assert status == 200, text
    answer = json.loads(text)
    assert answer.keys() == {"username", "token"}
    assert answer["username"] == user
    cookie = headers["Set-Cookie"]
    assert cookie.startswith(f"token={answer['token']};")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    token, key = answer["token"], product.env["RINGLINE_ACCESSKEY"]
    own = "/v1.0/customer"
    good: list[dict[str, Any]] = [
        {"params": {"token": token}},
        {"params": {"accesskey": key}},
        {"headers": {"Authorization": f"Bearer {token}"}},
        {"headers": {"Authorization": f"Bearer {key}"}},
        {"headers": {"Cookie": f"token={token}"}},
        {"params": {"token": token}, "headers": {"Cookie": f"token={token}"}},
    ]
    for options in good:
        status, text, _ = await fetch(product, own, **options)
        assert status == 200, (options, text)
        assert json.loads(text)["id"] == str(await product.customer_id())
    bad: list[dict[str, Any]] = [
        {},
        {"params": {"token": token[:-2]}},
        {"params": {"token": key}},
        {"params": {"accesskey": token}},
        {"params": {"accesskey": "vb_" + "a" * 32}},
        {"headers": {"Authorization": "Basic YTpi"}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"Authorization": f"Bearer {'a' * 5000}"}},
    ]
    for options in bad:
        status, text, _ = await fetch(product, own, **options)
        assert (status, json.loads(text)["error"]["status"]) == (401, "UNAUTHENTICATED"), options


@pytest.mark.parametrize(
    "body", [{"username": "admin", "password": "wrong"}, {"username": "nobody", "password": "wrong"}]
)
async def test_a_wrong_login_is_refused(product: Product, body: Json) -> None:
    status, text, headers = await fetch(product, "/auth/login", "POST", json=body)
    assert (status, json.loads(text)["error"]["reason"]) == (401, "INVALID_CREDENTIALS")
    assert "Set-Cookie" not in headers


async def test_an_access_key_lives_from_its_making_to_its_end(product: Product) -> None:
    made = await product.api.post("/v1.0/accesskeys", {"name": "stack test"})
    assert made["token"].startswith("vb_")
    async with asyncio.timeout(20):
        while (await fetch(product, "/v1.0/customer", params={"accesskey": made["token"]}))[0] != 200:
            await asyncio.sleep(0.1)
    listed = await product.api.get("/v1.0/accesskeys")
    assert made["token"] not in json.dumps(listed)
    assert made["id"] in [key["id"] for key in listed["result"]]
    status, _ = await product.api.call("DELETE", f"/v1.0/accesskeys/{made['id']}")
    assert status == 200

    async def refused() -> bool:
        return (await fetch(product, "/v1.0/customer", params={"accesskey": made["token"]}))[0] == 401

    await eventually(refused, "the deleted key is refused")


# --- calls as records -----------------------------------------------------------------------------------------


async def test_an_idempotency_key_makes_one_call_of_many_requests(product: Product) -> None:
    key, to = str(uuid4()), number("0001")
    body = order(to, sleep(1))
    credential = {"accesskey": product.env["RINGLINE_ACCESSKEY"]}

    async def post(body: Json, key: str) -> tuple[int, Any, dict[str, str]]:
        status, text, headers = await fetch(
            *(product, "/v1.0/calls", "POST"), json=body, params=credential, headers={"Idempotency-Key": key}
        )
        return status, json.loads(text), headers

    first = await post(body, key)
    assert first[0] == 200
    await product.ended(first[1][0])
    again = await post(body, key)
    assert again[:2] == first[:2], "the answer of the first time, as it was then"
    assert again[2]["Idempotent-Replayed"] == "true"
    status, answer, _ = await post(order(number("0001"), sleep(1)), key)
    assert (status, answer["error"]["status"]) == (409, "ALREADY_EXISTS")

    # side by side: one of them makes the call, the others are told so or asked to wait
    key, to_two = str(uuid4()), number("0001")
    answers = await asyncio.gather(*(post(order(to_two, sleep(1)), key) for _ in range(8)))
    made = {answer[0]["id"] for status, answer, _ in answers if status == 200}
    assert len(made) == 1
    assert {status for status, *_ in answers} <= {200, 409}
    await product.ended({"id": made.pop()})
    # each has one line
    for dialled in (to, to_two):
        await product.line(dialled)

    # a refused request did nothing, so its key may be used again
    key = str(uuid4())
    assert (await post(order("12", sleep(1)), key))[0] == 400
    status, answer, _ = await post(order(number("0001"), sleep(1)), key)
    assert status == 200
    await product.ended(answer[0])


async def test_pages_hold_every_call_once_newest_first(product: Product) -> None:
    placed = await asyncio.gather(*(product.place(number("0001"), sleep(1)) for _ in range(11)))
    await asyncio.gather(*(product.ended(call) for call in placed))
    wanted, found, token = {call["id"] for call in placed}, [], ""

    async def listed() -> list[Json] | None:
        query = {"hangup_reason": "busy", "page_size": "1000", "unknown": "ignored"}
        rows: list[Json] = (await product.api.get("/v1.0/calls", **query))["result"]
        return rows if wanted <= {call["id"] for call in rows} else None

    # a filter asks the table, which is written a fifth of a second behind
    busy = await eventually(listed, "all calls are listed as busy")
    assert {call["hangup_reason"] for call in busy} == {"busy"}
    for _ in range(20):
        query = {"page_size": "4", **({"page_token": token} if token else {})}
        page = await product.api.get("/v1.0/calls", **query)
        assert len(page["result"]) <= 4
        found += page["result"]
        token = page["next_page_token"]
        if not token or wanted <= {call["id"] for call in found}:
            break
    ids = [call["id"] for call in found]
    assert len(ids) == len(set(ids))
    assert wanted <= set(ids)
    times = [call["tm_create"] for call in found]
    assert times == sorted(times, reverse=True)
    # any time in either style is a token
    for style in ("2021-02-06T08:54:38Z", "2021-02-06 08:54:38.000000"):
        assert await product.api.get("/v1.0/calls", page_token=style) == {"result": [], "next_page_token": ""}


async def test_a_deleted_call_is_out_of_sight(product: Product) -> None:
    call = await product.place(number("0001"), sleep(1))
    record = await product.ended(call)
    status, deleted = await product.api.call("DELETE", f"/v1.0/calls/{call['id']}")
    assert status == 200
    assert {**deleted, "tm_delete": None, "tm_update": None} == {**record, "tm_update": None}
    assert deleted["tm_delete"] is not None
    status, answer = await product.api.call("GET", f"/v1.0/calls/{call['id']}")
    assert (status, answer["error"]["reason"]) == (404, "CALL_NOT_FOUND")
    status, _ = await product.api.call("DELETE", f"/v1.0/calls/{call['id']}")
    assert status == 404
    page = await product.api.get("/v1.0/calls", page_size="20")
    assert call["id"] not in [one["id"] for one in page["result"]]


async def test_a_live_call_shows_where_it_stands(product: Product) -> None:
    call = await product.place(number("0008"), sleep(30))
    await product.reached(call, "progressing")

    async def sleeping() -> bool:
        return bool((await product.show(call))["action"]["type"] == "sleep")

    async def listed() -> bool:
        page = await product.api.get("/v1.0/calls", status="progressing")
        return call["id"] in [one["id"] for one in page["result"]]

    await eventually(sleeping, "the action shows")
    # rows are written a moment after their calls
    await eventually(listed, "the list shows it")
    began = time.monotonic()
    await product.hang_up(call)
    record = await product.ended(call)
    assert time.monotonic() - began < 10, "it waited for the action"
    assert record["hangup_by"] == "local"


# --- numbers and the customer ---------------------------------------------------------------------------------


async def test_the_seeded_numbers(product: Product) -> None:
    page = await product.api.get("/v1.0/numbers", page_size="1000")
    rows = {row["number"]: row for row in page["result"]}
    assert {SOURCE, DEFAULT_SOURCE, "+15559876543"} <= set(rows)
    row = rows[SOURCE]
    assert (row["type"], row["status"], row["call_flow_id"], row["message_flow_id"]) == (
        "normal",
        "active",
        ZERO,
        ZERO,
    )
    assert NUMBER_TIME.fullmatch(row["tm_create"])
    assert row["tm_delete"] == "9999-01-01 00:00:00.000000"
    assert await product.api.get(f"/v1.0/numbers/{row['id']}") == row
    first = await product.api.get("/v1.0/numbers", page_size="2")
    rest = await product.api.get("/v1.0/numbers", page_size="1000", page_token=first["next_page_token"])
    assert [*first["result"], *rest["result"]] == page["result"]


async def test_the_customer_keeps_what_it_is_told(product: Product) -> None:
    before = await product.api.get("/v1.0/customer")
    assert (before["status"], before["domain_label"]) == ("active", "test")
    (row,) = (await product.api.get("/v1.0/numbers", number=SOURCE))["result"]
    change = {"detail": "a stack test was here", "default_outgoing_source_number_id": row["id"]}
    try:
        status, changed = await product.api.call("PUT", "/v1.0/customer", change)
        assert status == 200, changed
        assert {**before, **change, "tm_update": changed["tm_update"]} == changed
        assert await product.api.get("/v1.0/customer") == changed
        for wrong in (str(uuid4()), "seven"):
            status, answer = await product.api.call(
                "PUT", "/v1.0/customer", {"default_outgoing_source_number_id": wrong}
            )
            assert status in {400, 404}, answer
            assert "default_outgoing_source_number_id" in answer["error"]["message"]
    finally:
        kept = {name: before[name] for name in change}
        assert (await product.api.call("PUT", "/v1.0/customer", kept))[0] == 200
