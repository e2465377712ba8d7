"""Texts on a real database, with a vendor that remembers what it was asked and fails as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import BalanceDirectory
from ringline.billing.tables import billing_accounts
from ringline.customers import CustomerDirectory
from ringline.customers.tables import customers
from ringline.errors import InvalidArgument, NotFound, ResourceExhausted
from ringline.http import utc_now
from ringline.media import address_guard
from ringline.messages import store
from ringline.messages.models import MessageAnswer, MessageCreate
from ringline.messages.room import Messages
from ringline.messages.sending import Patience, Sending
from ringline.numbers import NumberDirectory
from ringline.numbers.tables import numbers
from ringline.settings import Settings
from ringline.storage import Database, tenancy
from ringline.vendors.base import Vendor
from ringline.vendors.errors import NotSupported, VendorError
from ringline.vendors.models import Capability, Sent, Text
from ringline.vendors.registry import Vendors


class Carrier(Vendor):
    """A vendor. ``plan`` is taken from the front: an error to raise before it does anything (``None``: it works), or
    after it did (``Lost``)."""

    name: ClassVar[str] = "fake"
    capabilities = frozenset({Capability.SEND_MESSAGE, Capability.RECEIVE_MESSAGE})

    def __init__(self) -> None:
        self.sent: dict[UUID, Text] = {}
        self.attempts: list[Text] = []
        self.plan: list[VendorError | Lost | None] = []
        self.tells = True
        self.answer = Sent("sent", "", parts=0)
        self.looks = 0
        self.gate: asyncio.Event | None = None

    async def send(self, text: Text) -> Sent:
        self.attempts.append(text)
        step = self.plan.pop(0) if self.plan else None
        if isinstance(step, VendorError):
            raise step
        assert text.id not in self.sent, "a text was sent twice"
        self.sent[text.id] = text
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(step, Lost):
            raise step.error
        return Sent(self.answer.state, f"ref-{text.id}", self.answer.reason, self.answer.parts)

    async def find_text(self, text: Text, reference: str) -> Sent | None:
        self.looks += 1
        if not self.tells:
            raise NotSupported("fake cannot tell")
        return Sent("sent", f"ref-{text.id}") if text.id in self.sent else None


@dataclass
class Lost:
    """It was done, and then this came instead of the answer."""

    error: Exception


class Moment:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)
        self.seconds = 0.0

    def now(self) -> datetime:
        return max(self.at, utc_now())

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.on(seconds)
        await asyncio.sleep(0)

    def on(self, seconds: float) -> None:
        self.at = self.now() + timedelta(seconds=seconds)
        self.seconds += seconds


@dataclass
class Flows:
    """Flows that are only noted as started."""

    started: list[dict[str, Any]] = field(default_factory=list)
    known: set[UUID] = field(default_factory=set)
    stored: set[UUID] = field(default_factory=set)
    fail: Exception | None = None
    full: set[UUID] = field(default_factory=set)

    async def start_detached(self, customer_id: UUID, flow_id: UUID, **more: Any) -> None:
        if customer_id in self.full:
            raise ResourceExhausted("as many of your flows run as may")
        if self.fail is not None:
            raise self.fail
        self.started.append({"customer_id": customer_id, "flow_id": flow_id, **more})

    def knows(self, activeflow_id: UUID) -> bool:
        return activeflow_id in self.known

    async def among(self, connection: AsyncConnection, ids: Sequence[UUID]) -> set[UUID]:
        return self.stored & set(ids)


class World:
    """Customers, numbers and the room of texts. Workers do not run by themselves: ``turn`` does what is due."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.database = database
        self.clock = Moment()
        self.carrier = Carrier()
        self.flows = Flows()
        self.numbers = NumberDirectory(database)
        self.customers = CustomerDirectory(database)
        self.balances = BalanceDirectory(database)
        self._settings = Settings(**{"message_rate": 0, **settings})
        self.room = self.another()

    def another(self) -> Messages:
        """The room as a new process has it."""
        self.room = Messages(
            self._settings,
            self.database,
            self.clock,
            Vendors([self.carrier]),
            numbers=self.numbers,
            customers=self.customers,
            balances=self.balances,
            countries=None,
            check_url=address_guard.check_url,
            flows=self.flows,
            stored=self.flows.among,
        )
        return self.room

    def with_rate(self, per_second: float) -> None:
        self.room.sending = Sending(
            self.database, Vendors([self.carrier]), self.numbers, self.clock, per_second=per_second
        )

    async def read(self) -> None:
        """Have the directories know what was written."""
        for mirror in (self.numbers, self.customers, self.balances):
            await mirror.reload()

    async def customer(self, *, credit: int | None = None, status: str = "active") -> UUID:
        customer_id, account_id = uuid4(), uuid4()
        async with self.database.begin() as connection:
            await connection.execute(
                insert(customers).values(
                    id=customer_id,
                    name="texts",
                    status=status,
                    domain_label=uuid4().hex[:12],
                    billing_account_id=account_id if credit is not None else None,
                    tm_create=utc_now(),
                )
            )
            if credit is not None:
                await connection.execute(
                    insert(billing_accounts).values(
                        id=account_id,
                        customer_id=customer_id,
                        plan_type="free",
                        balance_credit=credit,
                        tm_create=utc_now(),
                    )
                )
        await self.customers.reload()
        await self.balances.reload()
        return customer_id

    async def number(self, customer_id: UUID, *, virtual: bool = False, **fields: Any) -> str:
        digits = f"{uuid4().int % 10**9:09d}"
        number = f"+899{digits}" if virtual else f"+1212{digits[:7]}"
        row = {
            "id": uuid4(),
            "customer_id": customer_id,
            "number": number,
            "type": "virtual" if virtual else "normal",
            "status": "active",
            "provider_name": "" if virtual else "fake",
            "tm_create": utc_now(),
            **fields,
        }
        async with self.database.begin() as connection:
            await connection.execute(insert(numbers).values(**row))
        await self.numbers.reload()
        return str(row["number"])

    async def change(self, number: str, **fields: Any) -> None:
        async with self.database.begin() as connection:
            await connection.execute(update(numbers).where(numbers.c.number == number).values(**fields))
        await self.numbers.reload()

    async def text(
        self, customer_id: UUID, source: str, *destinations: str, text: str = "hello", **more: Any
    ) -> MessageAnswer:
        wanted = {"source": source, "destinations": list(destinations), "text": text, **more}
        # as in a request of the customer's, whose statements name nobody else
        with tenancy.bound(customer_id):
            return await self.room.service.create(customer_id, MessageCreate.model_validate(wanted), None)

    async def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and what is due be done."""
        self.clock.on(seconds)
        await self.room.sending.turn()
        await self.room.sending.idle()

    async def one(self, customer_id: UUID, message_id: UUID) -> MessageAnswer:
        return await self.room.service.get(customer_id, message_id)

    async def all(self, customer_id: UUID, **where: Any) -> list[Any]:
        """The customer's messages, oldest first."""
        statement = select(store.messages).where(store.messages.c.customer_id == customer_id)
        for name, value in where.items():
            statement = statement.where(store.messages.c[name] == value)
        async with self.database.connect() as connection:
            return list(await connection.execute(statement.order_by(store.messages.c.tm_create)))


@pytest.fixture
async def worlds(database: Database) -> AsyncIterator[Callable[..., World]]:
    """Makes worlds; what they left to be sent is forgotten before and after."""

    async def forget() -> None:
        async with database.begin() as connection:
            await connection.execute(update(store.targets).values(step=""))
            await connection.execute(update(store.messages).values(flow_state=""))

    await forget()
    yield lambda **settings: World(database, **settings)
    await forget()


@pytest.fixture
async def world(worlds: Callable[..., World]) -> World:
    made = worlds()
    await made.read()
    return made


__all__ = ["InvalidArgument", "Lost", "NotFound", "Patience", "World"]
