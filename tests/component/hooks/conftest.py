"""The webhook intake on a real database behind a real socket, with vendors that sign by a shared word."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import orjson
import pytest

from ringline.clock import SystemClock
from ringline.errors import Unauthenticated
from ringline.hooks import Dealer, Intake, hook_routes
from ringline.hooks.store import hook_events
from ringline.http import Credential, Principal, Readiness, Server, create_app
from ringline.settings import Settings
from ringline.storage import Database
from ringline.vendors.base import Vendor
from ringline.vendors.errors import HookRefused
from ringline.vendors.events import Consumers, Event, Hook, OrderChanged, TextArrived
from ringline.vendors.models import Order
from ringline.vendors.registry import Vendors

PUBLIC_URL = "https://edge.example/ringline"


class Nobody:
    """Knows no credential."""

    def authenticate(self, credential: Credential) -> Principal:
        raise Unauthenticated("no", reason="INVALID_CREDENTIALS")


class PlainVendor(Vendor):
    """Reads JSON arrays of ``{"order": id, "number": ...}`` and ``{"text": id, ...}``."""

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc] - a class for each name would say nothing more
        self.hooks: list[Hook] = []

    def read_hook(self, hook: Hook) -> list[Event]:
        self.hooks.append(hook)
        if hook.headers.get("signature") != "right":
            raise HookRefused("signature is not right")
        events: list[Event] = []
        for said in orjson.loads(hook.body):
            if "order" in said:
                order = Order(said.get("state", "done"), reference="r", reason=said.get("reason", ""))
                events.append(OrderChanged(said["order"], UUID(int=1), said["number"], order))
            elif "text" in said:
                events.append(TextArrived(said["text"], "t", "+15550000001", "+15550000002", said["body"]))
        return events


class TalkingVendor(PlainVendor):
    """One that wants an answer of its own."""

    hook_answer = ("text/xml", "<Response/>")


class House:
    """Everything that takes webhooks in, and what was dealt with: ``dealt``."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.vendor = PlainVendor("telnyx")
        self.dealt: list[tuple[str, Any]] = []
        self.consumers = Consumers(order=self.deal)
        self.fail: Callable[[Any], Awaitable[None]] | None = None
        self.clock = SystemClock()
        vendors = Vendors([self.vendor, TalkingVendor("twilio")])
        self.dealer = Dealer(database, self.clock, self.consumers)
        self.intake = Intake(database, self.clock, vendors, self._wake)
        app = create_app(
            hook_routes(self.intake, PUBLIC_URL),
            settings=Settings(),
            authenticator=Nobody(),
            readiness=Readiness(),
        )
        self.server = Server(app, "127.0.0.1", 0, grace=1.0)
        self.session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=90), connector=aiohttp.TCPConnector(limit=64)
        )

    async def start(self) -> None:
        await self.server.start()

    async def close(self) -> None:
        await self.session.close()
        await self.server.close()
        await self.intake.close()
        await self.dealer.close()

    async def deal(self, vendor: str, event: Any) -> None:
        if self.fail is not None:
            await self.fail(event)
        self.dealt.append((vendor, event))

    def _wake(self) -> None:
        self.dealer.wake()

    def restarted(self) -> None:
        """Another process's dealer takes the place of the one that is gone."""
        self.dealer = Dealer(self.database, self.clock, self.consumers)

    async def post(
        self, said: Any, *, vendor: str = "telnyx", signature: str = "right", path: str = ""
    ) -> tuple[int, bytes, str]:
        async with self.session.post(
            f"http://127.0.0.1:{self.server.port}/hooks/{vendor}{path}",
            data=said if isinstance(said, bytes) else orjson.dumps(said),
            headers={"Signature": signature, "Content-Type": "text/plain; odd"},
        ) as response:
            return response.status, await response.read(), response.content_type

    async def rows(self) -> list[Any]:
        async with self.database.connect() as connection:
            return list(await connection.execute(hook_events.select().order_by(hook_events.c.id)))

    async def until(self, true: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it did not come about"
            await asyncio.sleep(0.01)


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    async with database.connect() as connection:
        await connection.execute(hook_events.delete())
    house = House(database)
    await house.start()
    yield house
    await house.close()


def order(event_id: str = "", number: str = "+15550000001", **more: str) -> dict[str, str]:
    return {"order": event_id or str(uuid4()), "number": number, **more}
