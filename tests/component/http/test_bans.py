"""The ban table by the API: the administrator's alone, as Kamailio has it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import ADMIN_PASSWORD, Api


@pytest.fixture
async def token(api: Api) -> str:
    body = {"username": api.settings.admin_username, "password": ADMIN_PASSWORD}
    async with api.session.post(f"{api.url}/auth/login", json=body) as response:
        return str((await response.json())["token"])


@pytest.fixture(autouse=True)
def as_it_was(api: Api) -> Iterator[None]:
    """Kamailio is every test's."""
    yield
    api.edge.away = False
    api.edge.answers.clear()


def banned(api: Api, **bans: str) -> None:
    slot = [{"name": name.replace("_", ":"), "value": value} for name, value in bans.items()]
    api.edge.answers["htable.dump"] = [{"entry": 0, "slot": slot}]


async def test_the_administrator_reads_makes_and_lifts_bans(api: Api, token: str) -> None:
    until = int(time.time()) + 600
    banned(api, **{"192.0.2.7": f"{until},unproven,scanner", "2001_db8__7": f"{until + 9},proven,password"})
    status, page = await api.call("GET", "/v1.0/bans", key=token)
    assert (status, page["next_page_token"]) == (200, "")
    assert [(ban["address"], ban["reason"], ban["proven"]) for ban in page["result"]] == [
        ("192.0.2.7", "scanner", False),
        ("2001:db8::7", "password", True),
    ]
    assert all(ban["tm_expire"].endswith("Z") for ban in page["result"])
    status, lifted = await api.call("DELETE", "/v1.0/bans/2001:db8::7", key=token)
    assert (status, lifted["reason"]) == (200, "password")
    status, made = await api.call(
        "POST", "/v1.0/bans", key=token, json={"address": " 192.0.2.9", "seconds": 60}
    )
    assert (status, made["address"], made["reason"], made["proven"]) == (200, "192.0.2.9", "operator", True)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("DELETE", "/v1.0/bans/192.0.2.8", None, 404, "BAN_NOT_FOUND"),
        ("DELETE", "/v1.0/bans/everybody", None, 400, "INVALID_ARGUMENT"),
        ("DELETE", f"/v1.0/bans/{'9' * 900}", None, 400, "INVALID_ARGUMENT"),
        ("POST", "/v1.0/bans", {"address": "192.0.2.0/24"}, 400, "INVALID_ARGUMENT"),
        ("POST", "/v1.0/bans", {"address": "192.0.2.1", "seconds": 0}, 400, "INVALID_ARGUMENT"),
    ],
)
async def test_what_is_wrong_is_said(
    api: Api, token: str, method: str, path: str, body: Any, status: int, reason: str
) -> None:
    banned(api)
    more = {} if body is None else {"json": body}
    found, answer = await api.call(method, path, key=token, **more)
    assert (found, answer["error"]["reason"]) == (status, reason), answer


async def test_nobody_else_may(api: Api) -> None:
    for method, path in (("GET", "/v1.0/bans"), ("DELETE", "/v1.0/bans/192.0.2.1")):
        assert (await api.call(method, path))[0] == 403
        assert (await api.call(method, path, key=None))[0] == 401


async def test_a_kamailio_that_is_away_is_told(api: Api, token: str) -> None:
    api.edge.away = True
    assert (await api.call("GET", "/v1.0/bans", key=token))[0] == 503
