"""Orders and webhooks on a strict local Twilio: what was paid for once is ours, whatever became of the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from sqlalchemy import insert, select, update
from tests.component.hooks.conftest import Nobody
from tests.vendors.twilio_server import Fault, Sale, TwilioServer

from ringline.billing import BalanceDirectory
from ringline.billing.tables import billing_accounts
from ringline.clock import SystemClock
from ringline.customers import CustomerDirectory
from ringline.customers.tables import customers
from ringline.hooks import Dealer, Intake, hook_routes
from ringline.http import Readiness, Server, create_app, utc_now
from ringline.numbers import NumberDirectory, NumberOrders, NumberRenewals, NumberService, NumberShop
from ringline.numbers.errors import NumberNotAvailable
from ringline.numbers.models import NumberCreate
from ringline.numbers.orders import steps
from ringline.numbers.tables import number_orders, numbers
from ringline.settings import Settings
from ringline.storage import Database
from ringline.vendors.events import Consumers, TextArrived, TextChanged
from ringline.vendors.models import Text
from ringline.vendors.registry import Vendors
from ringline.vendors.twilio import Twilio

HANDSET = "+14155550199"


class Shop:
    """Customers, their numbers' orders, the webhooks' intake, and Twilio."""

    def __init__(self, database: Database, server: TwilioServer) -> None:
        self.database, self.server, self.clock = database, server, SystemClock()
        self.numbers, self.customers = NumberDirectory(database), CustomerDirectory(database)
        self.balances = BalanceDirectory(database)
        self.told: list[Any] = []
        self.consumers = Consumers(text_arrived=self._tell, text_changed=self._tell)
        self.dealer = Dealer(database, self.clock, self.consumers)
        # the vendor's address of our webhook is known when the server listens
        self.vendors = Vendors([])
        self.intake = Intake(database, self.clock, self.vendors, self.dealer.wake)
        self.http: Server | None = None
        self.url = ""

    async def start(self) -> None:
        for mirror in (self.numbers, self.customers, self.balances):
            await mirror.reload()
        http = await self._listen("http://127.0.0.1")
        port = http.port
        await http.close()
        self.url = f"http://127.0.0.1:{port}"
        self.http = await self._listen(self.url, port)
        self.vendor = Twilio(
            self.server.account_sid,
            self.server.auth_token,
            trunk_sid=self.server.trunk_sid,
            hook_url=f"{self.url}/hooks/twilio",
            base_url=self.server.url,
            total_seconds=10,
        )
        self.vendors._vendors["twilio"] = self.vendor
        self.restart()

    def restart(self) -> None:
        """The room as the next process has it: nothing in memory."""
        self.orders = NumberOrders(self.database, self.vendors, self.numbers, self.clock)
        renewals = NumberRenewals(self.database, self.numbers, self.customers, self.balances)
        service = NumberService(self.database, self.numbers, self._no_flow, self.orders, renewals)
        self.shop = NumberShop(
            self.database, self.numbers, self.vendors, service, self.orders, self.customers, self.balances
        )

    async def close(self) -> None:
        await self.orders.close()
        if self.http is not None:
            await self.http.close()
        await self.intake.close()
        await self.dealer.close()
        await self.vendors.close()

    async def _listen(self, url: str, port: int = 0) -> Server:
        app = create_app(
            hook_routes(self.intake, url), settings=Settings(), authenticator=Nobody(), readiness=Readiness()
        )
        http = Server(app, "127.0.0.1", port, grace=1.0)
        await http.start()
        return http

    async def _no_flow(self, *_: object) -> bool:
        return False

    async def _tell(self, vendor: str, event: Any) -> None:
        assert vendor == "twilio"
        self.told.append(event)

    async def customer(self) -> UUID:
        customer_id, account_id = uuid4(), uuid4()
        async with self.database.begin() as connection:
            await connection.execute(
                insert(customers).values(
                    id=customer_id,
                    name="twilio",
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

    def sell(self, *more: Sale) -> str:
        """A number that nobody has had."""
        number = f"+1415{2 + uuid4().int % 8}{uuid4().int % 10**6:06d}"
        self.server.on_sale += [Sale(number), *more]
        return number

    async def buy(self, customer_id: UUID, number: str) -> Any:
        return await self.shop.create(customer_id, NumberCreate(number=number), None)

    async def number(self, number: str) -> Any:
        async with self.database.connect() as connection:
            return (await connection.execute(select(numbers).where(numbers.c.number == number))).first()

    async def due(self, number: str) -> None:
        """Let the pause before an order's next step be over."""
        async with self.database.begin() as connection:
            await connection.execute(
                update(number_orders).where(number_orders.c.number == number).values(tm_next=utc_now())
            )
        self.orders.wake()


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    server = TwilioServer()
    await server.start()
    shop = Shop(database, server)
    await shop.start()
    yield shop
    await shop.close()
    await server.close()


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.05)


