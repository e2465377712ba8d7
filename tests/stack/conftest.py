"""What every test against the running stack needs: its environment, its API, its carrier, its Asterisk."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.stack.containers import Containers
from tests.stack.files import Files, allowed_address
from tests.stack.product import Product, eventually

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def env() -> Mapping[str, str]:
    """The test instance's ``.env.test``, as ``make test`` wrote it."""
    path = Path(os.environ.get("RINGLINE_ENV_FILE", CHECKOUT / ".env.test"))
    if not path.is_file():
        pytest.fail(f"{path} does not exist; 'make test' starts the test instance and writes it")
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value.strip().strip("'\"") for name, _, value in pairs}


class Api:
    """The REST API, with the first customer's access key in every request."""

    def __init__(self, session: aiohttp.ClientSession, url: str, accesskey: str) -> None:
        self._session = session
        self._url = url
        self._key = accesskey

    def of(self, accesskey: str) -> Api:
        """The same with another access key."""
        return Api(self._session, self._url, accesskey)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str = "",
        data: tuple[str, bytes] | None = None,
        **query: str,
    ) -> tuple[int, Any]:
        """Status and decoded body of one request. ``accesskey=""`` sends none; ``key``: ``Idempotency-Key``.

        ``data`` is the type and the content of a body that is not JSON.
        """
        query = {"accesskey": self._key, **query}
        headers = {"Idempotency-Key": key} if key else {}
        if data is not None:
            headers["Content-Type"] = data[0]
        async with self._session.request(
            method,
            self._url + path,
            json=body if data is None else None,
            data=None if data is None else data[1],
            params={name: value for name, value in query.items() if value},
            headers=headers,
        ) as response:
            text = await response.text()
            if response.content_type != "application/json":
                return response.status, text or None
            return response.status, json.loads(text)

    async def get(self, path: str, **query: str) -> Any:
        return await self._good("GET", path, None, **query)

    async def post(self, path: str, body: object = None, **query: str) -> Any:
        return await self._good("POST", path, body, **query)

    async def put(self, path: str, body: object = None, **query: str) -> Any:
        return await self._good("PUT", path, body, **query)

    async def delete(self, path: str, **query: str) -> Any:
        return await self._good("DELETE", path, None, **query)

    async def _good(self, method: str, path: str, body: object, **query: str) -> Any:
        status, answer = await self.call(method, path, body, **query)
        assert status == 200, f"{method} {path}: {status} {answer}"
        return answer

    async def wait_call(self, call_id: str, *statuses: str, within: float = 30.0) -> dict[str, Any]:
        """Poll one call until its status is one of these."""
        deadline = time.monotonic() + within
        while True:
            late = time.monotonic() > deadline
            call: dict[str, Any] = await self.get(f"/v1.0/calls/{call_id}")
            if call["status"] in statuses:
                return call
            assert not late, f"call is {call['status']}, not {statuses}: {call}"
            await asyncio.sleep(0.1)


@pytest.fixture(scope="session")
async def api(env: Mapping[str, str]) -> AsyncIterator[Api]:
    # the server closes what is idle for 15 s: a request must not meet that
    connector = aiohttp.TCPConnector(keepalive_timeout=5)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield Api(session, env["RINGLINE_API_URL"], env["RINGLINE_ACCESSKEY"])


class CarrierCalls:
    """The lines the sandbox carrier wrote since this test began."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._start)
            data = file.read()
        # The last line may still be in the writing.
        return [json.loads(line) for line in data.split(b"\n")[:-1] if line]

    async def wait(
        self,
        number: str = "",
        *,
        count: int = 1,
        within: float = 30.0,
        where: Callable[[dict[str, Any]], bool] = bool,
    ) -> list[dict[str, Any]]:
        """At least ``count`` lines of calls to ``number`` for which ``where`` holds."""
        deadline = time.monotonic() + within
        while True:
            late = time.monotonic() > deadline
            found = [line for line in self.lines() if number in ("", line["number"]) and where(line)]
            if len(found) >= count:
                return found
            assert not late, f"{len(found)} of {count} calls to {number} within {within} s"
            await asyncio.sleep(0.1)


@pytest.fixture
def carrier_calls(env: Mapping[str, str]) -> Iterator[CarrierCalls]:
    var = Path(env.get("RINGLINE_VAR_DIR", "var/test"))
    yield CarrierCalls(CHECKOUT / var / "carrier" / "calls.jsonl")


class AsteriskView:
    """What Asterisk itself says is going on, asked past Ringline."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def list(self, what: str) -> list[dict[str, Any]]:
        """``channels``, ``bridges``, ``applications``, ..."""
        async with self._session.get(f"{self._url}/ari/{what}") as response:
            assert response.status == 200, await response.text()
            found: list[dict[str, Any]] = await response.json()
            return found

    async def get(self, path: str) -> dict[str, Any]:
        """One resource."""
        async with self._session.get(f"{self._url}/ari/{path}") as response:
            assert response.status == 200, await response.text()
            found: dict[str, Any] = await response.json()
            return found

    async def post(self, what: str, **query: str) -> None:
        """Ask for something past Ringline."""
        async with self._session.post(f"{self._url}/ari/{what}", params=query) as response:
            assert response.status < 300, await response.text()

    async def delete(self, what: str) -> None:
        """End something past Ringline."""
        async with self._session.delete(f"{self._url}/ari/{what}") as response:
            assert response.status < 300, await response.text()

    async def wait_idle(self, within: float = 30.0) -> None:
        """Until there is no channel and no bridge."""

        async def idle() -> bool:
            left = [*await self.list("channels"), *await self.list("bridges")]
            assert not left, f"Asterisk still has {left}"
            return True

        # an Asterisk that was restarted does not answer at once
        await eventually(idle, "Asterisk is idle", within=within, every=0.2)


@pytest.fixture(scope="session")
async def ari(env: Mapping[str, str]) -> AsyncIterator[AsteriskView]:
    login = aiohttp.encode_basic_auth(env["RINGLINE_ARI_USERNAME"], env["RINGLINE_ARI_PASSWORD"])
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(headers={"Authorization": login}, timeout=timeout) as session:
        yield AsteriskView(session, env["RINGLINE_ARI_URL"])


@pytest.fixture(scope="session")
async def product(env: Mapping[str, str], api: Api, ari: AsteriskView) -> AsyncIterator[Product]:
    """Words for calls on top of the API."""
    product = Product(env, api, ari)
    yield product
    await product.close()


@pytest.fixture(scope="session")
def containers(env: Mapping[str, str]) -> Containers:
    """The instance's services, to be stopped and started."""
    return Containers(env)


@pytest.fixture(scope="module")
async def files(env: Mapping[str, str]) -> AsyncIterator[Files]:
    """A web server of sounds that the instance may fetch from."""
    server = await Files(allowed_address(env)).start()
    yield server
    await server.close()
