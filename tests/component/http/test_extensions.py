"""Extensions and their registrations: the API, the database, and what Kamailio hears of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from tests.component.http.conftest import Api

from ringline.errors import Unavailable
from ringline.extensions.digest import ha1
from ringline.extensions.store import extensions, locations
from ringline.routing import KamailioRefused

PASSWORD = "correct horse 7"


async def _make(api: Api, name: str = "", key: str = "", **fields: Any) -> dict[str, Any]:
    body = {"extension": name or f"x{uuid4().hex[:12]}", "password": PASSWORD, **fields}
    status, row = await api.call("POST", "/v1.0/extensions", key=key, json=body)
    assert status == 200, row
    return dict(row)


async def _stored(api: Api, row: dict[str, Any]) -> Any:
    async with api.database.connect() as connection:
        return (
            await connection.execute(sa.select(extensions).where(extensions.c.id == UUID(row["id"])))
        ).one()


async def _register(api: Api, row: dict[str, Any], contact: str, **fields: Any) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    values = {
        "ruid": uuid4().hex,
        "username": row["extension"],
        "domain": row["domain_name"],
        "contact": contact,
        "expires": now + timedelta(hours=1),
        "last_modified": now,
        "cflags": 0,
        "user_agent": "Test phone",
        "socket": "udp:127.0.0.1:5060",
        "callid": "1",
        "q": -1.0,
        **fields,
    }
    async with api.database.begin() as connection:
        await connection.execute(locations.insert().values(values))


async def test_an_extension_is_made_read_listed_changed_and_deleted(api: Api) -> None:
    row = await _make(api, name="Desk.7_a-b", detail="second floor", max_calls=3)
    assert list(row) == [
        "id",
        "customer_id",
        "name",
        "detail",
        "extension",
        "domain_name",
        "username",
        "srtp",
        "max_calls",
        "registered",
        "tm_create",
        "tm_update",
        "tm_delete",
    ]
    assert (row["extension"], row["username"], row["domain_name"]) == (
        "Desk.7_a-b",
        "Desk.7_a-b",
        "test.ringline.test",
    )
    assert (row["registered"], row["max_calls"], row["detail"]) == (0, 3, "second floor")
    path = f"/v1.0/extensions/{row['id']}"
    assert await api.call("GET", path) == (200, row)
    status, page = await api.call("GET", "/v1.0/extensions", params={"extension": "Desk.7_a-b"})
    assert (status, page["result"], page["next_page_token"]) == (200, [row], "")
    known = api.extensions.by_name("test.ringline.test", "Desk.7_a-b")
    assert known is not None
    assert str(known.id) == row["id"]

    status, changed = await api.call("PUT", path, json={"name": "Anna", "extension": "Desk.7_a-b"})
    assert (status, changed["name"], changed["detail"]) == (200, "Anna", "second floor")
    assert (await _stored(api, row)).ha1 == ha1("Desk.7_a-b", "test.ringline.test", PASSWORD)

    status, gone = await api.call("DELETE", path)
    assert status == 200
    assert gone["tm_delete"] is not None
    assert api.extensions.by_name("test.ringline.test", "Desk.7_a-b") is None
    for method in ("GET", "PUT", "DELETE"):
        status, answer = await api.call(method, path, json={} if method == "PUT" else None)
        assert (status, answer["error"]["reason"]) == (404, "EXTENSION_NOT_FOUND")
    again = await _make(api, name="Desk.7_a-b")
    assert again["id"] != row["id"]


async def test_the_password_is_kept_as_a_digest_and_nowhere_else(
    api: Api, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "hush-hush-9471"
    row = await _make(api, password=secret)
    _, changed = await api.call(
        "PUT", f"/v1.0/extensions/{row['id']}", json={"password": secret + "2", "name": "x"}
    )
    _, refused = await api.call("POST", "/v1.0/extensions", json={"extension": "+", "password": secret})
    _, wrong = await api.call("POST", "/v1.0/extensions", json={"extension": "a", "password": [secret]})
    stored = await _stored(api, row)
    assert stored.ha1 == ha1(row["extension"], row["domain_name"], secret + "2")
    captured = capfd.readouterr()
    for text in (str(row), str(changed), str(refused), str(wrong), str(stored), captured.out, captured.err):
        assert secret not in text


BAD: list[tuple[dict[str, Any], str]] = [
    ({"extension": ""}, "extension"),
    ({"extension": "*43"}, "extension"),
    ({"extension": "+15551234567"}, "extension"),
    ({"extension": "5551234"}, "extension"),
    ({"extension": "-a"}, "extension"),
    ({"extension": "a b"}, "extension"),
    ({"extension": "a@b"}, "extension"),
    ({"extension": "ä"}, "extension"),
    ({"extension": "a\n"}, "extension"),
    ({"extension": "٣٤٥"}, "extension"),
    ({"extension": "x" * 65}, "extension"),
    ({"extension": str(uuid4())}, "extension"),
    ({"extension": "911"}, "extension"),
    ({"extension": "112"}, "extension"),
    ({"extension": "110"}, "extension"),
    ({"extension": 201}, "extension"),
    ({"extension": None}, "extension"),
    ({"password": "short12"}, "password"),
    ({"password": "x" * 129}, "password"),
    ({"password": "abcdefg\n"}, "password"),
    ({"password": "\ud800abcdefgh"}, "body"),
    ({"password": ""}, "password"),
    ({"password": 12345678}, "password"),
    ({"password": None}, "password"),
    ({"extension": "elizabeth", "password": "Elizabeth"}, "password"),
    ({"name": "x" * 256}, "name"),
    ({"detail": "x" * 2001}, "detail"),
    ({"max_calls": -1}, "max_calls"),
    ({"max_calls": 10_001}, "max_calls"),
    ({"max_calls": "2"}, "max_calls"),
    ({"max_calls": 1.5}, "max_calls"),
    ({"domain_name": "other.ringline.test"}, "domain_name"),
    ({"customer_id": str(uuid4())}, "customer_id"),
]


@pytest.mark.parametrize(("fields", "field"), BAD, ids=[str(bad[0])[:60] for bad in BAD])
async def test_bad_fields_are_named(api: Api, fields: dict[str, Any], field: str) -> None:
    body = {"extension": f"x{uuid4().hex[:12]}", "password": PASSWORD, **fields}
    status, answer = await api.call("POST", "/v1.0/extensions", json=body)
    assert status == 400, answer
    named = [detail["field"] for detail in answer["error"]["details"]] or ["body"]
    assert field in named, answer


async def test_what_cannot_be_changed_says_so(api: Api) -> None:
    row = await _make(api)
    path = f"/v1.0/extensions/{row['id']}"
    status, answer = await api.call("PUT", path, json={"extension": "other"})
    assert status == 400
    assert "cannot be changed" in answer["error"]["message"]
    status, answer = await api.call("PUT", path, json={"password": row["extension"]})
    assert (status, answer["error"]["details"][0]["field"]) == (400, "password")
    status, answer = await api.call("PUT", path, json={"domain_name": "x"})
    assert status == 400


async def test_of_twenty_at_once_one_is_made(api: Api) -> None:
    _, key = await api.another_customer()
    body = {"extension": "race", "password": PASSWORD}
    answers = await asyncio.gather(
        *(api.call("POST", "/v1.0/extensions", key=key, json=body) for _ in range(20))
    )
    assert sorted(status for status, _ in answers) == [200] + [409] * 19
    refused = next(answer for status, answer in answers if status == 409)
    assert refused["error"]["reason"] == "ALREADY_EXISTS"
    assert refused["error"]["details"][0]["field"] == "extension"
    _, page = await api.call("GET", "/v1.0/extensions", key=key)
    assert [row["extension"] for row in page["result"]] == ["race"]


async def test_a_repeated_request_is_answered_again(api: Api) -> None:
    body = {"extension": f"x{uuid4().hex[:12]}", "password": PASSWORD}
    headers = {"Idempotency-Key": uuid4().hex}
    first = await api.call("POST", "/v1.0/extensions", json=body, headers=headers)
    assert first[0] == 200
    assert await api.call("POST", "/v1.0/extensions", json=body, headers=headers) == first


async def test_customers_do_not_see_each_other(api: Api) -> None:
    mine = await _make(api, name="shared-name")
    await _register(api, mine, "sip:shared-name@192.0.2.1")
    _, contacts = await api.call("GET", f"/v1.0/extensions/{mine['id']}/registrations")
    _, key = await api.another_customer()
    theirs = await _make(api, name="shared-name", key=key)
    assert theirs["domain_name"] != mine["domain_name"]
    _, page = await api.call("GET", "/v1.0/extensions", key=key)
    assert [row["id"] for row in page["result"]] == [theirs["id"]]
    answers = set()
    for extension_id in (mine["id"], uuid4()):
        path = f"/v1.0/extensions/{extension_id}"
        for method, where, body in (
            ("GET", path, None),
            ("PUT", path, {"password": PASSWORD}),
            ("DELETE", path, None),
            ("GET", f"{path}/registrations", None),
            ("DELETE", f"{path}/registrations/{contacts['result'][0]['id']}", None),
        ):
            status, answer = await api.call(method, where, key=key, json=body)
            answers.add((status, answer["error"]["reason"], answer["error"]["message"]))
    assert len(answers) == 1
    assert answers.pop()[:2] == (404, "EXTENSION_NOT_FOUND")


async def test_registrations_are_shown_without_those_that_ran_out(api: Api) -> None:
    row = await _make(api)
    await _register(
        api,
        row,
        "sip:anna@10.0.0.5:5070;alias=198.51.100.9~40112~2",
        received="sip:198.51.100.9:40112;transport=tcp",
        socket="tcp:127.0.0.1:5060",
        q=0.5,
        path="<sip:proxy.example.com;lr>",
    )
    await _register(
        api,
        row,
        "sip:abc@xyz.invalid;transport=ws",
        received="sip:198.51.100.9:50000;transport=ws",
        socket="tls:127.0.0.1:5067",
    )
    await _register(
        api, row, "sip:late@192.0.2.7", expires=datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=1)
    )
    path = f"/v1.0/extensions/{row['id']}"
    _, page = await api.call("GET", f"{path}/registrations")
    phone, browser = page["result"]
    assert (phone["contact"], phone["transport"], phone["source_address"]) == (
        "sip:anna@10.0.0.5:5070",
        "tcp",
        "198.51.100.9:40112",
    )
    assert (phone["q"], phone["path"], phone["user_agent"]) == (
        0.5,
        "<sip:proxy.example.com;lr>",
        "Test phone",
    )
    left = datetime.fromisoformat(phone["tm_expire"]) - datetime.now(UTC)
    assert timedelta(minutes=55) < left < timedelta(minutes=61)
    assert (browser["transport"], browser["q"], browser["path"]) == ("wss", None, "")
    _, shown = await api.call("GET", path)
    assert shown["registered"] == 2
    _, listed = await api.call("GET", "/v1.0/extensions", params={"extension": row["extension"]})
    assert listed["result"][0]["registered"] == 2

    api.kamailio.calls.clear()
    status, gone = await api.call("DELETE", f"{path}/registrations/{phone['id']}")
    assert (status, gone) == (200, phone)
    assert api.kamailio.calls == [
        (
            "ul.rm_contact",
            "location",
            f"{row['extension']}@{row['domain_name']}",
            "sip:anna@10.0.0.5:5070;alias=198.51.100.9~40112~2",
        )
    ]
    _, page = await api.call("GET", f"{path}/registrations")
    assert page["result"] == [browser]
    status, answer = await api.call("DELETE", f"{path}/registrations/{phone['id']}")
    assert (status, answer["error"]["reason"]) == (404, "REGISTRATION_NOT_FOUND")


async def test_a_registration_that_kamailio_has_forgotten_goes_all_the_same(api: Api) -> None:
    row = await _make(api)
    await _register(api, row, "sip:x@192.0.2.9")
    path = f"/v1.0/extensions/{row['id']}/registrations"
    _, page = await api.call("GET", path)
    api.kamailio.fail = [Unavailable("away")]
    one = f"{path}/{page['result'][0]['id']}"
    status, _ = await api.call("DELETE", one)
    assert status == 503
    assert (await api.call("GET", path))[1]["result"]
    api.kamailio.fail = [KamailioRefused("AOR not found")]
    status, _ = await api.call("DELETE", one)
    assert status == 200
    assert (await api.call("GET", path))[1]["result"] == []


@pytest.mark.parametrize("what", ["password", "delete"])
async def test_phones_of_an_old_password_or_a_deleted_extension_are_forgotten(api: Api, what: str) -> None:
    row = await _make(api)
    await _register(api, row, "sip:x@192.0.2.9")
    path = f"/v1.0/extensions/{row['id']}"
    api.kamailio.calls.clear()
    # Kamailio is away for a moment: it is told again, behind the answer or before it
    api.kamailio.fail = [Unavailable("away")]
    if what == "password":
        status, shown = await api.call("PUT", path, json={"password": "another horse 8"})
    else:
        status, shown = await api.call("DELETE", path)
    assert (status, shown["registered"]) == (200, 0)
    assert api.kamailio.calls == [("ul.rm", "location", f"{row['extension']}@{row['domain_name']}")]
    async with api.database.connect() as connection:
        left = sa.select(sa.func.count()).where(locations.c.username == row["extension"])
        assert (await connection.execute(left)).scalar() == 0


async def test_only_admins_change_extensions(api: Api) -> None:
    _, key = await api.another_customer(permission=16)
    row = await _make(api, key=key)
    _, page = await api.call("GET", "/v1.0/agents", key=key)
    login = {"username": page["result"][0]["username"], "password": "correct horse battery staple"}
    _, answer = await api.call("POST", "/auth/login", key=None, json=login)
    token = answer["token"]
    path = f"/v1.0/extensions/{row['id']}"
    assert (await api.call("GET", path, key=token))[0] == 200
    assert (await api.call("GET", "/v1.0/extensions", key=token))[0] == 200
    for method, where, body in (
        ("POST", "/v1.0/extensions", {"extension": "x", "password": PASSWORD}),
        ("PUT", path, {"name": "x"}),
        ("DELETE", path, None),
        ("DELETE", f"{path}/registrations/{uuid4()}", None),
        ("GET", "/v1.0/trunks", None),
        ("GET", f"/v1.0/trunks/{uuid4()}", None),
        ("POST", "/v1.0/trunks", {"domain_name": "ab", "auth_types": ["ip"], "allowed_ips": ["9.9.9.9"]}),
    ):
        status, answer = await api.call(method, where, key=token, json=body)
        assert (status, answer["error"]["reason"]) == (403, "PERMISSION_DENIED"), (method, where)