async def test_a_number_is_active_when_the_request_is_answered(shop: Shop) -> None:
    number = shop.sell()
    row = await shop.buy(await shop.customer(), number)
    assert (row.status, row.provider_name) == ("active", "twilio")
    [held] = shop.server.numbers.values()
    assert row.provider_reference_id == held["sid"]
    assert (held["trunk_sid"], held["sms_url"]) == (shop.server.trunk_sid, f"{shop.url}/hooks/twilio")


@pytest.mark.parametrize("kind", ["500", "cut"])
@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
async def test_a_lost_answer_costs_nothing_twice(shop: Shop, kind: str, restarts: bool) -> None:
    number = shop.sell()
    shop.server.faults = [Fault(kind, "POST", "IncomingPhoneNumbers.json")]
    row = await shop.buy(await shop.customer(), number)
    assert row.status == "purchase-pending"
    assert shop.server.purchases == [number]
    if restarts:
        await shop.orders.close()
        shop.restart()
    await shop.orders.start()

    async def active() -> bool:
        await shop.due(number)
        return bool((await shop.number(number)).status == "active")

    await until(active)
    assert shop.server.purchases == [number]
    assert (await shop.number(number)).provider_reference_id in shop.server.numbers


async def test_what_twilio_never_heard_of_is_bought_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SETTLE", steps.timedelta(seconds=0.5))
    number = shop.sell()
    shop.server.faults = [Fault("drop", "POST", "IncomingPhoneNumbers.json")]
    row = await shop.buy(await shop.customer(), number)
    assert (row.status, shop.server.purchases) == ("purchase-pending", [])
    await shop.orders.start()

    async def active() -> bool:
        await shop.due(number)
        return bool((await shop.number(number)).status == "active")

    await until(active)
    assert shop.server.purchases == [number]


async def test_a_number_that_somebody_else_was_faster_to_buy(shop: Shop) -> None:
    number = shop.sell()
    first, second = await shop.customer(), await shop.customer()
    results = await asyncio.gather(
        *(shop.buy(one, number) for one in (first, second) * 5), return_exceptions=True
    )
    assert len([result for result in results if not isinstance(result, BaseException)]) == 1
    assert shop.server.purchases == [number]
    shop.server.faults = [Fault("503", "GET", "AvailablePhoneNumbers", times=100)]
    other = shop.sell()
    with pytest.raises(Exception, match="does not answer"):
        await shop.buy(first, other)
    with pytest.raises(NumberNotAvailable):
        shop.server.faults = []
        shop.server.on_sale.clear()
        await shop.buy(first, other)


async def test_webhooks_of_texts_come_through(shop: Shop) -> None:
    """Over HTTP, with the signature of the address as it was given: stored once, told once, in order."""
    number = shop.sell()
    await shop.buy(await shop.customer(), number)
    await shop.dealer.start()
    shop.server.callbacks_twice = True
    sid, answers = await shop.server.receive(HANDSET, number, "héllo & 100% + 1")
    assert set(answers) == {(200, "text/xml", "<Response/>")}
    wanted = Text(uuid4(), number, HANDSET, "hi")
    sent = await shop.vendor.send(wanted)
    for status in ("delivered", "sent"):
        assert {status for status, *_ in await shop.server.report(sent.reference, status)} == {200}

    async def told() -> bool:
        return len(shop.told) >= 3

    await until(told)
    arrived = [event for event in shop.told if isinstance(event, TextArrived)]
    assert [(event.reference, event.text) for event in arrived] == [(sid, "héllo & 100% + 1")]
    changed = [event for event in shop.told if isinstance(event, TextChanged)]
    assert [event.sent.state for event in changed] == ["delivered", "sent"]
    assert {event.text_id for event in changed} == {wanted.id}

    shop.server.auth_token = "another"
    _, answers = await shop.server.receive(HANDSET, number, "forged")
    assert {status for status, *_ in answers} <= {403}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{shop.url}/hooks/twilio", data={"a": "b"}) as bare,
    ):
        assert bare.status == 403
    assert len(shop.told) == 3
