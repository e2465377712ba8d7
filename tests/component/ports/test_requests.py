"""What customers may ask of ports, and what they are told when they may not."""

from __future__ import annotations

import asyncio
import io
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from tests.component.ports.conftest import JPEG, PDF, PNG, House, Owner, number, wanted

from ringline.http import utc_now
from ringline.numbers.tables import numbers


async def test_a_draft_is_made_mended_completed_and_submitted(idle: House, owner: Owner) -> None:
    port = await idle.made(owner, letter=False, pin="")
    assert (port["status"], port["documents"], port["pin_set"]) == ("draft", [], False)
    path = f"/{port['id']}"
    status, body = await idle.call(owner, "POST", f"{path}/submit")
    assert (status, body["error"]["reason"]) == (409, "NUMBER_PORT_INCOMPLETE")
    assert [fault["field"] for fault in body["error"]["details"]] == ["letter"]

    status, port = await idle.call(owner, "PUT", path, json={"pin": "99", "name": "moving"})
    assert (status, port["pin_set"], port["name"], port["carrier"]) == (200, True, "moving", "Old Telephone")
    assert "99" not in str({**port, "id": "", "numbers": [], "tm_create": "", "tm_update": ""})

    form = aiohttp.FormData()
    form.add_field("letter", PNG, filename="../../étc/l'etter.png", content_type="application/pdf")
    form.add_field("bill", JPEG, filename="bill.jpg")
    status, port = await idle.call(owner, "POST", f"{path}/documents", data=form)
    assert status == 200
    files = {file["kind"]: (file["content_type"], file["size"]) for file in port["documents"]}
    assert files == {"letter": ("image/png", len(PNG)), "bill": ("image/jpeg", len(JPEG))}
    assert not any("/" in file["name"] for file in port["documents"])

    status, port = await idle.call(
        owner,
        "POST",
        f"{path}/documents?name=new.pdf",
        data=PDF,
        headers={"Content-Type": "application/pdf"},
    )
    assert [file["name"] for file in port["documents"] if file["kind"] == "letter"] == ["new.pdf"]
    assert len(port["documents"]) == 2

    status, port = await idle.call(owner, "POST", f"{path}/submit")
    assert (status, port["status"]) == (200, "submitted")
    assert [step["status"] for step in port["history"]] == ["draft", "submitted"]
    for method, part in (("PUT", ""), ("POST", "/submit"), ("POST", "/documents")):
        more: dict[str, Any] = {"json": {"pin": "1"}} if method == "PUT" else {}
        if part == "/documents":
            more = {"data": PDF, "headers": {"Content-Type": "application/pdf"}}
        status, body = await idle.call(owner, method, path + part, **more)
        assert (status, body["error"]["reason"]) == (409, "NUMBER_PORT_STATE_INVALID")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"numbers": []}, "numbers"),
    ({"numbers": ["4155550100"]}, "numbers[0]"),
    ({"numbers": ["+14155550100", "+14155550100"]}, "numbers"),
    ({"numbers": ["+899123456789"]}, "numbers[0]"),
    ({"numbers": ["+9999999"]}, "numbers[0]"),
    ({"numbers": [f"+1415555{index:04d}" for index in range(101)]}, "numbers"),
    ({"carrier": "x" * 101}, "carrier"),
    ({"carrier": "a\r\nb"}, "carrier"),
    ({"email": "nobody"}, "email"),
    ({"owner": {"name": "x"}}, "owner"),
    ({"wanted_date": "soon"}, "wanted_date"),
    ({"wanted_date": "2020-02-02"}, "wanted_date"),
    ({"wanted_date": "2199-02-02"}, "wanted_date"),
    ({"provider_name": "nobody"}, "provider_name"),
    ({"letter": {"content": "bm8gcGRm"}}, "letter"),
    ({"letter": {"content": "%%%"}}, "letter"),
    ({"color": "red"}, "color"),
]


@pytest.mark.parametrize(("change", "field"), BAD)
async def test_what_is_wrong_is_named(idle: House, owner: Owner, change: dict[str, Any], field: str) -> None:
    status, body = await idle.call(owner, "POST", json=wanted(letter=False) | change)
    assert status == 400, body
    assert body["error"]["details"][0]["field"].startswith(field)


async def test_a_port_with_a_letter_must_be_whole(idle: House, owner: Owner) -> None:
    status, body = await idle.call(owner, "POST", json=wanted(carrier="", account_number=""))
    assert (status, body["error"]["reason"]) == (400, "NUMBER_PORT_INCOMPLETE")
    port = await idle.made(owner, carrier="", draft=True)
    assert port["status"] == "draft"
    assert (await idle.call(owner, "GET"))[1]["result"] == [port]


async def test_flows_and_providers_are_checked(idle: House, owner: Owner) -> None:
    status, body = await idle.call(owner, "POST", json=wanted(call_flow_id=str(uuid4())))
    assert (status, body["error"]["reason"]) == (404, "FLOW_NOT_FOUND")
    status, body = await idle.call(owner, "POST", json=wanted(provider_name="telnyx"))
    assert (status, body["error"]["reason"]) == (409, "NUMBER_PORTING_UNAVAILABLE")


