"""A customer's realm: what changes with its label, what stays, and who gets which."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from tests.component.http.conftest import Api
from tests.component.http.test_extensions import PASSWORD, _make, _register, _stored

from ringline.customers.tables import customers
from ringline.extensions.digest import ha1
from ringline.extensions.store import locations


def _label() -> str:
    return f"c{uuid4().hex[:12]}"


async def _move(api: Api, key: str, label: str) -> tuple[int, Any]:
    return await api.call("PUT", "/v1.0/customer", key=key, json={"domain_label": label})


async def _digest_realm(api: Api, customer_id: UUID) -> str:
    async with api.database.connect() as connection:
        statement = sa.select(customers.c.digest_realm).where(customers.c.id == customer_id)
        return str((await connection.execute(statement)).scalar())


async def test_extensions_follow_and_keep_their_digests(api: Api) -> None:
    customer_id, key = await api.another_customer()
    first, second, third = _label(), _label(), _label()
    assert (await _move(api, key, first))[0] == 200
    assert await _digest_realm(api, customer_id) == ""  # nobody had a password yet
    row = await _make(api, "anna", key=key)
    old = f"{first}.ringline.test"
    assert row["domain_name"] == old
    await _register(api, row, "sip:anna@192.0.2.1")
    api.kamailio.calls.clear()
    reloads = api.kamailio.reloads

    status, customer = await _move(api, key, second)
    assert (status, customer["domain_label"]) == (200, second)
    assert api.kamailio.reloads > reloads
    assert api.kamailio.calls == [("ul.rm", "location", f"anna@{old}")]
    async with api.database.connect() as connection:
        left = sa.select(sa.func.count()).where(locations.c.domain == old)
        assert (await connection.execute(left)).scalar() == 0
    _, shown = await api.call("GET", f"/v1.0/extensions/{row['id']}", key=key)
    assert shown["domain_name"] == f"{second}.ringline.test"
    assert api.extensions.by_name(old, "anna") is None
    assert api.extensions.by_name(f"{second}.ringline.test", "anna") is not None
    assert await _digest_realm(api, customer_id) == old
    assert (await _stored(api, row)).ha1 == ha1("anna", old, PASSWORD)

    # what is made or changed afterwards has the digest realm that Kamailio challenges with
    later = await _make(api, "berta", key=key)
    assert later["domain_name"] == f"{second}.ringline.test"
    assert (await _stored(api, later)).ha1 == ha1("berta", old, PASSWORD)
    await api.call("PUT", f"/v1.0/extensions/{row['id']}", key=key, json={"password": "another horse 8"})
    assert (await _stored(api, row)).ha1 == ha1("anna", old, "another horse 8")

    assert (await _move(api, key, third))[0] == 200
    assert await _digest_realm(api, customer_id) == old
    assert (await _move(api, key, first))[0] == 200
    assert await _digest_realm(api, customer_id) == ""


async def test_a_realm_that_secrets_were_made_with_is_nobody_elses(api: Api) -> None:
    _, mine = await api.another_customer()
    _, theirs = await api.another_customer()
    first = _label()
    await _move(api, mine, first)
    await _make(api, "anna", key=mine)
    await _move(api, mine, _label())
    status, answer = await _move(api, theirs, first)
    assert (status, answer["error"]["reason"]) == (409, "ALREADY_EXISTS")
    assert answer["error"]["details"][0]["field"] == "domain_label"


async def test_a_label_without_secrets_is_free_again(api: Api) -> None:
    _, mine = await api.another_customer()
    _, theirs = await api.another_customer()
    first = _label()
    await _move(api, mine, first)
    assert (await _move(api, theirs, first))[0] == 409
    await _move(api, mine, _label())
    assert (await _move(api, theirs, first))[0] == 200


async def test_one_of_many_gets_a_label(api: Api) -> None:
    keys = [(await api.another_customer())[1] for _ in range(8)]
    label = _label()
    answers = await asyncio.gather(*(_move(api, key, label) for key in keys))
    assert sorted(status for status, _ in answers) == [200] + [409] * 7


async def test_extensions_made_while_the_realm_moves_are_in_the_new_one(api: Api) -> None:
    customer_id, key = await api.another_customer()
    await _make(api, "first", key=key)
    names = [f"e{turn}" for turn in range(12)]
    label = _label()
    made, moved = await asyncio.gather(
        asyncio.gather(*(_make(api, name, key=key) for name in names)), _move(api, key, label)
    )
    assert moved[0] == 200
    realm = await _digest_realm(api, customer_id)
    _, page = await api.call("GET", "/v1.0/extensions", key=key)
    assert {row["domain_name"] for row in page["result"]} == {f"{label}.ringline.test"}
    for row in made:
        assert (await _stored(api, row)).ha1 == ha1(row["extension"], realm, PASSWORD)


@pytest.mark.parametrize(
    "label",
    [
        "abc",
        "a" * 31,
        "1abc",
        "-abc",
        "abc-",
        "ab_c",
        "ABCD",
        "ab.c",
        "äbcd",
        "pstn",
        "echo",
        "trunk",
        "registrar",
        "",
        5,
        None,
    ],
)
async def test_what_is_no_label_is_refused(api: Api, label: Any) -> None:
    _, key = await api.another_customer()
    status, answer = await _move(api, key, label)
    assert (status, answer["error"]["details"][0]["field"]) == (400, "domain_label")


async def test_the_country_is_shown_and_changed(api: Api) -> None:
    _, key = await api.another_customer()
    assert (await api.call("GET", "/v1.0/customer", key=key))[1]["country"] == ""
    status, customer = await api.call("PUT", "/v1.0/customer", key=key, json={"country": "DE"})
    assert (status, customer["country"]) == (200, "de")
    known = api.customers.by_id(UUID(customer["id"]))
    assert known is not None
    assert known.country == "de"
    status, answer = await api.call("PUT", "/v1.0/customer", key=key, json={"country": "germany"})
    assert (status, answer["error"]["details"][0]["field"]) == (400, "country")
    assert (await api.call("PUT", "/v1.0/customer", key=key, json={"country": ""}))[1]["country"] == ""
