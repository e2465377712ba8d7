"""Trunks: how a telephone system proves itself, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from tests.component.http.conftest import Api

from ringline.extensions.digest import ha1
from ringline.extensions.store import trunks
from ringline.routing.store import provider_addresses, providers

PASSWORD = "correct horse 7"
PUBLIC = "9.9.9.9"


def _name() -> str:
    return f"t{uuid4().hex[:12]}"


def _basic(**fields: Any) -> dict[str, Any]:
    return {
        "domain_name": _name(),
        "auth_types": ["basic"],
        "username": "pbx",
        "password": PASSWORD,
        **fields,
    }


def _ip(*addresses: str, **fields: Any) -> dict[str, Any]:
    return {
        "domain_name": _name(),
        "auth_types": ["ip"],
        "allowed_ips": list(addresses or [PUBLIC]),
        **fields,
    }


async def _make(api: Api, body: dict[str, Any], key: str = "") -> dict[str, Any]:
    status, row = await api.call("POST", "/v1.0/trunks", key=key, json=body)
    assert status == 200, row
    return dict(row)


async def _stored(api: Api, row: dict[str, Any]) -> Any:
    async with api.database.connect() as connection:
        return (await connection.execute(sa.select(trunks).where(trunks.c.id == UUID(row["id"])))).one()


async def test_a_trunk_is_made_read_listed_changed_and_deleted(api: Api) -> None:
    name = _name()
    reloads = api.kamailio.reloads
    row = await _make(api, _basic(domain_name=name.upper(), name="PBX", srtp="required", max_calls=5))
    assert list(row) == [
        "id",
        "customer_id",
        "name",
        "detail",
        "domain_name",
        "realm",
        "auth_types",
        "username",
        "allowed_ips",
        "srtp",
        "max_calls",
        "tm_create",
        "tm_update",
        "tm_delete",
    ]
    assert (row["domain_name"], row["realm"]) == (name, f"{name}.trunk.ringline.test")
    assert (row["srtp"], row["max_calls"], row["auth_types"]) == ("required", 5, ["basic"])
    assert (await _stored(api, row)).ha1 == ha1("pbx", row["realm"], PASSWORD)
    path = f"/v1.0/trunks/{row['id']}"
    assert await api.call("GET", path) == (200, row)
    _, page = await api.call("GET", "/v1.0/trunks", params={"page_size": 1})
    assert page["result"] == [row]
    status, changed = await api.call("PUT", path, json={"detail": "cellar", "srtp": "none"})
    assert (status, changed["detail"], changed["srtp"], changed["name"]) == (200, "cellar", "none", "PBX")
    assert (await _stored(api, row)).ha1 == ha1("pbx", row["realm"], PASSWORD)
    status, gone = await api.call("DELETE", path)
    assert status == 200
    assert gone["tm_delete"] is not None
    for method in ("GET", "PUT", "DELETE"):
        status, answer = await api.call(method, path, json={} if method == "PUT" else None)
        assert (status, answer["error"]["reason"]) == (404, "TRUNK_NOT_FOUND")
    assert api.kamailio.reloads == reloads + 3
    await _make(api, _basic(domain_name=name))


async def test_a_new_username_or_domain_needs_its_password(api: Api) -> None:
    row = await _make(api, _basic())
    path = f"/v1.0/trunks/{row['id']}"
    for body in ({"username": "other"}, {"domain_name": _name()}):
        status, answer = await api.call("PUT", path, json=body)
        assert (status, answer["error"]["details"][0]["field"]) == (400, "password")
    other = _name()
    status, changed = await api.call(
        "PUT", path, json={"username": "other", "domain_name": other, "password": PASSWORD}
    )
    assert (status, changed["username"], changed["domain_name"]) == (200, "other", other)
    stored = await _stored(api, row)
    assert (stored.ha1, stored.realm) == (
        ha1("other", f"{other}.trunk.ringline.test", PASSWORD),
        f"{other}.trunk.ringline.test",
    )


async def test_what_an_auth_type_needs_goes_with_it(api: Api) -> None:
    row = await _make(api, _basic())
    path = f"/v1.0/trunks/{row['id']}"
    status, answer = await api.call("PUT", path, json={"auth_types": ["ip"]})
    assert (status, answer["error"]["details"][0]["field"]) == (400, "allowed_ips")
    status, both = await api.call("PUT", path, json={"auth_types": ["basic", "ip"], "allowed_ips": [PUBLIC]})
    assert (status, both["username"], both["allowed_ips"]) == (200, "pbx", [PUBLIC])
    status, alone = await api.call("PUT", path, json={"auth_types": ["ip"]})
    assert (status, alone["username"], alone["allowed_ips"]) == (200, "", [PUBLIC])
    assert (await _stored(api, row)).ha1 == ""
    for body, field in (
        ({"auth_types": ["basic"]}, "username"),
        ({"auth_types": ["basic"], "username": "pbx"}, "password"),
        ({"password": PASSWORD}, "password"),
        ({"username": "pbx"}, "username"),
        ({"allowed_ips": []}, "allowed_ips"),
    ):
        status, answer = await api.call("PUT", path, json=body)
        assert (status, answer["error"]["details"][0]["field"]) == (400, field), body


async def test_domain_names_are_unique_in_the_installation(api: Api) -> None:
    _, key = await api.another_customer()
    name = _name()
    answers = await asyncio.gather(
        *(
            api.call("POST", "/v1.0/trunks", key=key if turn % 2 else "", json=_basic(domain_name=name))
            for turn in range(20)
        )
    )
    assert sorted(status for status, _ in answers) == [200] + [409] * 19
    refused = next(answer for status, answer in answers if status == 409)
    assert (refused["error"]["reason"], refused["error"]["details"][0]["field"]) == (
        "ALREADY_EXISTS",
        "domain_name",
    )
    mine = await _make(api, _basic())
    status, _ = await api.call(
        "PUT", f"/v1.0/trunks/{mine['id']}", json={"domain_name": name, "password": PASSWORD}
    )
    assert status == 409


async def test_customers_do_not_see_each_other(api: Api) -> None:
    mine = await _make(api, _ip())
    _, key = await api.another_customer()
    answers = set()
    for trunk_id in (mine["id"], uuid4()):
        for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
            status, answer = await api.call(method, f"/v1.0/trunks/{trunk_id}", key=key, json=body)
            answers.add((status, answer["error"]["reason"], answer["error"]["message"]))
    assert len(answers) == 1
    assert answers.pop()[:2] == (404, "TRUNK_NOT_FOUND")
    assert (await api.call("GET", "/v1.0/trunks", key=key))[1]["result"] == []


BAD: list[tuple[dict[str, Any], str]] = [
    (_basic(domain_name="a"), "domain_name"),
    (_basic(domain_name="1abc"), "domain_name"),
    (_basic(domain_name="a" * 32), "domain_name"),
    (_basic(domain_name="a..b"), "domain_name"),
    (_basic(domain_name="ab-"), "domain_name"),
    (_basic(domain_name="a_b"), "domain_name"),
    (_basic(domain_name="äb"), "domain_name"),
    (_basic(domain_name="a b"), "domain_name"),
    (_basic(auth_types=[]), "auth_types"),
    (_basic(auth_types=["digest"]), "auth_types[0]"),
    (_basic(auth_types=["basic", "basic"]), "auth_types"),
    (_basic(username=""), "username"),
    (_basic(username='a"b'), "username"),
    (_basic(username="x" * 65), "username"),
    (_basic(password=None), "password"),
    (_basic(password="short"), "password"),
    (_basic(username="correct-horse", password="Correct-Horse"), "password"),
    (_basic(allowed_ips=[PUBLIC]), "allowed_ips"),
    (_ip(username="pbx"), "username"),
    (_ip(password=PASSWORD), "password"),
    (_ip(allowed_ips=[]), "allowed_ips"),
    (_ip(PUBLIC, PUBLIC), "allowed_ips"),
    (_ip("9.9.9"), "allowed_ips[0]"),
    (_ip("9.9.9.09"), "allowed_ips[0]"),
    (_ip("9.9.9.0/24"), "allowed_ips[0]"),
    (_ip("2001:4860:4860::8888"), "allowed_ips[0]"),
    (_ip("pbx.example.com"), "allowed_ips[0]"),
    (_ip(PUBLIC, "10.0.0.1"), "allowed_ips[1]"),
    (_ip("192.168.1.1"), "allowed_ips[0]"),
    (_ip("169.254.169.254"), "allowed_ips[0]"),
    (_ip("224.0.0.1"), "allowed_ips[0]"),
    (_ip("0.0.0.0"), "allowed_ips[0]"),
    (_ip("255.255.255.255"), "allowed_ips[0]"),
    (_ip("127.0.0.1"), "allowed_ips[0]"),
    (_ip("198.41.0.4"), "allowed_ips[0]"),
    (_ip(allowed_ips=[f"9.9.8.{n}" for n in range(51)]), "allowed_ips"),
    (_basic(srtp="maybe"), "srtp"),
    (_basic(max_calls=-1), "max_calls"),
    (_basic(name=5), "name"),
    (_basic(realm="x"), "realm"),
]


@pytest.mark.parametrize(("body", "field"), BAD, ids=[str(index) for index in range(len(BAD))])
async def test_bad_fields_are_named(api: Api, body: dict[str, Any], field: str) -> None:
    status, answer = await api.call("POST", "/v1.0/trunks", json=body)
    assert status == 400, answer
    assert answer["error"]["details"][0]["field"] == field, answer
    assert PASSWORD not in str(answer)


async def test_a_provider_is_no_trunk_and_what_the_operator_allows_may_be(api: Api) -> None:
    provider_id = uuid4()
    async with api.database.begin() as connection:
        await connection.execute(
            providers.insert().values(
                id=provider_id, name="carrier", hostname="8.8.4.0", tm_create=sa.func.now()
            )
        )
        await connection.execute(
            provider_addresses.insert().values(provider_id=provider_id, network="8.8.4.0/24", port=0)
        )
    status, answer = await api.call("POST", "/v1.0/trunks", json=_ip("8.8.4.4"))
    assert status == 400
    assert "provider" in answer["error"]["message"]
    row = await _make(api, _ip("10.1.2.3"))
    assert row["allowed_ips"] == ["10.1.2.3"]


async def test_a_repeated_request_is_answered_again(api: Api) -> None:
    body, headers = _basic(), {"Idempotency-Key": uuid4().hex}
    first = await api.call("POST", "/v1.0/trunks", json=body, headers=headers)
    assert first[0] == 200
    assert await api.call("POST", "/v1.0/trunks", json=body, headers=headers) == first
