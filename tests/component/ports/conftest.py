"""Ports on a real database behind a real socket, at a vendor in memory that keeps its books."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.clock import SystemClock
from ringline.customers.tables import customers
from ringline.errors import Unauthenticated
from ringline.http import (
    Credential,
    DatabaseIdempotency,
    Permission,
    Principal,
    Readiness,
    Server,
    create_app,
    utc_now,
)
from ringline.numbers.acquiring import acquired
from ringline.numbers.ports import NumberPorts, PortService, PortSteps, port_routes, steps
from ringline.numbers.ports.tables import number_ports
from ringline.settings import Settings
from ringline.storage import Database
from ringline.vendors.base import Vendor
from ringline.vendors.errors import VendorError, VendorRefused, VendorUncertain
from ringline.vendors.events import PortChanged
from ringline.vendors.models import Capability, Port, PortProgress, PortState
from ringline.vendors.registry import Vendors

PDF = b"%PDF-1.4\n" + b"x" * 500 + b"\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 40 + b"\0\0\0\0IEND\xaeB`\x82"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\0" * 40 + b"\xff\xd9"


class PortingVendor(Vendor):
    """Takes any port. ``before`` and ``after`` a request is done a test may raise, wait or do something."""

    name: ClassVar[str] = "sandbox"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.PORT})

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.ports: dict[str, Port] = {}
        self.states: dict[str, PortProgress] = {}
        self.references: dict[UUID, str] = {}
        self.before: dict[str, list[Any]] = {}
        self.after: dict[str, list[Any]] = {}
        self.cancels = True

    def reference(self, port_id: str) -> str:
        """Of the port with the customer's id, as it was submitted first."""
        return self.references[UUID(port_id)]

    def say(self, reference: str, state: PortState, **more: Any) -> None:
        """What is found from now on."""
        self.states[reference] = replace(self.states[reference], **{"reason": "", **more, "state": state})

    async def port(self, port: Port) -> PortProgress:
        await self._play("port", self.before)
        if port.id in self.references:
            return self.states[self.references[port.id]]
        self.asked["ported"] += 1
        reference = f"p-{port.id}"
        self.references[port.id] = reference
        self.ports[reference] = port
        self.states[reference] = PortProgress("submitted", reference)
        await self._play("port", self.after)
        return self.states[reference]

    async def find_port(self, port: Port, reference: str) -> PortProgress | None:
        await self._play("find", self.before)
        return self.states.get(reference or self.references.get(port.id, ""))

    async def cancel_port(self, port: Port, reference: str) -> PortProgress:
        await self._play("cancel", self.before)
        if not self.cancels:
            raise VendorRefused("the old carrier has done it")
        self.say(reference, "cancelled")
        return self.states[reference]

    async def _play(self, what: str, scripts: dict[str, list[Any]]) -> None:
        self.asked[what] += scripts is self.before
        script = scripts.get(what)
        if script:
            step = script.pop(0)
            if isinstance(step, VendorError):
                raise step
            await step()


@dataclass(frozen=True, slots=True)
class Owner:
    """A customer, and how its requests are told from others'."""

    id: UUID
    key: str


class Keys:
    """Access keys are the ids of customers; ``agent <id>`` may only read."""

    def authenticate(self, credential: Credential) -> Principal:
        kind, _, text = credential.token.rpartition("-as-")
        try:
            customer_id = UUID(text)
        except ValueError:
            raise Unauthenticated("no", reason="INVALID_CREDENTIALS") from None
        permission = Permission.CUSTOMER_AGENT if kind == "agent" else Permission.CUSTOMER_ADMIN
        return Principal(customer_id, None, None, permission)


