"""Numbers, texts and ports at a strict local Telnyx, with the real rooms on a real database and webhooks over HTTP:
no number is paid twice or lost, states are true, the customer is told.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, insert, select, update
from tests.component.hooks.conftest import Nobody
from tests.component.messages.conftest import World
from tests.vendors.telnyx_server import API_KEY, CONNECTION, PROFILE, Available, TelnyxServer, telnyx_server

from ringline.billing import BalanceDirectory
from ringline.billing.tables import billing_accounts
from ringline.clock import SystemClock
from ringline.customers import CustomerDirectory
from ringline.customers.tables import customers
from ringline.hooks import Dealer, Intake, hook_routes
from ringline.hooks.store import hook_events
from ringline.http import Readiness, Server, create_app, utc_now
from ringline.messages.sending import Patience
from ringline.numbers import NumberDirectory, NumberOrders, NumberRenewals, NumberService, NumberShop
from ringline.numbers.acquiring import acquired
from ringline.numbers.models import NumberCreate
from ringline.numbers.orders import steps
from ringline.numbers.ports import NumberPorts, PortService, PortSteps
from ringline.numbers.ports.models import PortCreate
from ringline.numbers.tables import number_orders, numbers
from ringline.settings import Settings
from ringline.storage import Database
from ringline.vendors import client as client_module
from ringline.vendors.events import Consumers, Hook, TextArrived, TextChanged
from ringline.vendors.models import Purchase
from ringline.vendors.registry import Vendors
from ringline.vendors.telnyx import Telnyx

HANDSET = "+14155550777"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module.random, "uniform", lambda _low, _high: 0.01)


async def until(true: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := await true()):
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.05)
    return found


class House:
    """Customers, the orders of their numbers, ports, the intake of webhooks, and Telnyx."""

    def __init__(self, database: Database, server: TelnyxServer) -> None:
        self.database, self.server, self.clock = database, server, SystemClock()
        self.began = utc_now()
        self.numbers, self.customers = NumberDirectory(database), CustomerDirectory(database)
        self.balances = BalanceDirectory(database)
        self.vendors = Vendors([])
        self.consumers = Consumers(order=self._order, port=self._port)
        self.dealer = Dealer(database, self.clock, self.consumers)
        self.intake = Intake(database, self.clock, self.vendors, self.dealer.wake)
        app = create_app(
            hook_routes(self.intake, "http://127.0.0.1"),
            settings=Settings(),
            authenticator=Nobody(),
            readiness=Readiness(),
        )
        self.http = Server(app, "127.0.0.1", 0, grace=1.0)

    async def start(self) -> None:
        for mirror in (self.numbers, self.customers, self.balances):
            await mirror.reload()
        await self.http.start()
        self.server.hook_url = f"http://127.0.0.1:{self.http.port}/hooks/telnyx"
        self.server.deliver = True
        self.vendor = Telnyx(
            api_key=API_KEY,
            public_key=self.server.public_key,
            connection_id=CONNECTION,
            messaging_profile_id=PROFILE,
            hook_url=self.server.hook_url,
            base_url=self.server.url,
            total_seconds=3.0,
        )
        self.vendors._vendors["telnyx"] = self.vendor
        self.make()
        await self.dealer.start()

    def make(self) -> None:
        """The rooms as a process has them that has just begun: nothing in memory."""
        self.orders = NumberOrders(self.database, self.vendors, self.numbers, self.clock)
        renewals = NumberRenewals(self.database, self.numbers, self.customers, self.balances)
        self.service = NumberService(self.database, self.numbers, self._no_flow, self.orders, renewals)
        self.shop = NumberShop(
            self.database,
            self.numbers,
            self.vendors,
            self.service,
            self.orders,
            self.customers,
            self.balances,
        )
        taking = PortSteps(
            self.database,
            self.vendors,
            self.clock,
            acquire=acquired,
            acquired=self._acquired,
            hold_flow=self._no_flow,
        )
        self.ports = NumberPorts(self.database, self.clock, taking)
        self.port_service = PortService(
            self.database, self.vendors, self.clock, self._no_flow, self.ports.wake
        )

    async def restart(self) -> None:
        await self.orders.close()
        await self.ports.close()
        self.make()

    async def close(self) -> None:
        await self.server.drain()
        await self.orders.close()
        await self.ports.close()
        await self.http.close()
        await self.intake.close()
        await self.dealer.close()
        await self.vendors.close()

    async def _order(self, vendor: str, event: Any) -> None:
        await self.orders.changed(vendor, event)

    async def _port(self, vendor: str, event: Any) -> None:
        await self.ports.changed(vendor, event)

    async def _acquired(self, _: list[UUID]) -> None:
        self.orders.wake()

    async def _no_flow(self, *_: object) -> bool:
        return False

    async def customer(self) -> UUID:
        customer_id, account_id = uuid4(), uuid4()
        async with self.database.begin() as connection:
            await connection.execute(
                insert(customers).values(
                    id=customer_id,
                    name="telnyx",
                    status="active",
                    domain_label=uuid4().hex[:12],
                    tm_create=utc_now(),
                )
            )
            await connection.execute(
                insert(billing_accounts).values(
                    id=account_id,
                    customer_id=customer_id,
                    plan_type="free",
                    balance_credit=100_000_000,
                    tm_create=utc_now(),
                )
            )
            await connection.execute(
                update(customers).where(customers.c.id == customer_id).values(billing_account_id=account_id)
            )
        await self.customers.reload()
        await self.balances.reload()
        return customer_id

    def offered(self) -> str:
        """A number that nobody has had."""
        number = f"+1415{2 + uuid4().int % 8}{uuid4().int % 10**6:06d}"
        self.server.stock(Available(number, "US", number[2:]))
        return number

    async def buy(self, customer_id: UUID, number: str) -> Any:
        return await self.shop.create(customer_id, NumberCreate(number=number), None)

    async def number(self, number: str) -> Any:
        async with self.database.connect() as connection:
            return (await connection.execute(select(numbers).where(numbers.c.number == number))).first()

    async def becomes(self, number: str, status: str) -> Any:
        """The number's row when it has this status; pauses before its order's next step are over at once."""

        async def there() -> Any:
            async with self.database.begin() as connection:
                await connection.execute(
                    update(number_orders).where(number_orders.c.number == number).values(tm_next=utc_now())
                )
            self.orders.wake()
            row = await self.number(number)
            return row if row.status == status else None

        return await until(there)

    async def by_webhook(self, number: str, status: str) -> Any:
        """The same without anybody asking Telnyx: only what it reports."""

        async def there() -> Any:
            row = await self.number(number)
            return row if row.status == status else None

        return await until(there)

    async def dealt_with(self) -> int:
        """Webhooks of this house that were stored and have been dealt with."""
        ended = select(func.count()).where(
            hook_events.c.vendor == "telnyx",
            hook_events.c.tm_create >= self.began,
            hook_events.c.tm_end.is_not(None),
        )
        async with self.database.connect() as connection:
            return int((await connection.execute(ended)).scalar_one())


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    async with telnyx_server() as server:
        made = House(database, server)
        await made.start()
        yield made
        await made.close()


async def test_bought_configured_and_given_back(house: House) -> None:
    number = house.offered()
    row = await house.buy(await house.customer(), number)
    assert (row.status, row.provider_name) == ("active", "telnyx")
    held = house.server.numbers[row.provider_reference_id]
    assert (held["connection_id"], held["messaging_profile_id"]) == (CONNECTION, PROFILE)
    await house.orders.start()
    await until(lambda: _configured(house, number))
    await house.service.delete(row.customer_id, row.id)
    await until(lambda: _released(house, number))
    assert held["status"] == "deleted"
    assert house.server.charges == [number]


@pytest.mark.parametrize("kind", ["error_after", "drop_after", "cut_after", "slow_after"])
@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
async def test_charged_and_not_told(house: House, kind: Any, restarts: bool) -> None:
    """500 after it has charged, an answer that was cut off, lost or too late; webhooks do not come either."""
    house.server.deliver = False
    number = house.offered()
    house.server.fail("POST", "/v2/number_orders", kind, times=9, seconds=4.0)
    house.server.fail("GET", "/v2/number_orders", "error", times=10**6)
    row = await house.buy(await house.customer(), number)
    assert row.status == "purchase-pending"
    assert house.server.charges == [number]
    house.server.faults.pop()
    if restarts:
        await house.restart()
    await house.orders.start()
    row = await house.becomes(number, "active")
    assert house.server.numbers[row.provider_reference_id]["phone_number"] == number
    assert house.server.charges == [number]
    assert len(house.server.asked("POST", "/v2/number_orders")) == 1


async def test_nothing_was_bought_and_it_is_bought_then(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = house.offered()
    house.server.fail("POST", "/v2/number_orders", "drop")
    row = await house.buy(await house.customer(), number)
    assert (row.status, house.server.charges) == ("purchase-pending", [])
    monkeypatch.setattr(steps, "SETTLE", steps.timedelta(seconds=0.5))
    await house.orders.start()
    await house.becomes(number, "active")
    assert house.server.charges == [number]


async def test_lists_that_lag_make_no_second_purchase(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "SETTLE", steps.timedelta(seconds=0.2))
    house.server.deliver = False
    number = house.offered()
    house.server.fail("POST", "/v2/number_orders", "error_after")
    house.server.list_lag = True
    await house.buy(await house.customer(), number)
    await house.orders.start()
    asked = len(house.server.asked("GET", "/v2/number_orders"))

    async def asked_again() -> bool:
        row = await house.becomes(number, "purchase-pending")
        return bool(row and len(house.server.asked("GET", "/v2/number_orders")) >= asked + 3)

    await until(asked_again)
    house.server.list_lag = False
    await house.becomes(number, "active")
    assert house.server.charges == [number]
    assert len(house.server.asked("POST", "/v2/number_orders")) == 1


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_an_order_that_takes_days(house: House, twice: bool) -> None:
    house.server.instant, house.server.hook_twice = False, twice
    number = house.offered()
    row = await house.buy(await house.customer(), number)
    assert row.status == "purchase-pending"
    before = await house.dealt_with()
    (order,) = house.server.orders
    house.server.settle(order)
    row = await house.by_webhook(number, "active")
    await house.server.drain()
    # all deliveries of it are one event

    async def dealt_with() -> bool:
        return await house.dealt_with() > before

    await until(dealt_with)
    await asyncio.sleep(0.2)
    assert await house.dealt_with() == before + 1
    # whatever id it has there: it is configured, and can be given back
    await house.orders.start()
    await until(lambda: _configured(house, number))
    assert house.server.charges == [number]


async def _done(house: House, number: str, kind: str) -> bool:
    async with house.database.connect() as connection:
        query = select(number_orders.c.state).where(
            number_orders.c.number == number, number_orders.c.kind == kind
        )
        states = [row.state for row in await connection.execute(query)]
    return bool(states) and set(states) == {"done"}


async def _configured(house: House, number: str) -> bool:
    return await _done(house, number, "configure")


async def _released(house: House, number: str) -> bool:
    return await _done(house, number, "release")


async def test_an_order_that_fails_after_days(house: House) -> None:
    house.server.instant = False
    number = house.offered()
    await house.buy(await house.customer(), number)
    (order,) = house.server.orders
    house.server.settle(order, failed=True)
    row = await house.by_webhook(number, "deleted")
    assert row.status_reason.endswith("telnyx could not deliver the number")
    assert house.server.charges == []


async def test_a_webhook_before_the_reply(house: House) -> None:
    house.server.hook_before_answer = house.server.hook_twice = True
    number = house.offered()
    row = await house.buy(await house.customer(), number)
    assert row.status == "active"
    await house.server.drain()
    assert (await house.number(number)).status == "active"
    assert house.server.charges == [number]


async def test_a_webhook_tells_what_the_answer_did_not(house: House) -> None:
    """The reply is lost and nobody asks: the report alone makes the number active."""
    house.server.fail("POST", "/v2/number_orders", "drop_after")
    number = house.offered()
    await house.buy(await house.customer(), number)
    row = await house.by_webhook(number, "active")
    assert house.server.charges == [number]
    await house.orders.start()
    await until(lambda: _configured(house, row.number))


async def test_nobody_else_can_report(house: House) -> None:
    house.server.instant = False
    number = house.offered()
    await house.buy(await house.customer(), number)
    hooks = len(house.server.hooks)
    key = house.server.key
    house.server.deliver = False
    (order,) = house.server.orders
    house.server.settle(order)
    forged = house.server.hooks[hooks]
    house.server.key = TelnyxServer().key
    assert await house.server.post_hook(forged) == 403
    assert (await house.number(number)).status == "purchase-pending"
    house.server.key = key
    assert await house.server.post_hook(forged) == 200
    await house.by_webhook(number, "active")


async def test_one_of_many_gets_it(house: House) -> None:
    number = house.offered()
    owners = [await house.customer() for _ in range(3)]
    results = await asyncio.gather(
        *(house.buy(owners[turn % 3], number) for turn in range(12)), return_exceptions=True
    )
    assert len([result for result in results if not isinstance(result, BaseException)]) == 1
    assert house.server.charges == [number]


# -- ports --

PDF = base64.b64encode(b"%PDF-1.4\n" + b"x" * 500 + b"\n%%EOF\n").decode()


async def test_a_port_from_the_request_to_the_number(house: House) -> None:
    owner = await house.customer()
    number = f"+1303{2 + uuid4().int % 8}{uuid4().int % 10**6:06d}"
    house.server.fail("POST", "/v2/porting_orders", "drop_after")
    address = {
        "name": "Example Inc",
        "street": "1 Market St",
        "city": "San Francisco",
        "region": "CA",
        "postal_code": "94105",
        "country": "US",
    }
    wanted = {
        "numbers": [number],
        "provider_name": "telnyx",
        "carrier": "Other Carrier",
        "account_number": "ACC-77",
        "authorised_person": "Jo Porter",
        "pin": "4321",
        "owner": address,
        "letter": {"name": "letter.pdf", "content": PDF},
    }
    made = await house.port_service.create(owner, PortCreate.model_validate_json(json.dumps(wanted)))
    await house.ports.start()

    async def in_state(state: str) -> bool:
        return bool((await house.port_service.get(owner, made.id)).status == state)

    async def taken() -> list[str]:
        return [key for key, row in house.server.ports.items() if row["status"]["value"] == "submitted"]

    (order,) = await until(taken)
    assert len(house.server.ports) == 1
    house.server.port_status(order, "foc-date-confirmed")
    await until(lambda: in_state("foc-confirmed"))
    house.server.port_status(order, "ported")
    await until(lambda: in_state("ported"))
    row = await house.number(number)
    assert (row.customer_id, row.status, row.provider_name) == (owner, "active", "telnyx")
    assert house.server.numbers[row.provider_reference_id]["phone_number"] == number


# -- texts --


class Texting(World):
    """A customer with a number at Telnyx; reports are brought by hand."""

    def __init__(self, database: Database, server: TelnyxServer) -> None:
        super().__init__(database)
        self.server = server
        self.vendor = Telnyx(
            api_key=API_KEY,
            public_key=server.public_key,
            connection_id=CONNECTION,
            messaging_profile_id=PROFILE,
            hook_url=server.hook_url,
            base_url=server.url,
        )
        self.carrier = self.vendor  # type: ignore[assignment]  # the room's only vendor
        self.another()

    async def begin(self) -> None:
        await self.read()
        self.owner = await self.customer()
        self.source = await self.number(self.owner, provider_name="telnyx")
        self.server.stock(Available(self.source, "US", self.source[2:]))
        await self.vendor.buy(Purchase(uuid4(), self.source))

    async def bring(self, told: dict[str, Any]) -> None:
        body = json.dumps(told["body"]).encode()
        headers = {name.lower(): value for name, value in self.server.signed(body).items()}
        for event in self.vendor.read_hook(Hook("telnyx", "POST", told["url"], headers, body)):
            if isinstance(event, TextArrived):
                await self.room.reports.arrived("telnyx", event)
            elif isinstance(event, TextChanged):
                await self.room.reports.changed("telnyx", event)

    async def target(self, message_id: UUID) -> Any:
        return (await self.one(self.owner, message_id)).targets[0]


@pytest.fixture
async def texting(database: Database) -> AsyncIterator[Texting]:
    async with telnyx_server() as server:
        made = Texting(database, server)
        await made.begin()
        yield made
        await made.vendor.close()


async def test_a_text_and_its_reports(texting: Texting) -> None:
    message = await texting.text(texting.owner, texting.source, HANDSET, text="hello")
    await texting.turn()
    (sent,) = texting.server.texted
    texting.server.text_status(sent["id"], "sent")
    texting.server.text_status(sent["id"], "delivered")
    first, second = texting.server.hooks[-2:]
    for told in (second, first, second):
        await texting.bring(told)
        assert (await texting.target(message.id)).status == "delivered"


@pytest.mark.parametrize("kind", ["drop_after", "cut_after", "error_after"])
async def test_a_text_is_sent_once(texting: Texting, kind: Any) -> None:
    texting.server.fail("POST", "/v2/messages", kind)
    message = await texting.text(texting.owner, texting.source, HANDSET, text="once")
    await texting.turn()
    (sent,) = texting.server.texted
    texting.server.text_status(sent["id"], "delivered")
    await texting.bring(texting.server.hooks[-1])
    patience = Patience()
    for _ in range(3):
        await texting.turn(patience.answer + patience.look + 1)
    assert (await texting.target(message.id)).status == "delivered"
    assert len(texting.server.texted) == 1


async def test_nobody_knows_what_became_of_it(texting: Texting) -> None:
    """A failure of Telnyx's without any report: the customer is told that, and it is not sent again."""
    texting.server.fail("POST", "/v2/messages", "error_after")
    message = await texting.text(texting.owner, texting.source, HANDSET, text="who knows")
    await texting.turn()
    await texting.turn(Patience().unknown + 1)
    target = await texting.target(message.id)
    assert (target.status, target.reason) == ("failed", "unknown_outcome")
    assert len(texting.server.texted) == 1
