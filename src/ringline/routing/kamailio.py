"""Kamailio's JSON-RPC, spoken over HTTP on loopback (``kamailio-config/control.cfg``)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import orjson
import structlog

from ringline.errors import Unavailable

log = structlog.get_logger(__name__)

# What is known of a provider before the gateway that leads to it, and groups last: a customer's new group is looked
# up only when its rules are there.
_ROUTES: tuple[tuple[str, ...], ...] = (
    ("permissions.addressReload",),
    ("htable.reload", "provider"),
    ("htable.reload", "provider_secret"),
    ("drouting.reload",),
    ("htable.reload", "route_group"),
)
_ACCOUNTS: tuple[tuple[str, ...], ...] = (("htable.reload", "realm"), ("htable.reload", "trunk"))


class KamailioUnavailable(Unavailable):
    """503: Kamailio does not answer now, or not in time."""


class KamailioRefused(Unavailable):
    """503: Kamailio answered that it cannot do it (now); the message is its own."""


class KamailioRpc:
    """One Kamailio's control interface. ``url`` ends in ``/rpc``; ``timeout`` is in seconds and for one request.

    A reload may take longer, up to ``reload_timeout``: Kamailio resolves the providers' names while it reads them.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        timeout: float = 2.0,
        reload_timeout: float = 10.0,
        retry_delay: float = 0.5,
        attempts: int = 8,
    ) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._reload_timeout = aiohttp.ClientTimeout(total=reload_timeout)
        self._retry_delay = retry_delay
        self._attempts = attempts
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None
        self._routes = _Reload(self._insist, _ROUTES)
        self._accounts = _Reload(self._insist, _ACCOUNTS)

    async def call(self, method: str, *params: str | int) -> Any:
        """Run one RPC method and return its result.

        Raises ``KamailioUnavailable`` when nothing answers, ``KamailioRefused`` when the answer is an error.
        """
        return await self._call(method, params, self._timeout)

    async def ping(self) -> None:
        """Raise unless Kamailio answers."""
        await self.call("core.uptime")

    async def statistics(self) -> dict[str, int]:
        """The edge's counters since its start: ``stranger``, ``failover``, ``no_route``, ..."""
        lines = await self.call("stats.get_statistics", "script:")
        found = {}
        for line in lines if isinstance(lines, list) else ():
            name, _, value = str(line).partition("=")
            name = name.strip().removeprefix("script:")
            if name.startswith("edge_") and value.strip().isdigit():
                found[name.removeprefix("edge_")] = int(value)
        return found

    async def table(self, name: str) -> dict[str, str | int]:
        """What is in one of its hash tables now."""
        found: dict[str, str | int] = {}
        slots = await self.call("htable.dump", name)
        for slot in slots if isinstance(slots, list) else ():
            for item in slot.get("slot", ()):
                found[str(item["name"])] = item["value"]
        return found

    async def reload_routes(self) -> None:
        """Have Kamailio read addresses, gateways and routes again, and return when what is committed now is in force.

        Calls at the same time share one reload, those during a reload the next one. What Kamailio refuses or
        does not answer is tried again for some seconds; then ``Unavailable`` is raised.
        """
        await self._routes.run()

    async def reload_accounts(self) -> None:
        """Have Kamailio read digest realms and the addresses of trunks again, as ``reload_routes`` does.

        Users and their secrets it reads with each request.
        """
        await self._accounts.run()

    async def close(self) -> None:
        """End a reload that is under way and close the connection."""
        await self._routes.close()
        await self._accounts.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(self, method: str, params: Sequence[str | int], limit: aiohttp.ClientTimeout) -> Any:
        request = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": next(self._ids)}
        try:
            async with self._open().post(
                self._url, data=orjson.dumps(request), headers=self._headers, timeout=limit
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KamailioUnavailable(
                f"Kamailio does not answer at {self._url}: {error or 'timeout'}"
            ) from error
        if response.status in (401, 404):
            raise KamailioRefused(
                f"Kamailio does not let us in (HTTP {response.status}): is its secret ours?"
            )
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise KamailioRefused(
                f"Kamailio's answer to {method} is no JSON (HTTP {response.status})"
            ) from error
        if not isinstance(answer, dict) or "error" in answer:
            detail = answer.get("error") if isinstance(answer, dict) else answer
            message = detail.get("message") if isinstance(detail, dict) else detail
            raise KamailioRefused(f"Kamailio refused {method}: {message}")
        return answer.get("result")

    async def _insist(self, method: str, *params: str) -> None:
        for attempt in itertools.count(1):
            try:
                result = await self._call(method, params, self._reload_timeout)
                # drouting reports a failure as the text of a success.
                if isinstance(result, str) and "failed" in result:
                    raise KamailioRefused(f"Kamailio refused {method}: {result}")
            except Unavailable as error:
                if attempt >= self._attempts:
                    raise
                log.warning("kamailio_reload_retry", method=method, attempt=attempt, error=error.message)
                await asyncio.sleep(self._retry_delay)
            else:
                return

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A connection of its own for each request: Kamailio closes idle ones without a word.
            connector = aiohttp.TCPConnector(force_close=True, limit=4)
            self._session = aiohttp.ClientSession(timeout=self._timeout, connector=connector)
        return self._session


class _Reload:
    """Some tables of Kamailio that are read again together, however many ask for it at the same time."""

    def __init__(self, insist: Callable[..., Awaitable[None]], methods: Sequence[tuple[str, ...]]) -> None:
        self._insist = insist
        self._methods = methods
        self._running: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._after(self._running))
        await asyncio.shield(self._waiting)

    async def close(self) -> None:
        tasks = [task for task in (self._waiting, self._running) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _after(self, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await asyncio.wait([previous])
        self._running, self._waiting = self._waiting, None
        try:
            for method in self._methods:
                await self._insist(*method)
        finally:
            self._running = None
        log.info("kamailio_reloaded", tables=[method[-1] for method in self._methods])