class House:
    """The API of ports, its worker and its vendor."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SystemClock()
        self.vendor = PortingVendor()
        self.flows: set[UUID] = set()
        self.told: list[UUID] = []
        self.ports = self._ports()
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        service = PortService(database, Vendors([self.vendor]), self.clock, self._flow_exists, self._wake)
        app = create_app(
            port_routes(service),
            settings=Settings(),
            authenticator=Keys(),
            readiness=Readiness(),
            idempotency=DatabaseIdempotency(database),
        )
        self.server = Server(app, "127.0.0.1", 0, grace=1.0)

    async def start(self) -> None:
        await self.server.start()

    async def close(self) -> None:
        await self.session.close()
        await self.server.close()
        await self.ports.close()

    async def restart(self) -> None:
        """The controller dies without a word, and another one starts."""
        await self.ports._rounds.close()
        tasks = list(self.ports._working.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with self.database.begin() as connection:
            # its leases are over
            await connection.execute(
                number_ports.update().where(number_ports.c.tm_lease.is_not(None)).values(tm_lease=utc_now())
            )
        self.ports = self._ports()
        await self.ports.start()

    async def customer(self) -> Owner:
        customer_id = uuid4()
        async with self.database.begin() as connection:
            await connection.execute(
                customers.insert().values(id=customer_id, domain_label=uuid4().hex, tm_create=utc_now())
            )
        return Owner(customer_id, f"admin-as-{customer_id}")

    async def call(
        self, owner: Owner, method: str, path: str = "", *, key: str = "", **more: Any
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key or owner.key}", **more.pop("headers", {})}
        url = f"http://127.0.0.1:{self.server.port}/v1.0/number_ports{path}"
        async with self.session.request(method, url, headers=headers, **more) as response:
            return response.status, await response.json()

    async def made(self, owner: Owner, *, letter: bool = True, **more: Any) -> Any:
        status, port = await self.call(owner, "POST", json=wanted(letter=letter, **more))
        assert status == 200, port
        return port

    async def status(self, owner: Owner, port_id: str, *wanted: str, seconds: float = 60.0) -> Any:
        """The port, once it is in one of these states."""
        deadline = time.monotonic() + seconds
        while True:
            _, port = await self.call(owner, "GET", f"/{port_id}")
            if port["status"] in wanted:
                return port
            assert time.monotonic() < deadline, port
            await asyncio.sleep(0.02)

    async def until(self, true: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it did not come about"
            await asyncio.sleep(0.02)

    async def report(self, port_id: UUID | str | None, reference: str = "") -> None:
        """A webhook: it says only that there is something to see."""
        event = PortChanged(
            str(uuid4()),
            None if port_id is None else UUID(str(port_id)),
            PortProgress("submitted", reference),
        )
        await self.ports.changed("sandbox", event)

    def _wake(self) -> None:
        self.ports.wake()

    async def _flow_exists(self, customer_id: UUID, flow_id: UUID) -> bool:
        return flow_id in self.flows

    async def _hold_flow(self, connection: AsyncConnection, customer_id: UUID, flow_id: UUID) -> bool:
        assert connection.in_transaction()
        return flow_id in self.flows

    async def _acquired(self, number_ids: list[UUID]) -> None:
        self.told += number_ids

    def _ports(self) -> NumberPorts:
        made = PortSteps(
            self.database,
            Vendors([self.vendor]),
            self.clock,
            acquire=acquired,
            acquired=self._acquired,
            hold_flow=self._hold_flow,
        )
        return NumberPorts(self.database, self.clock, made)


@pytest.fixture
async def idle(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house whose worker does not run yet; times are short."""
    monkeypatch.setattr(steps, "SETTLE", timedelta(seconds=0.3))
    monkeypatch.setattr(steps, "FIRST_LOOK", 0.2)
    async with database.begin() as connection:
        await connection.execute(number_ports.delete())
    house = House(database)
    await house.start()
    yield house
    await house.close()


@pytest.fixture
async def house(idle: House) -> House:
    await idle.ports.start()
    return idle


@pytest.fixture
async def owner(idle: House) -> Owner:
    return await idle.customer()


def lost() -> VendorUncertain:
    return VendorUncertain("the answer was cut off")


def number() -> str:
    """One that nobody has."""
    return f"+1415{uuid4().int % 10**7:07d}"


def wanted(*, letter: bool = True, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "numbers": [number()],
        "carrier": "Old Telephone",
        "account_number": "4711",
        "pin": "1234",
        "authorised_person": "Anna Example",
        "email": "anna@example.com",
        "owner": {
            "name": "Example Inc.",
            "street": "548 Market St",
            "city": "San Francisco",
            "region": "CA",
            "postal_code": "94104",
            "country": "US",
        },
    }
    if letter:
        body["letter"] = {"name": "letter.pdf", "content": base64.b64encode(PDF).decode()}
    return body | more
