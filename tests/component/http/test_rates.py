"""Rates over HTTP: read by everybody, set, imported and exported by the installation's administrator."""

from __future__ import annotations

import asyncio
import io
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.component.http.conftest import ADMIN_PASSWORD, Api

from ringline.billing import RateBook

_RATES = "/v1.0/rates"
KIND = "call_pstn_outgoing"


@pytest.fixture
async def boss(api: Api) -> str:
    """The token of the installation's administrator."""
    status, answer = await api.call(
        "POST", "/auth/login", json={"username": "admin", "password": ADMIN_PASSWORD}, key="none"
    )
    assert status == 200, answer
    return str(answer["token"])


def prefix() -> str:
    """First digits of numbers that no other test has."""
    return f"7{uuid4().int % 10**11:011d}"


def reason(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["reason"]


async def send(api: Api, key: str, text: str, **query: str) -> tuple[int, Any]:
    headers = {"Content-Type": "text/csv"}
    return await api.call(
        "POST", f"{_RATES}/import", data=io.BytesIO(text.encode()), headers=headers, params=query, key=key
    )


async def held(api: Api, number: str) -> list[tuple[str, int]]:
    query = {"kind": KIND, "number": number, "at": datetime.now(UTC).isoformat()}
    status, page = await api.call("GET", _RATES, params=query)
    assert status == 200, page
    return [(row["prefix"], row["credit_per_unit"]) for row in page["result"]]


async def test_a_rate_is_replaced_and_ended_never_changed(api: Api, boss: str) -> None:
    begin = prefix()
    body = {"kind": KIND, "prefix": f"+{begin}", "credit_per_unit": 100, "unit_seconds": 60}
    assert reason(await api.call("POST", _RATES, json=body)) == (403, "PERMISSION_DENIED")
    status, first = await api.call("POST", _RATES, json=body, key=boss)
    assert (status, first["prefix"], first["tm_end"]) == (200, begin, None)
    one = f"{_RATES}/{first['id']}"
    status, second = await api.call("PUT", one, json={"credit_per_unit": 200}, key=boss)
    assert (status, second["credit_per_unit"], second["unit_seconds"]) == (200, 200, 60)
    status, before = await api.call("GET", one)
    assert (status, before["credit_per_unit"], before["tm_end"]) == (200, 100, second["tm_start"])
    assert reason(await api.call("PUT", one, json={}, key=boss)) == (409, "FAILED_PRECONDITION")
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    status, third = await api.call(
        "PUT", f"{_RATES}/{second['id']}", json={"credit_per_unit": 300, "tm_start": later}, key=boss
    )
    assert status == 200, third
    # of one that has not begun
    status, third = await api.call("PUT", f"{_RATES}/{third['id']}", json={"credit_per_unit": 310}, key=boss)
    assert (status, third["credit_per_unit"]) == (200, 310)
    assert (begin, 200) in await held(api, f"+{begin}5")
    book = RateBook(api.database)
    await book.read()
    for ahead, credit in ((0, 200), (4, 310)):
        assert (
            book.find(KIND, f"+{begin}5", datetime.now(UTC) + timedelta(days=ahead)).credit_per_unit == credit
        )
    for rate in (second, third):
        status, ended = await api.call("DELETE", f"{_RATES}/{rate['id']}", key=boss)
        assert status == 200 and ended["tm_end"] is not None
    assert begin not in [row[0] for row in await held(api, f"+{begin}5")]
    assert reason(await api.call("GET", f"{_RATES}/{uuid4()}")) == (404, "RATE_NOT_FOUND")


async def test_a_rate_that_ends_before_the_next_begins_is_not_prolonged(api: Api, boss: str) -> None:
    soon, late = ((datetime.now(UTC) + timedelta(days=days)).isoformat() for days in (1, 5))
    body = {"kind": KIND, "prefix": prefix(), "credit_per_unit": 100, "tm_end": soon}
    status, first = await api.call("POST", _RATES, json=body, key=boss)
    assert status == 200, first
    change = {"credit_per_unit": 200, "tm_start": late, "tm_end": None}
    status, second = await api.call("PUT", f"{_RATES}/{first['id']}", json=change, key=boss)
    assert (status, second["credit_per_unit"], second["tm_end"]) == (200, 200, None)
    _, before = await api.call("GET", f"{_RATES}/{first['id']}")
    assert before["tm_end"] == first["tm_end"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"prefix": "44x"}, "prefix"),
        ({"prefix": "0044"}, "prefix"),
        ({"prefix": "1" * 20}, "prefix"),
        ({"credit_per_unit": -1}, "credit_per_unit"),
        ({"kind": "call"}, "kind"),
        ({"tm_start": "2020-01-01T00:00:00Z"}, "tm_start"),
        ({"tm_end": "2020-01-01T00:00:00Z"}, "tm_end"),
        ({"rounding": "sideways"}, "rounding"),
    ],
)
async def test_wrong_rates_are_named(api: Api, boss: str, wrong: dict[str, Any], field: str) -> None:
    body = {"kind": KIND, "prefix": prefix(), **wrong}
    status, answer = await api.call("POST", _RATES, json=body, key=boss)
    assert status == 400
    assert field in answer["error"]["message"]


