"""Logging in, and every way to carry a credential."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import jwt
import pytest
from sqlalchemy import update
from tests.component.http.conftest import ADMIN_PASSWORD, SECRET, Api

from ringline.customers.tables import agents, customers
from ringline.http import utc_now


async def _login(api: Api, username: str = "admin", password: str = ADMIN_PASSWORD) -> tuple[int, Any, Any]:
    async with api.session.post(
        f"{api.url}/auth/login", json={"username": username, "password": password}
    ) as response:
        cookie = response.cookies.get("token")
        api.session.cookie_jar.clear()
        return response.status, await response.json(), cookie


async def test_a_login_gives_a_token_and_a_cookie(api: Api) -> None:
    status, body, cookie = await _login(api)
    assert status == 200
    assert body == {"username": "admin", "token": cookie.value}
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert not cookie["secure"]  # this connection is no TLS
    assert int(cookie["max-age"]) == 7 * 24 * 3600


async def test_the_token_is_accepted_in_query_header_and_cookie(api: Api) -> None:
    _, body, _ = await _login(api)
    token = body["token"]
    for where in (
        {"params": {"token": token}},
        {"headers": {"Authorization": f"Bearer {token}"}},
        {"headers": {"Cookie": f"token={token}"}},
    ):
        status, answer = await api.call("GET", "/v1.0/customer", key=None, **where)  # type: ignore[arg-type]
        assert (status, answer["id"]) == (200, str(api.customer_id)), where


async def test_an_access_key_is_accepted_in_its_query_parameter_and_header_only(api: Api) -> None:
    key = api.settings.accesskey.get_secret_value()
    assert (await api.call("GET", "/v1.0/customer", key=None, params={"accesskey": key}))[0] == 200
    assert (await api.call("GET", "/v1.0/customer", key=key))[0] == 200
    status, answer = await api.call("GET", "/v1.0/customer", key=None, params={"token": key})
    assert (status, answer["error"]["reason"]) == (401, "INVALID_CREDENTIALS")
    assert "`accesskey`" in answer["error"]["message"]
    _, body, _ = await _login(api)
    status, answer = await api.call("GET", "/v1.0/customer", key=None, params={"accesskey": body["token"]})
    assert (status, answer["error"]["reason"]) == (401, "INVALID_CREDENTIALS")


async def test_no_credential(api: Api) -> None:
    status, answer = await api.call("GET", "/v1.0/numbers", key=None)
    assert (status, answer["error"]["reason"]) == (401, "AUTHENTICATION_REQUIRED")
    assert answer["error"]["request_id"].startswith("req_")


def _forged(**changes: Any) -> str:
    claims = {
        "iss": "ringline",
        "aud": "ringline-api",
        "sub": str(uuid4()),
        "iat": int(time.time()),
        "exp": int(time.time()) + 60,
        **changes,
    }
    return jwt.encode(claims, SECRET, algorithm="HS256")


@pytest.mark.parametrize(
    "token",
    [
        "garbage",
        "vb_" + "x" * 40,
        "a.b.c",
        _forged(),
        _forged(exp=int(time.time()) - 10),
        jwt.encode({"sub": str(uuid4())}, "another secret of thirty-two bytes", algorithm="HS256"),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
        "x" * 5000,
    ],
)
async def test_a_wrong_credential(api: Api, token: str) -> None:
    status, answer = await api.call("GET", "/v1.0/customer", key=token)
    assert (status, answer["error"]["reason"]) == (401, "INVALID_CREDENTIALS")


async def test_a_token_with_the_right_key_id_and_a_wrong_signature(api: Api) -> None:
    _, body, _ = await _login(api)
    head, claims, signature = body["token"].split(".")
    changed = signature[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BBBB")
    status, answer = await api.call("GET", "/v1.0/customer", key=f"{head}.{claims}.{changed}")
    assert (status, answer["error"]["reason"]) == (401, "INVALID_CREDENTIALS")


async def test_wrong_password_and_unknown_name_are_answered_alike(api: Api) -> None:
    wrong = await _login(api, password="wrong")
    unknown = await _login(api, username="nobody")
    assert wrong[0] == unknown[0] == 401
    assert wrong[1]["error"]["reason"] == unknown[1]["error"]["reason"] == "INVALID_CREDENTIALS"
    assert wrong[1]["error"]["message"] == unknown[1]["error"]["message"]


async def test_the_name_is_not_case_sensitive(api: Api) -> None:
    assert (await _login(api, username="Admin"))[0] == 200


@pytest.mark.parametrize("body", [{}, {"username": "admin"}, {"username": 1, "password": "x"}, []])
async def test_an_incomplete_login_is_a_bad_request(api: Api, body: object) -> None:
    status, answer = await api.call("POST", "/auth/login", key=None, json=body)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_many_attempts_are_slowed_down(api: Api) -> None:
    name = f"guessed-{uuid4()}"
    # at once: each takes long enough on a busy machine for another attempt to be allowed meanwhile
    answers = await asyncio.gather(*(_login(api, username=name) for _ in range(14)))
    statuses = [status for status, *_ in answers]
    assert 10 <= statuses.count(401) < 14
    assert set(statuses) == {401, 429}
    async with api.session.post(
        f"{api.url}/auth/login", json={"username": name, "password": "x"}
    ) as response:
        assert response.status == 429
        assert int(response.headers["Retry-After"]) >= 1
        assert (await response.json())["error"]["reason"] == "RATE_LIMIT_EXCEEDED"


async def test_auth_below_v1_does_not_exist(api: Api) -> None:
    status, answer = await api.call(
        "POST", "/v1.0/auth/login", key=None, json={"username": "admin", "password": ADMIN_PASSWORD}
    )
    assert (status, answer["error"]["reason"]) == (404, "ROUTE_NOT_FOUND")


async def test_a_deleted_agent_s_token_ends(api: Api) -> None:
    customer_id, _ = await api.another_customer()
    _, body, _ = await _login(api, username=f"agent-{customer_id}")
    assert (await api.call("GET", "/v1.0/customer", key=body["token"]))[0] == 200
    async with api.database.begin() as connection:
        row = (
            await connection.execute(
                update(agents)
                .where(agents.c.customer_id == customer_id)
                .values(tm_delete=utc_now())
                .returning(agents.c.id)
            )
        ).one()
    await api.agents.refresh(row.id)
    assert (await api.call("GET", "/v1.0/customer", key=body["token"]))[0] == 401


async def test_a_frozen_account_is_told_so(api: Api) -> None:
    customer_id, key = await api.another_customer()
    async with api.database.begin() as connection:
        await connection.execute(
            update(customers).where(customers.c.id == customer_id).values(status="frozen")
        )
    await api.customers.refresh(customer_id)
    status, answer = await api.call("GET", "/v1.0/customer", key=key)
    assert (status, answer["error"]["reason"]) == (403, "ACCOUNT_FROZEN")
