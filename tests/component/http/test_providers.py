"""The API of providers and routes on a real database: who may, what is refused, and what is kept of a secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from ringline.http import Permission
from ringline.routing import DEFAULT_CUSTOMER_ID, store
from ringline.routing.models import ha1

from .conftest import ADMIN_PASSWORD, Api

_hosts = iter(range(1, 250))


@pytest.fixture
async def token(api: Api) -> AsyncIterator[str]:
    """The administrator's login."""
    body = {"username": api.settings.admin_username, "password": ADMIN_PASSWORD}
    async with api.session.post(f"{api.url}/auth/login", json=body) as response:
        yield (await response.json())["token"]


async def make(api: Api, token: str, **fields: Any) -> dict[str, Any]:
    body = {"name": "carrier", "hostname": "sip.carrier.example", **fields}
    status, provider = await api.call("POST", "/v1.0/providers", key=token, json=body)
    assert status == 200, provider
    assert isinstance(provider, dict)
    return provider


async def test_a_provider_is_made_read_changed_and_deleted(api: Api, token: str) -> None:
    address = f"198.18.0.{next(_hosts)}"
    told = api.edge.reloads
    provider = await make(
        api,
        token,
        addresses=[address, "198.18.9.0/24:5060"],
        transport="tls",
        tech_prefix="9#",
        tech_headers={"X-Account": "77"},
        codecs=" pcma, Opus,pcma",
    )
    assert (provider["type"], provider["port"], provider["transport"]) == ("sip", 5061, "tls")
    assert provider["addresses"] == [address, "198.18.9.0/24:5060"]
    assert (provider["codecs"], provider["tech_headers"]) == ("PCMA,opus", {"X-Account": "77"})
    assert (provider["health_check"], provider["password_set"]) == (True, False)
    one = f"/v1.0/providers/{provider['id']}"
    status, changed = await api.call("PUT", one, key=token, json={"addresses": [], "port": 0})
    assert (status, changed["addresses"], changed["port"]) == (200, [], 0)
    assert (changed["tech_prefix"], changed["transport"]) == ("9#", "tls")
    assert (await api.call("GET", one, key=token))[1] == changed
    _, page = await api.call("GET", "/v1.0/providers?page_size=1", key=token)
    assert (page["result"][0]["id"], bool(page["next_page_token"])) == (provider["id"], True)
    # The address is free again.
    again = await make(api, token, addresses=[address])
    status, gone = await api.call("DELETE", one, key=token)
    assert (status, gone["id"], gone["tm_delete"] is not None) == (200, provider["id"], True)
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        status, answer = await api.call(method, one, key=token, json=body)
        assert (status, answer["error"]["reason"]) == (404, "PROVIDER_NOT_FOUND")
    await api.call("DELETE", f"/v1.0/providers/{again['id']}", key=token)
    assert api.edge.reloads == told + 5