async def test_two_rates_do_not_begin_at_once(api: Api, boss: str) -> None:
    start = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"kind": KIND, "prefix": prefix(), "credit_per_unit": 1, "tm_start": start}
    answers = await asyncio.gather(*(api.call("POST", _RATES, json=body, key=boss) for _ in range(3)))
    assert sorted(status for status, _ in answers) == [200, 409, 409]


async def test_a_file_is_taken_whole_or_not_at_all(api: Api, boss: str) -> None:
    one, other, third = prefix(), prefix(), prefix()
    good = f"kind,prefix,price,name\n{KIND},{one},0.01,One\n{KIND},{other},0.02,Other\n"
    assert reason(await send(api, "", good)) == (403, "PERMISSION_DENIED")
    status, answer = await send(api, boss, f"{good}{KIND},x,0.01,X\n{KIND},{third},a,Y\n")
    assert (status, [fault["line"] for fault in answer["error"]["details"]]) == (400, [4, 5])
    assert "line 4, `prefix`" in answer["error"]["message"]
    assert one not in [row[0] for row in await held(api, f"+{one}")]
    for dry in ("true", "false"):
        counts = {"dry_run": dry == "true", "lines": 2, "added": 2, "unchanged": 0, "ended": 0}
        assert await send(api, boss, good, dry_run=dry) == (200, counts)
    assert (one, 10_000) in await held(api, f"+{one}")
    status, again = await send(api, boss, good)
    assert (status, again["added"], again["unchanged"]) == (200, 0, 2)
    status, dearer = await send(api, boss, good.replace("0.02", "0.03"))
    assert (status, dearer["added"], dearer["unchanged"]) == (200, 1, 1)
    async with api.session.get(
        f"{api.url}{_RATES}/export", params={"kind": KIND}, headers=_own(api)
    ) as response:
        assert response.status == 200 and response.content_type == "text/csv"
        text = await response.text()
    rows = [line.split(",") for line in text.splitlines()]
    assert [row[3] for row in rows if row[1] == other and not row[9]][-1] == "30000"
    assert (await send(api, boss, "kind,prefix,price\n"))[0] == 400
    assert (await api.call("POST", f"{_RATES}/import", data=b"kind,\xff", key=boss))[0] == 400
    assert (await send(api, boss, good, tm_start="2020-01-01T00:00:00Z"))[0] == 400


def _own(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.settings.accesskey.get_secret_value()}"}


async def test_replacing_ends_what_is_not_in_the_file(api: Api, boss: str) -> None:
    kept, gone = prefix(), prefix()
    head = "kind,prefix,price\n"
    assert (await send(api, boss, f"{head}email,{kept},0.01\nemail,{gone},0.02\n"))[0] == 200
    status, answer = await send(api, boss, f"{head}email,,0.01\nemail,{kept},0.01\n", replace="true")
    assert (status, answer["ended"]) == (200, 1)
    book = RateBook(api.database)
    await book.read()
    assert book.find("email", f"+{gone}", datetime.now(UTC)).prefix == ""
    assert book.find("email", f"+{kept}", datetime.now(UTC)).prefix == kept


async def test_an_import_is_one_line_of_the_trail(api: Api, boss: str) -> None:
    text = f"kind,prefix,price\n{KIND},{prefix()},0.01\n{KIND},{prefix()},0.02\n"
    for dry in ("true", "false"):
        assert (await send(api, boss, text, dry_run=dry))[0] == 200
    query = {"action": "import", "resource": "rate"}
    status, page = await api.call("GET", "/v1.0/audit_events", params=query, key=boss)
    newest = page["result"][0]
    assert (status, newest["operation"], newest["username"]) == (200, "POST /v1.0/rates/import", "admin")
    assert newest["changes"]["added"] == {"before": 0, "after": 2}
    assert not [row for row in page["result"][1:] if row["request_id"] == newest["request_id"]]


