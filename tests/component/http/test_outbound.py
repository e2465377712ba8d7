"""The outbound settings of customers: what is there by default, who may set what, and that it stays."""

from __future__ import annotations

from typing import Any

import pytest

from ringline.http import Permission

from .conftest import ADMIN_PASSWORD, Api

PATH = "/v1.0/outbound_config"


async def login(api: Api) -> str:
    body = {"username": api.settings.admin_username, "password": ADMIN_PASSWORD}
    async with api.session.post(f"{api.url}/auth/login", json=body) as response:
        return str((await response.json())["token"])


async def put(api: Api, key: str, **fields: Any) -> tuple[int, Any]:
    return await api.call("PUT", PATH, key=key, json=fields)


async def test_the_first_customer_may_call_everywhere_and_a_new_one_its_country(api: Api) -> None:
    status, seeded = await api.call("GET", PATH)
    assert status == 200
    assert seeded["destination_whitelist"] == ["all"]
    assert seeded["customer_id"] == str(api.customer_id)
    _, key = await api.another_customer()
    status, fresh = await api.call("GET", PATH, key=key)
    assert status == 200
    assert fresh["destination_whitelist"] == ["us"]
    assert (fresh["max_calls"], fresh["calls_per_second"]) == (200, 50), "the installation's"
    status, _ = await api.call("PUT", "/v1.0/customer", key=key, json={"country": "de"})
    assert status == 200
    assert (await api.call("GET", PATH, key=key))[1]["destination_whitelist"] == ["de"]
    assert (await api.call("GET", PATH, key=key))[1]["id"] == fresh["id"]


async def test_a_list_is_set_and_stays_what_it_is(api: Api) -> None:
    _, key = await api.another_customer()
    status, answer = await put(api, key, destination_whitelist=["us", "DE", "us", "+881"], name="abroad")
    assert (status, answer["destination_whitelist"]) == (200, ["us", "de", "+881"])
    status, answer = await put(api, key, detail="more")
    assert (answer["destination_whitelist"], answer["name"]) == (["us", "de", "+881"], "abroad")
    status, answer = await put(api, key, destination_whitelist=[])
    assert (status, answer["destination_whitelist"]) == (200, [])


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"destination_whitelist": ["xx"]}, "destination_whitelist"),
        ({"destination_whitelist": ["+"]}, "destination_whitelist"),
        ({"destination_whitelist": "us"}, "destination_whitelist"),
        ({"destination_whitelist": ["us"] * 301}, "destination_whitelist"),
        ({"codecs": "PCMU,GSM"}, "codecs"),
        ({"codecs": "," * 300}, "codecs"),
        ({"max_calls": -1}, "max_calls"),
        ({"whitelist": ["us"]}, "whitelist"),
        ({"default_outgoing_source_number_id": "5a4db0c5-0000-4000-8000-000000000001"}, "default_outgoing"),
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, fields: dict[str, Any], named: str) -> None:
    _, key = await api.another_customer()
    status, answer = await put(api, key, **fields)
    assert status == 400
    assert named in answer["error"]["message"]


async def test_limits_are_the_administrators_to_set(api: Api) -> None:
    _, key = await api.another_customer()
    for fields in ({"max_calls": 1000}, {"calls_per_second": 1000, "name": "x"}):
        status, answer = await put(api, key, **fields)
        assert (status, answer["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert (await api.call("GET", PATH, key=key))[1]["name"] == "", "nothing of it was done"
    token = await login(api)
    status, answer = await put(api, token, max_calls=7, calls_per_second=3)
    assert (status, answer["max_calls"], answer["calls_per_second"]) == (200, 7, 3)
    status, answer = await put(api, token, max_calls=0, calls_per_second=0)
    assert (answer["max_calls"], answer["calls_per_second"]) == (200, 50)


async def test_the_default_number_is_the_customers(api: Api) -> None:
    _, page = await api.call("GET", "/v1.0/numbers")
    number_id = page["result"][0]["id"]
    key = api.settings.accesskey.get_secret_value()
    status, answer = await put(api, key, default_outgoing_source_number_id=number_id)
    assert (status, answer["default_outgoing_source_number_id"]) == (200, number_id)
    _, customer = await api.call("GET", "/v1.0/customer")
    assert customer["default_outgoing_source_number_id"] == number_id
    status, _ = await put(api, key, default_outgoing_source_number_id="00000000-0000-0000-0000-000000000000")
    assert status == 200
    _, customer = await api.call("GET", "/v1.0/customer")
    assert customer["default_outgoing_source_number_id"] == "00000000-0000-0000-0000-000000000000"


async def test_without_the_permission_nothing_is_changed(api: Api) -> None:
    customer_id, _ = await api.another_customer(permission=Permission.CUSTOMER_AGENT)
    async with api.session.post(
        f"{api.url}/auth/login", json={"username": f"agent-{customer_id}", "password": ADMIN_PASSWORD}
    ) as response:
        token = (await response.json())["token"]
    assert (await put(api, token, destination_whitelist=["all"]))[0] == 403
    assert (await api.call("GET", PATH, key=token))[0] == 200


async def test_codecs_of_sip_addresses_are_kept_as_they_are_called(api: Api) -> None:
    _, key = await api.another_customer()
    assert (await api.call("GET", PATH, key=key))[1]["codecs"] == ""
    status, answer = await put(api, key, codecs=" opus,pcmu, PCMU")
    assert (status, answer["codecs"]) == (200, "opus,PCMU")
    assert (await put(api, key, codecs=""))[1]["codecs"] == ""