async def test_only_the_installations_administrator_has_providers_and_routes(api: Api, token: str) -> None:
    provider = await make(api, token)
    customer_id, key = await api.another_customer(Permission.CUSTOMER_ALL)
    body = {"username": f"agent-{customer_id}", "password": ADMIN_PASSWORD}
    async with api.session.post(f"{api.url}/auth/login", json=body) as response:
        login = (await response.json())["token"]
    # Not even the administrator's own access key: it is its customer's.
    for credential in (key, login, ""):
        for method, path, content in (
            ("GET", "/v1.0/providers", None),
            ("POST", "/v1.0/providers", {"name": "x", "hostname": "x"}),
            ("GET", f"/v1.0/providers/{provider['id']}", None),
            ("PUT", f"/v1.0/providers/{provider['id']}", {"name": "x"}),
            ("DELETE", f"/v1.0/providers/{provider['id']}", None),
            ("GET", "/v1.0/routes", None),
            ("POST", "/v1.0/routes", {"provider_id": provider["id"]}),
            ("GET", f"/v1.0/routes/{uuid4()}", None),
            ("PUT", f"/v1.0/routes/{uuid4()}", {"priority": 1}),
            ("DELETE", f"/v1.0/routes/{uuid4()}", None),
        ):
            status, answer = await api.call(method, path, key=credential, json=content)
            assert (status, answer["error"]["reason"]) == (403, "PERMISSION_DENIED"), (method, path)
    assert (await api.call("GET", "/v1.0/providers", key=None))[0] == 401


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hostname": "sip.example.org:5060"}, "hostname"),
        ({"port": 70_000}, "port"),
        ({"transport": "sctp"}, "transport"),
        ({"type": "pstn"}, "type"),
        ({"addresses": ["everywhere"]}, "addresses"),
        ({"addresses": ["0.0.0.0/0"]}, "addresses"),
        ({"codecs": "G729"}, "codecs"),
        ({"tech_headers": {"From": "me"}}, "tech_headers"),
        ({"tech_headers": {"f": "me"}}, "tech_headers"),
        ({"tech_headers": {"X-A": "x\r\nFrom: me"}}, "tech_headers"),
        ({"username": "alice"}, "password"),
        ({"password": "secret"}, "username"),
        ({"username": 'al"ice', "password": "secret"}, "username"),
        ({"username": "alice", "password": "two words"}, "password"),
        ({"username": "alice", "password": "x", "realm": 'a"b'}, "realm"),
        ({"registration": True}, "username"),
        ({"registration_expires": 5}, "registration_expires"),
        ({"registration_contact": "a@b"}, "registration_contact"),
        ({"name": ""}, "name"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_what_cannot_be_a_provider(api: Api, token: str, fields: dict[str, Any], named: str) -> None:
    body = {"name": "carrier", "hostname": "sip.carrier.example", **fields}
    status, answer = await api.call("POST", "/v1.0/providers", key=token, json=body)
    assert (status, named in str(answer["error"])) == (400, True), answer


async def test_two_providers_cannot_have_one_address(api: Api, token: str) -> None:
    address = f"198.18.0.{next(_hosts)}"
    await make(api, token, addresses=[address])
    body = {"name": "other", "hostname": "other.example", "addresses": [address]}
    status, answer = await api.call("POST", "/v1.0/providers", key=token, json=body)
    assert (status, answer["error"]["message"].startswith("addresses")) == (409, True)


async def _secret(api: Api, provider: dict[str, Any]) -> tuple[str, str]:
    columns = store.providers.c
    statement = sa.select(columns.password, columns.ha1).where(columns.id == provider["id"])
    async with api.database.connect() as connection:
        row = (await connection.execute(statement)).one()
    return (row.password, row.ha1)


async def test_a_password_is_kept_as_ha1_once_the_realm_is_known_and_never_shown(
    api: Api, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = f"secret-{uuid4().hex}"
    provider = await make(api, token, username="alice", password=secret)
    one = f"/v1.0/providers/{provider['id']}"
    assert (provider["password_set"], secret in str(provider)) == (True, False)
    assert await _secret(api, provider) == (secret, "")
    _, changed = await api.call("PUT", one, key=token, json={"realm": "carrier.example"})
    assert (changed["password_set"], changed["realm"], secret in str(changed)) == (
        True,
        "carrier.example",
        False,
    )
    assert await _secret(api, provider) == ("", ha1("alice", "carrier.example", secret))
    for change in ({"username": "bob"}, {"realm": ""}, {"realm": "other.example"}):
        status, answer = await api.call("PUT", one, key=token, json=change)
        assert (status, answer["error"]["message"].startswith("password")) == (400, True)
    # What has nothing to do with it can be changed, and a new password replaces the old one.
    assert (await api.call("PUT", one, key=token, json={"name": "renamed"}))[0] == 200
    assert await _secret(api, provider) == ("", ha1("alice", "carrier.example", secret))
    await api.call("PUT", one, key=token, json={"username": "bob", "password": "new"})
    assert await _secret(api, provider) == ("", ha1("bob", "carrier.example", "new"))
    _, changed = await api.call("PUT", one, key=token, json={"username": ""})
    assert (changed["password_set"], changed["realm"]) == (False, "")
    assert await _secret(api, provider) == ("", "")
    assert secret not in caplog.text


async def test_a_repeated_request_makes_one_provider_and_one_route(api: Api, token: str) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    body = {"name": "once", "hostname": "once.example", "addresses": [f"198.18.0.{next(_hosts)}"]}
    answers = [
        await api.call("POST", "/v1.0/providers", key=token, headers=headers, json=body) for _ in range(2)
    ]
    assert answers[0] == answers[1]
    headers = {"Idempotency-Key": uuid4().hex}
    body = {"provider_id": answers[0][1]["id"], "target": "+4477"}
    routes = [await api.call("POST", "/v1.0/routes", key=token, headers=headers, json=body) for _ in range(2)]
    assert routes[0] == routes[1]


async def test_a_change_that_kamailio_did_not_hear_is_stored_and_said(api: Api, token: str) -> None:
    provider = await make(api, token)
    api.edge.away = True
    try:
        status, answer = await api.call(
            "PUT", f"/v1.0/providers/{provider['id']}", key=token, json={"name": "stored"}
        )
    finally:
        api.edge.away = False
    assert (status, "stored" in answer["error"]["message"]) == (503, True)
    _, read = await api.call("GET", f"/v1.0/providers/{provider['id']}", key=token)
    assert read["name"] == "stored"


async def test_how_a_provider_is_stands_beside_what_it_is(api: Api, token: str) -> None:
    provider = await make(
        api, token, username="alice", password="secret", registration=True, registration_contact="+15550001"
    )
    one = f"/v1.0/providers/{provider['id']}"
    assert (provider["status"], provider["tm_status"], provider["latency"]) == ("unknown", None, 0)
    assert provider["registration_status"] == "unregistered"
    facts = {"state": 2, "since": 1_790_000_000, "code": 404, "ms": 12, "failed": 3, "missed": 2}
    items = [{"name": f"{provider['id']}::{name}", "value": value} for name, value in facts.items()]
    items.append({"name": "sip:alice@sip.carrier.example", "value": 403})
    record = {"l_uuid": "+15550001", "flags": 16, "diff_expires": 20}
    api.edge.answers = {
        "htable.dump": [{"entry": 1, "size": 1, "slot": [item]} for item in items],
        "uac.reg_dump": [record],
    }
    try:
        _, shown = await api.call("GET", one, key=token)
        assert (shown["status"], shown["tm_status"]) == ("down", "2026-09-21T14:13:20Z")
        assert (shown["status_code"], shown["latency"], shown["failovers"]) == (404, 12, 3)
        assert (shown["registration_status"], shown["registration_error"]) == ("unregistered", "403")
        record["flags"] = 20
        _, page = await api.call("GET", "/v1.0/providers", key=token)
        (shown,) = [found for found in page["result"] if found["id"] == provider["id"]]
        assert (shown["registration_status"], shown["registration_error"]) == ("registered", "")
        assert shown["tm_registration_expire"] is not None
        # Without the check nothing is claimed.
        _, shown = await api.call("PUT", one, key=token, json={"health_check": False})
        assert (shown["status"], shown["tm_status"], shown["failovers"]) == ("unknown", None, 3)
        api.edge.away = True
        status, shown = await api.call("GET", one, key=token)
        assert (status, shown["status"], shown["registration_status"]) == (200, "unknown", "unknown")
    finally:
        api.edge.answers, api.edge.away = {}, False


async def test_two_providers_cannot_be_registered_with_one_contact(api: Api, token: str) -> None:
    account = {"username": "alice", "password": "secret", "registration": True, "registration_contact": "me"}
    await make(api, token, **account)
    body = {"name": "other", "hostname": "other.example", **account}
    status, answer = await api.call("POST", "/v1.0/providers", key=token, json=body)
    assert (status, answer["error"]["message"].startswith("registration_contact")) == (409, True)


async def test_a_route_is_made_read_changed_and_deleted(api: Api, token: str) -> None:
    first, second = await make(api, token), await make(api, token)
    customer_id, _ = await api.another_customer()
    body = {"provider_id": first["id"], "customer_id": str(customer_id), "target": "de", "priority": 5}
    status, route = await api.call("POST", "/v1.0/routes", key=token, json=body)
    assert (status, route["target"], route["priority"], route["customer_id"]) == (
        200,
        "+49",
        5,
        str(customer_id),
    )
    one = f"/v1.0/routes/{route['id']}"
    _, changed = await api.call("PUT", one, key=token, json={"provider_id": second["id"], "priority": 0})
    assert (changed["provider_id"], changed["priority"], changed["target"]) == (second["id"], 0, "+49")
    assert (await api.call("GET", one, key=token))[1] == changed
    for query in (f"customer_id={customer_id}", f"provider_id={second['id']}"):
        _, page = await api.call("GET", f"/v1.0/routes?{query}", key=token)
        assert [found["id"] for found in page["result"]] == [route["id"]]
    # A provider that is needed stays.
    status, answer = await api.call("DELETE", f"/v1.0/providers/{second['id']}", key=token)
    assert (status, answer["error"]["reason"]) == (409, "PROVIDER_IN_USE")
    assert answer["error"]["details"] == [{"route_id": route["id"]}]
    assert (await api.call("DELETE", one, key=token))[1]["tm_delete"] is not None
    assert (await api.call("DELETE", one, key=token))[0] == 404
    assert (await api.call("DELETE", f"/v1.0/providers/{second['id']}", key=token))[0] == 200


async def test_what_cannot_be_a_route(api: Api, token: str) -> None:
    provider = await make(api, token)
    for fields, expected, named in (
        ({"target": "zz"}, 400, "target"),
        ({"target": "+899"}, 400, "target"),
        ({"priority": -1}, 400, "priority"),
        ({"customer_id": str(uuid4())}, 400, "customer_id"),
        ({"provider_id": str(uuid4())}, 404, "provider"),
        ({"provider_id": None}, 400, "provider_id"),
        ({"unknown": 1}, 400, "unknown"),
    ):
        body = {"provider_id": provider["id"], **fields}
        status, answer = await api.call("POST", "/v1.0/routes", key=token, json=body)
        assert (status, named in str(answer["error"])) == (expected, True), answer
    status, route = await api.call("POST", "/v1.0/routes", key=token, json={"provider_id": provider["id"]})
    assert (route["customer_id"], route["target"]) == (str(DEFAULT_CUSTOMER_ID), "all")
    await api.call("DELETE", f"/v1.0/routes/{route['id']}", key=token)