async def test_a_file_has_an_end(api: Api, boss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringline.billing.rate_csv.MOST_LINES", 3)
    begin = prefix()[:9]
    lines = [f"{KIND},{begin}{index},0.01\n" for index in range(4)]
    assert (await send(api, boss, "".join(["kind,prefix,price\n", *lines[:3]])))[0] == 200
    status, answer = await send(api, boss, "".join(["kind,prefix,price\n", *lines]))
    assert status == 400 and "line 5: is one rate more than 3" in answer["error"]["message"], answer
    assert answer["error"]["details"][0]["line"] == 5


async def test_an_export_is_read_in_pieces(api: Api, boss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringline.billing.rate_service._PAGE", 2)
    begin = prefix()[:9]
    lines = "".join(f"number,{begin}{index},0.01\n" for index in range(5))
    assert (await send(api, boss, f"kind,prefix,price\n{lines}"))[0] == 200
    async with api.session.get(
        f"{api.url}{_RATES}/export", params={"kind": "number"}, headers=_own(api)
    ) as response:
        rows = [line.split(",") for line in (await response.text()).splitlines()]
    assert [row[1] for row in rows if row[1].startswith(begin)] == [f"{begin}{index}" for index in range(5)]
    assert [row[0] for row in rows].count("kind") == 1


async def test_a_call_is_paid_by_the_minute_unless_the_rate_says_otherwise(api: Api, boss: str) -> None:
    """By the piece it would cost the same however long it is."""
    begin = prefix()
    for kind, wanted, seconds in (
        (KIND, {}, 60),
        ("call_vn", {"unit_seconds": 0}, 0),
        ("call_pstn_incoming", {"unit_seconds": 6}, 6),
        ("sms", {}, 0),
    ):
        body = {"kind": kind, "prefix": begin, "credit_per_unit": 100, **wanted}
        status, rate = await api.call("POST", _RATES, json=body, key=boss)
        assert (status, rate["unit_seconds"]) == (200, seconds), rate
    body = {"kind": KIND, "prefix": begin, "unit_seconds": -1}
    status, answer = await api.call("POST", _RATES, json=body, key=boss)
    assert (status, answer["error"]["details"][0]["field"]) == (400, "unit_seconds")


async def test_what_was_exported_can_be_imported(api: Api, boss: str) -> None:
    begin = prefix()[:10]
    first = f"kind,prefix,name,price\nemail,{begin},First,0.01\nemail,{begin}1,Other,0.02\n"
    assert (await send(api, boss, first))[0] == 200
    # the older one holds, too: again, should the newer one end
    assert (await send(api, boss, f"kind,prefix,price\nemail,{begin},0.03\n"))[0] == 200
    query = {"kind": "email"}
    async with api.session.get(f"{api.url}{_RATES}/export", params=query, headers=_own(api)) as response:
        exported = await response.text()
    assert exported.count(f"email,{begin},") == 2
    for replace in ("false", "true"):
        status, done = await send(api, boss, exported, replace=replace)
        lines = len(exported.splitlines()) - 1
        assert (status, done["lines"], done["added"], done["ended"]) == (200, lines, 0, 0), done
        assert done["unchanged"] == lines
    # nothing of the kind began then
    past = f"kind,prefix,price,tm_start\nemail,{begin},0.04,2024-01-01T00:00:00Z\n"
    status, answer = await send(api, boss, past)
    assert (status, answer["error"]["details"][0]["field"]) == (400, "tm_start")


async def test_many_rates_are_imported_within_seconds(api: Api, boss: str) -> None:
    base = int(prefix())
    lines = "".join(f"{KIND},{base * 10**5 + index},0.0123,Place {index}\n" for index in range(20_000))
    begun = time.monotonic()
    status, answer = await send(api, boss, f"kind,prefix,price,name\n{lines}")
    seconds = time.monotonic() - begun
    assert (status, answer.get("added")) == (200, 20_000), answer
    print(f"20,000 rates imported in {seconds:.1f} s")
    book = RateBook(api.database)
    await book.read()
    assert book.find(KIND, f"+{base * 10**5 + 777}", datetime.now(UTC)).credit_per_unit == 12_300