async def test_files_are_judged_by_what_is_in_them(idle: House, owner: Owner) -> None:
    port = await idle.made(owner, letter=False)
    path = f"/{port['id']}/documents"
    for content in (b"", b"<html>%PDF", b"%PDF-1.4 cut off", PNG[:-12], b"\xff\xd8\xff" + b"x" * 5000):
        status, body = await idle.call(
            owner, "POST", path, data=content, headers={"Content-Type": "application/pdf"}
        )
        assert (status, body["error"]["reason"]) == (400, "INVALID_DOCUMENT")
    status, body = await idle.call(owner, "POST", path, data=PDF, headers={"Content-Type": "text/html"})
    assert (status, body["error"]["reason"]) == (400, "INVALID_FORM")
    status, _ = await idle.call(
        owner,
        "POST",
        path,
        data=io.BytesIO(b"%PDF-" + b"x" * 10 * 1024**2 + b"%%EOF"),
        headers={"Content-Type": "application/pdf"},
    )
    assert status == 413
    for form in ({"other": PDF}, {}):
        data = aiohttp.FormData(default_to_multipart=True)
        for name, content in form.items():
            data.add_field(name, content, filename="x")
        status, _ = await idle.call(owner, "POST", path, data=data)
        assert status == 400
    assert (await idle.call(owner, "GET", f"/{port['id']}"))[1]["documents"] == []


async def test_large_files_are_taken(idle: House, owner: Owner) -> None:
    port = await idle.made(owner, letter=False)
    form = aiohttp.FormData()
    form.add_field("letter", io.BytesIO(b"%PDF-" + b"x" * 9 * 1024**2 + b"%%EOF"), filename="l.pdf")
    form.add_field("bill", io.BytesIO(b"%PDF-" + b"y" * 9 * 1024**2 + b"%%EOF"), filename="b.pdf")
    status, port = await idle.call(owner, "POST", f"/{port['id']}/documents", data=form)
    assert (status, len(port["documents"])) == (200, 2)


async def test_a_number_that_somebody_has_or_ports_is_refused(idle: House, owner: Owner) -> None:
    other = await idle.customer()
    held = number()
    async with idle.database.begin() as connection:
        await connection.execute(
            numbers.insert().values(
                id=uuid4(),
                customer_id=other.id,
                number=held,
                type="normal",
                status="active",
                tm_create=utc_now(),
            )
        )
    for asker in (owner, other):
        status, body = await idle.call(asker, "POST", json=wanted(numbers=[number(), held]))
        assert (status, body["error"]["reason"]) == (409, "NUMBER_NOT_AVAILABLE")
        assert str(other.id) not in str(body)
    ported = number()
    drafts = [await idle.made(one, numbers=[ported], draft=True) for one in (owner, other, owner, other)]
    answers = await asyncio.gather(
        *(
            idle.call((owner, other)[index % 2], "POST", f"/{draft['id']}/submit")
            for index, draft in enumerate(drafts)
        )
    )
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409]
    assert {body["error"]["reason"] for status, body in answers if status == 409} == {"NUMBER_NOT_AVAILABLE"}


async def test_tenants_do_not_see_each_other(idle: House, owner: Owner) -> None:
    port = await idle.made(owner, letter=False)
    other = await idle.customer()
    for method, part in (
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/submit"),
        ("POST", "/documents"),
    ):
        more: dict[str, Any] = {"json": {"pin": "1"}} if method == "PUT" else {}
        if part == "/documents":
            more = {"data": PDF, "headers": {"Content-Type": "application/pdf"}}
        status, body = await idle.call(other, method, f"/{port['id']}{part}", **more)
        assert (status, body["error"]["reason"]) == (404, "NUMBER_PORT_NOT_FOUND")
    assert (await idle.call(other, "GET"))[1]["result"] == []
    agent = f"agent-as-{owner.id}"
    assert (await idle.call(owner, "GET", f"/{port['id']}", key=agent))[0] == 200
    assert (await idle.call(owner, "POST", key=agent, json=wanted()))[0] == 403


async def test_repeating_with_a_key_makes_one(idle: House, owner: Owner) -> None:
    body = wanted()
    headers = {"Idempotency-Key": uuid4().hex}
    first, again = [await idle.call(owner, "POST", json=body, headers=headers) for _ in range(2)]
    assert first == again
    assert len((await idle.call(owner, "GET"))[1]["result"]) == 1


async def test_lists_come_in_pages(idle: House, owner: Owner) -> None:
    ids = [(await idle.made(owner, letter=index % 2 == 0))["id"] for index in range(5)]
    found, token = [], ""
    for _ in range(3):
        _, page = await idle.call(owner, "GET", f"?page_size=2&page_token={token}")
        found += [port["id"] for port in page["result"]]
        token = page["next_page_token"]
    assert (found, token) == (ids[::-1], "")
    _, page = await idle.call(owner, "GET", "?status=draft")
    assert [port["id"] for port in page["result"]] == [ids[3], ids[1]]


async def test_drafts_and_what_has_ended_can_be_removed(idle: House, owner: Owner) -> None:
    draft = await idle.made(owner, letter=False)
    status, port = await idle.call(owner, "DELETE", f"/{draft['id']}")
    assert (status, port["status"]) == (200, "cancelled")
    assert (await idle.call(owner, "GET", f"/{draft['id']}"))[0] == 404
    port = await idle.made(owner)
    status, port = await idle.call(owner, "DELETE", f"/{port['id']}")
    assert (port["status"], port["pin_set"], port["cancel_requested"]) == ("cancelled", False, False)
    assert idle.vendor.asked == {}
    # its number may be ported by somebody else now
    await idle.made(await idle.customer(), numbers=[port["numbers"][0]["number"]])
    assert (await idle.call(owner, "DELETE", f"/{port['id']}"))[0] == 200
    assert (await idle.call(owner, "GET", f"/{port['id']}"))[0] == 404
