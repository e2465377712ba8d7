"""The API while PostgreSQL is away, and after it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from sqlalchemy import insert
from tests.component.conftest import postgres_server, until_postgres
from tests.component.http.conftest import open_api

from ringline.http import utc_now
from ringline.numbers.tables import numbers
from ringline.storage import Database, migrate


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.1)


async def test_requests_are_refused_for_the_moment_and_served_again() -> None:
    with postgres_server() as (container, url):
        await until_postgres(url)
        await migrate.upgrade(url)
        database = Database(url)
        async with open_api(database) as api:
            assert (await api.call("GET", "/v1.0/numbers"))[0] == 200
            assert (await api.call("GET", "/readyz"))[0] == 200

            container.get_wrapped_container().stop(timeout=10)
            async with api.session.get(
                f"{api.url}/v1.0/numbers", params={"accesskey": api.settings.accesskey.get_secret_value()}
            ) as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"
                assert (await response.json())["error"]["status"] == "UNAVAILABLE"
            # Who asks is still known, and so is what calls need to know of numbers.
            assert (await api.call("GET", "/v1.0/numbers", key="vb_unknown"))[0] == 401
            assert (await api.call("PUT", "/v1.0/customer", json={"nam": "x"}))[0] == 400
            assert api.numbers.owned(api.customer_id, "+15551234567") is not None
            await asyncio.sleep(0.6)  # readiness is asked at most twice a second
            status, body = await api.call("GET", "/readyz")
            assert (status, body["parts"]["database"]["ok"]) == (503, False)
            assert (await api.call("GET", "/healthz"))[0] == 200

            container.get_wrapped_container().start()
            await until_postgres(url)

            async def served() -> bool:
                return (await api.call("GET", "/v1.0/numbers"))[0] == 200

            await _until(served)
            number_id = uuid4()
            async with database.begin() as connection:
                await connection.execute(
                    insert(numbers).values(
                        id=number_id,
                        customer_id=api.customer_id,
                        number="+15550001111",
                        type="normal",
                        status="active",
                        tm_create=utc_now(),
                    )
                )

            async def followed() -> bool:
                return api.numbers.by_number("+15550001111") is not None

            await _until(followed)
        await database.close()
