"""Publisher and workers on a database of their own, and endpoints on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from uuid import UUID, uuid4

import asyncpg
import pytest
import sqlalchemy as sa
from bench.receivers import Receiver
from pydantic import SecretStr

from ringline.clock import SystemClock
from ringline.events import Event, emit
from ringline.events.publisher import Publisher
from ringline.settings import Settings
from ringline.storage import Database
from ringline.webhooks.deliveries.tables import webhook_deliveries
from ringline.webhooks.endpoints.models import WebhookCreate
from ringline.webhooks.endpoints.tables import webhooks
from ringline.webhooks.room import Webhooks

SETTINGS = Settings(
    webhook_secret=SecretStr("a key of the test"), fetch_allowed_networks=[ip_network("127.0.0.0/8")]
)


class House:
    """A customer with endpoints, and everything between an event and them."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.clock = SystemClock()
        self.room = Webhooks(SETTINGS, self.database, self.clock)
        self.publisher = Publisher(self.database)
        self.publisher.steps.append(self.room.deliver)
        self.receivers: list[Receiver] = []

    async def start(self) -> None:
        await self.publisher.start()
        await self.room.worker.start()

    async def close(self) -> None:
        await self.publisher.close()
        await self.room.close()
        for receiver in self.receivers:
            await receiver.close()
        await self.database.close()

    async def customer(self, plan: str = "unlimited", uri: str = "", method: str = "") -> UUID:
        customer_id, account_id = uuid4(), uuid4()
        async with self.database.begin() as connection:
            await connection.execute(
                sa.text(
                    "INSERT INTO customers (id, name, status, domain_label, webhook_uri, webhook_method,"
                    " billing_account_id, tm_create)"
                    " VALUES (:id, 'hooked', 'active', :label, :uri, :method, :account, now())"
                ),
                {
                    "id": customer_id,
                    "label": f"w{customer_id.hex[:12]}",
                    "uri": uri,
                    "method": method,
                    "account": account_id,
                },
            )
            await connection.execute(
                sa.text(
                    "INSERT INTO billing_accounts (id, customer_id, plan_type, tm_create)"
                    " VALUES (:id, :customer, :plan, now())"
                ),
                {"id": account_id, "customer": customer_id, "plan": plan},
            )
        return customer_id

    async def receiver(self) -> Receiver:
        receiver = await Receiver().start()
        self.receivers.append(receiver)
        return receiver

    async def endpoint(
        self, customer_id: UUID, receiver: Receiver, **more: object
    ) -> sa.Row[tuple[object, ...]]:
        wanted = WebhookCreate.model_validate({"uri": receiver.url, **more})
        return await self.room.endpoints.create(customer_id, wanted)

    async def emit(self, *events: Event) -> None:
        async with self.database.begin() as connection:
            await emit(connection, events)

    async def statuses(self, webhook_id: UUID) -> list[sa.Row[tuple[object, ...]]]:
        columns = webhook_deliveries.c
        statement = (
            sa.select(webhook_deliveries).where(columns.webhook_id == webhook_id).order_by(columns.published)
        )
        async with self.database.connect() as connection:
            return list((await connection.execute(statement)).all())

    async def row(self, webhook_id: UUID) -> sa.Row[tuple[object, ...]]:
        async with self.database.connect() as connection:
            return (await connection.execute(sa.select(webhooks).where(webhooks.c.id == webhook_id))).one()


def event(customer_id: UUID, resource_id: UUID, name: str = "call_updated", **more: object) -> Event:
    return Event(
        type=name,
        customer_id=customer_id,
        resource=name.partition("_")[0],
        resource_id=resource_id,
        data={"id": str(resource_id), "name": "Ümit \U0001f697", "tokens": [1, 2.5, None]},
        tm_create=datetime.now(UTC),
        **more,  # type: ignore[arg-type]
    )


async def until(done: Callable[[], object], seconds: float = 60) -> None:
    """Wait until ``done()`` is true."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


@pytest.fixture
async def idle_house(quiet_url: str) -> AsyncIterator[House]:
    """Nothing runs yet."""
    house = House(quiet_url)
    yield house
    await house.close()


@pytest.fixture
async def house(idle_house: House) -> House:
    await idle_house.start()
    return idle_house


@pytest.fixture(scope="module")
async def quiet_url(database_url: str) -> str:
    """A database in which only tests tell something."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    for table in ("customers", "billing_accounts"):
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ringline_announce")
    await connection.close()
    return database_url
