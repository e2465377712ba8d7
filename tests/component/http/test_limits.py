"""Limits of requests as they are felt, shown, and set for one customer by the administrator of the installation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from tests.component.http.conftest import ADMIN_PASSWORD, Api

from ringline.billing import tiers
from ringline.calls.limits import Caps, Limits
from ringline.calls.pacing import Pacing
from ringline.calls.tally import Tally
from ringline.clock import SystemClock
from ringline.events.sockets import Sockets
from ringline.http import Permission, Readiness, Server, create_app
from ringline.limits.directory import Defaults, LimitDirectory
from ringline.limits.http import limit_routes
from ringline.limits.requests import Rate, Requests
from ringline.limits.service import Fixed, LimitService
from ringline.outbound import OutboundDirectory


@dataclass
class World:
    """An API of its own, in which customers may send one request a second and 10 at once."""

    api: Api
    url: str
    limits: Limits
    pacing: Pacing

    async def ask(self, key: str, path: str = "/v1.0/limits", method: str = "GET", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        async with self.api.session.request(method, self.url + path, headers=headers, **more) as response:
            return response.status, await response.json(), response.headers

    async def limit(self, key: str, name: str) -> dict[str, Any]:
        status, answer, _ = await self.ask(key)
        assert status == 200, answer
        return next(one for one in answer["result"] if one["name"] == name)


@pytest.fixture
async def world(api: Api) -> AsyncIterator[World]:
    database = api.database
    defaults = Defaults(Rate(1, 10), Rate(1, 10), 100)
    directory, outbound = LimitDirectory(database, defaults), OutboundDirectory(database)
    await directory.start()
    await outbound.start()
    requests = Requests(directory.requests, directory.credential_requests)
    directory.watchers.append(requests.changed)
    limits = Limits(Tally(), outbound.of, Caps(50, 20))
    pacing = Pacing(database, limits, None, SystemClock(), bound=directory.waiting_calls)  # type: ignore[arg-type]
    service = LimitService(
        database,
        directory,
        requests,
        limits,
        pacing,
        outbound,
        api.customers,
        Fixed(0, 1.0, 3600),
        sockets=Sockets(database, per_customer=7),
    )
    app = create_app(
        limit_routes(service),
        settings=api.settings,
        authenticator=api.authentication,
        readiness=Readiness(),
        rates=requests,
    )
    server = Server(app, "127.0.0.1", 0, grace=1.0)
    await server.start()
    yield World(api, f"http://127.0.0.1:{server.port}", limits, pacing)
    await server.close()
    await outbound.close()
    await directory.close()


async def _administrator(api: Api) -> str:
    """A login of the administrator of the installation."""
    body = {"username": "admin", "password": ADMIN_PASSWORD}
    status, answer = await api.call("POST", "/auth/login", key=None, json=body)
    assert status == 200, answer
    api.session.cookie_jar.clear()
    return str(answer["token"])


async def test_beyond_the_rate_requests_are_refused_and_each_answer_says_what_is_left(world: World) -> None:
    _, key = await world.api.another_customer()
    answers = await asyncio.gather(*(world.ask(key) for _ in range(100)))
    statuses = [status for status, *_ in answers]
    assert 10 <= statuses.count(200) < 100
    for status, answer, headers in answers:
        assert headers["X-RateLimit-Limit"] == "10"
        assert 0 <= int(headers["X-RateLimit-Remaining"]) < 10
        assert int(headers["X-RateLimit-Reset"]) > 0
        assert headers["RateLimit"].startswith('"')
        if status == 429:
            assert answer["error"]["reason"] == "RATE_LIMIT_EXCEEDED"
            assert int(headers["Retry-After"]) >= 1
    # somebody else's are not touched
    _, other = await world.api.another_customer()
    assert (await world.ask(other))[0] == 200


async def test_all_limits_are_shown_with_their_use(world: World) -> None:
    customer_id, key = await world.api.another_customer()
    _, answer, _ = await world.ask(key)
    assert answer["customer_id"] == str(customer_id)
    shown = {one["name"]: one for one in answer["result"]}
    assert (shown["requests"]["limit"], shown["requests"]["burst"]) == (1, 10)
    assert shown["requests"]["remaining"] == 9
    assert (shown["calls_at_once"]["limit"], shown["calls_at_once"]["used"]) == (50, 0)
    assert shown["calls_per_second"]["limit"] == 20
    assert (shown["waiting_calls"]["limit"], shown["waiting_calls"]["used"]) == (100, 0)
    assert (shown["websockets"]["limit"], shown["websockets"]["used"]) == (7, 0)
    assert shown["calls_per_account"]["limit"] is None
    allowed = tiers.limit(answer["plan_type"], "agents")
    assert (shown["agents"]["used"], shown["agents"]["limit"]) == (1, allowed)
    assert shown["agents"]["remaining"] == (None if allowed is None else allowed - 1)
    with world.pacing.admit(customer_id, 25, 10):
        assert (await world.limit(key, "waiting_calls"))["used"] == 5
        assert (await world.limit(key, "calls_at_once"))["used"] == 20


async def test_the_administrator_sets_one_customer_s_limits(world: World) -> None:
    customer_id, key = await world.api.another_customer()
    token = await _administrator(world.api)
    path = f"/v1.0/customers/{customer_id}/limits"
    change = {"requests_per_second": 100, "waiting_calls": 7, "max_calls": 3, "calls_per_second": 2}
    status, answer, _ = await world.ask(token, path, "PUT", json=change)
    assert status == 200, answer
    wanted = {"customer_id": str(customer_id), **change, "requests_burst": 200}
    assert answer == wanted
    assert (await world.ask(token, path))[1] == wanted
    statuses = [status for status, *_ in await asyncio.gather(*(world.ask(key) for _ in range(60)))]
    assert statuses == [200] * 60
    assert world.limits.caps(customer_id) == Caps(3, 2)
    assert world.pacing.bound(customer_id) == 7
    # what is left out stays, and 0 is the installation's
    status, answer, _ = await world.ask(token, path, "PUT", json={"requests_per_second": 0, "max_calls": 0})
    assert (answer["requests_per_second"], answer["requests_burst"]) == (1, 10)
    assert (answer["max_calls"], answer["calls_per_second"], answer["waiting_calls"]) == (50, 2, 7)


async def test_nobody_else_sets_or_sees_them(world: World) -> None:
    customer_id, key = await world.api.another_customer(Permission.CUSTOMER_ADMIN)
    path = f"/v1.0/customers/{customer_id}/limits"
    for method in ("GET", "PUT"):
        status, answer, _ = await world.ask(key, path, method, json={} if method == "PUT" else None)
        assert (status, answer["error"]["reason"]) == (403, "PERMISSION_DENIED")
    token = await _administrator(world.api)
    for method in ("GET", "PUT"):
        unknown = f"/v1.0/customers/{uuid4()}/limits"
        status, answer, _ = await world.ask(token, unknown, method, json={} if method == "PUT" else None)
        assert (status, answer["error"]["reason"]) == (404, "CUSTOMER_NOT_FOUND")


@pytest.mark.parametrize(
    "body",
    [
        {"requests_per_second": -1},
        {"requests_per_second": "5"},
        {"max_calls": 1_000_001},
        {"waiting_calls": 1.5},
        {"request": 5},
    ],
)
async def test_what_is_no_limit_is_refused(world: World, body: dict[str, Any]) -> None:
    customer_id, _ = await world.api.another_customer()
    token = await _administrator(world.api)
    path = f"/v1.0/customers/{customer_id}/limits"
    status, answer, _ = await world.ask(token, path, "PUT", json=body)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
