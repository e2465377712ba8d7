"""Orders survive whatever happens: workers that die at any moment, answers that are lost, webhooks out of turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.component.numbers.fake import FakeVendor, lost

from ringline.customers.tables import customers
from ringline.numbers import metrics
from ringline.numbers.orders import NumberOrders, store
from ringline.numbers.orders.worker import LEASE
from ringline.numbers.states import OrderKind
from ringline.numbers.tables import number_orders, numbers
from ringline.storage import Database
from ringline.vendors.errors import (
    VendorBusy,
    VendorError,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
)
from ringline.vendors.events import OrderChanged
from ringline.vendors.models import Capability, Order, Purchase
from ringline.vendors.registry import Vendors


class Crash(BaseException):
    """The worker is no more."""


@dataclass
class Hands:
    """A clock that the test moves."""

    time: datetime = field(default_factory=lambda: datetime(2026, 3, 1, tzinfo=UTC))

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Mortal:
    """A database whose user dies before or after the transaction of this number."""

    def __init__(self, database: Database, dies: int | None, *, after: bool) -> None:
        self._database = database
        self._left = dies
        self._after = after

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        last = self._is_last()
        if last and not self._after:
            raise Crash
        async with self._database.begin() as connection:
            yield connection
        if last:
            raise Crash

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        if self._is_last():
            raise Crash
        async with self._database.connect() as connection:
            yield connection

    def _is_last(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        return self._left == 0


class LateVendor(FakeVendor):
    """May carry out a purchase a while after its answer was lost."""

    def __init__(self, clock: Hands) -> None:
        super().__init__()
        self.clock = clock
        self.late: list[tuple[datetime, Purchase]] = []
        self.dawdles = 0.0

    async def buy(self, purchase: Purchase) -> Order:
        await self._catch_up()
        if self.dawdles:
            self.late.append((self.clock.now() + timedelta(seconds=self.dawdles), purchase))
            self.dawdles = 0.0
            raise lost()
        return await super().buy(purchase)

    async def find_order(self, purchase: Purchase, reference: str) -> Order | None:
        await self._catch_up()
        return await super().find_order(purchase, reference)

    async def _catch_up(self) -> None:
        for entry in [entry for entry in self.late if entry[0] <= self.clock.now()]:
            self.late.remove(entry)
            with contextlib.suppress(VendorError):
                await super().buy(entry[1])


class NoDirectory:
    """Nobody dials here."""

    async def refresh(self, row_id: UUID) -> None: ...


class World:
    """One number that is bought."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Hands()
        self.vendor = LateVendor(self.clock)
        self.vendor.confirms = False
        self.number = f"+1606{uuid4().int % 10**7:07}"
        self.number_id = uuid4()
        self.order_id = uuid4()
        self.customer_id = uuid4()

    async def begin(self) -> None:
        now = self.clock.now()
        async with self.database.begin() as connection:
            await connection.execute(
                insert(customers).values(id=self.customer_id, domain_label=uuid4().hex, tm_create=now)
            )
            await connection.execute(
                insert(numbers).values(
                    id=self.number_id,
                    customer_id=self.customer_id,
                    number=self.number,
                    type="normal",
                    status="purchase-pending",
                    provider_name="fake",
                    tm_create=now,
                )
            )
            self.order_id = await store.add(
                connection,
                customer_id=self.customer_id,
                number_id=self.number_id,
                number=self.number,
                vendor="fake",
                kind=OrderKind.BUY,
                now=now,
            )

    def worker(self, dies: int | None = None, *, after: bool = False) -> NumberOrders:
        """A process of its own."""
        database = cast("Database", Mortal(self.database, dies, after=after))
        return NumberOrders(database, Vendors([self.vendor]), cast("Any", NoDirectory()), self.clock)

    async def work(self, dies: int | None = None, *, after: bool = False) -> None:
        try:
            await self.worker(dies, after=after).work(self.number_id)
        except Crash:
            self.clock.time += LEASE + timedelta(seconds=1)

    async def report(self, event_id: str = "1", *, by: Literal["id", "reference", "number"] = "id") -> None:
        """What the vendor's webhook says of the order, as far as it knows one."""
        order = self.vendor.orders.get(self.order_id, Order("pending", "order-of-somebody"))
        if by == "number":
            order = Order(order.state)
        purchase_id = self.order_id if by == "id" else None
        await self.worker().changed("fake", OrderChanged(event_id, purchase_id, self.number, order))

    async def give_back(self) -> None:
        """What ``DELETE`` does to a number whose purchase is open or done."""
        now = self.clock.now()
        async with self.database.begin() as connection:
            row = await store.own_locked_number(connection, self.customer_id, self.number_id)
            if row is None:
                return
            await connection.execute(
                update(numbers).where(numbers.c.id == self.number_id).values(status="deleted", tm_delete=now)
            )
            await store.drop_configuration(connection, row.customer_id, row.id, now)
            if row.status == "purchase-pending":
                await store.drop_unsent_purchase(connection, row.customer_id, row.id, now)
            else:
                await store.add(
                    connection,
                    customer_id=self.customer_id,
                    number_id=row.id,
                    number=row.number,
                    vendor="fake",
                    kind=OrderKind.RELEASE,
                    number_reference=row.provider_reference_id,
                    now=now,
                )

    async def open(self) -> list[Any]:
        statement = select(number_orders).where(
            number_orders.c.number_id == self.number_id, number_orders.c.tm_end.is_(None)
        )
        async with self.database.connect() as connection:
            return list((await connection.execute(statement)).all())

    async def row(self) -> Any:
        async with self.database.connect() as connection:
            return (await connection.execute(select(numbers).where(numbers.c.id == self.number_id))).one()

    async def calm(self) -> None:
        """Nothing goes wrong any more, and time passes, until nothing is left to do."""
        self.vendor.before.clear()
        self.vendor.after.clear()
        for _ in range(60):
            left = await self.open()
            if not left:
                return
            for purchase_id, order in list(self.vendor.orders.items()):
                if order.state == "pending":
                    self.vendor.decide(purchase_id, "done")
            due = min(max(row.tm_next, row.tm_lease or row.tm_next) for row in left)
            self.clock.time = max(self.clock.time, due) + timedelta(seconds=1)
            await self.work()
        raise AssertionError(f"does not end: {await self.open()}")

    async def check(self) -> None:
        """Bought at most once, and what we say is what the vendor has."""
        assert self.vendor.bought[self.number] <= 1
        row = await self.row()
        if row.status == "active":
            held = self.vendor.held[self.number]
            assert held is not None, "nobody told the vendor where calls go"
            assert (held.voice, held.messaging) == (True, True)
            assert row.provider_reference_id == f"number-{self.number}"
            assert row.tm_purchase is not None
        else:
            assert row.status == "deleted"
            assert row.tm_delete is not None
            assert self.number not in self.vendor.held


@pytest.fixture
async def world(database: Database) -> World:
    world = World(database)
    await world.begin()
    return world


TROUBLES: dict[str, tuple[str, VendorError]] = {
    "away": ("before", VendorUnavailable("fake: away")),
    "busy": ("before", VendorBusy("fake: slowly", retry_after=3.0)),
    "500 and nothing done": ("before", lost()),
    "500 after it was done": ("after", lost()),
    "misconfigured": ("before", VendorMisconfigured("fake: key")),
    "refused": ("before", VendorRefused("fake: no")),
}

WORK = st.tuples(
    st.just("work"),
    st.one_of(st.none(), st.integers(1, 6)),
    st.booleans(),
    st.one_of(
        st.none(),
        st.tuples(
            st.sampled_from(["buy", "buy", "find_order", "configure", "release"]),
            st.sampled_from(sorted(TROUBLES)),
        ),
    ),
)
PLAIN = ("work", None, False, None)
STEP = st.one_of(
    WORK,
    WORK,
    st.tuples(st.just("report"), st.sampled_from(["id", "reference", "number"])),
    st.tuples(st.just("decide"), st.sampled_from(["done", "failed"])),
    st.tuples(st.just("confirms"), st.booleans()),
    st.tuples(st.just("dawdle"), st.sampled_from([1.0, 20.0, 29.0, 40.0])),
    st.tuples(st.just("wait"), st.sampled_from([1, 5, 31, 100, 4000, 90000])),
    st.tuples(st.just("give_back")),
)


async def carry_out(world: World, step: tuple[Any, ...]) -> None:
    match step:
        case ("work", dies, after, trouble):
            if trouble is not None:
                what, name = trouble
                when, error = TROUBLES[name]
                getattr(world.vendor, when)[what] = [error]
            await world.work(dies, after=after)
        case ("report", by):
            await world.report(by=by)
        case ("decide", state):
            order = world.vendor.orders.get(world.order_id)
            if order is not None and order.state == "pending":
                world.vendor.decide(world.order_id, state, "as said later")
        case ("confirms", at_once):
            world.vendor.confirms = at_once
        case ("dawdle", seconds):
            world.vendor.dawdles = seconds
        case ("wait", seconds):
            world.clock.time += timedelta(seconds=seconds)
        case ("give_back",):
            await world.give_back()


@settings(
    max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
@given(st.lists(STEP, min_size=1, max_size=9))
@example([("work", 2, True, None), ("work", None, False, ("buy", "500 after it was done")), ("give_back",)])
@example([("dawdle", 29.0), PLAIN, ("wait", 5), PLAIN])
@example([("dawdle", 20.0), PLAIN, ("wait", 5), PLAIN, ("wait", 31), PLAIN])
@example([("dawdle", 40.0), PLAIN, ("wait", 31), PLAIN, ("wait", 31), PLAIN])
@example([("confirms", True), ("work", 3, False, None), ("report", "id"), ("report", "id"), ("give_back",)])
async def test_never_bought_twice_and_true_in_the_end(database: Database, steps: list[Any]) -> None:
    world = World(database)
    await world.begin()
    for step in steps:
        await carry_out(world, step)
    await world.calm()
    await world.check()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies", range(1, 8))
@pytest.mark.parametrize("confirms", [False, True])
async def test_a_worker_that_dies_at_any_moment(
    world: World, dies: int, *, after: bool, confirms: bool
) -> None:
    world.vendor.confirms = confirms
    await world.work(dies, after=after)
    await world.work(dies, after=after)
    await world.calm()
    await world.check()
    assert (await world.row()).status == "active"
    await world.give_back()
    await world.work(dies, after=after)
    await world.calm()
    await world.check()
    assert world.vendor.bought[world.number] == 1


async def test_a_webhook_before_the_reply(world: World) -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()

    class Slow(LateVendor):
        async def buy(self, purchase: Purchase) -> Order:
            await super().buy(purchase)
            asked.set()
            await go_on.wait()
            # an old truth arrives last
            return Order("pending", f"order-{purchase.id}")

    world.vendor = Slow(world.clock)
    world.vendor.confirms = True
    working = asyncio.create_task(world.work())
    await asked.wait()
    await world.report("early")
    assert (await world.row()).status == "active"
    go_on.set()
    await working
    await world.report("twice")
    await world.calm()
    await world.check()


async def test_a_webhook_of_an_order_that_nobody_placed(world: World) -> None:
    counter = metrics.orders.labels("fake", "buy", "unknown")
    before = counter._value.get()
    worker = world.worker()
    for purchase_id, reference in ((uuid4(), ""), (None, "order-unheard-of"), (None, "")):
        event = OrderChanged("1", purchase_id, "+16060000000", Order("done", reference))
        await worker.changed("fake", event)
    # of another vendor's order that has our id: ignored as well
    await worker.changed("other", OrderChanged("2", world.order_id, world.number, Order("done", "x")))
    assert counter._value.get() == before + 3
    assert (await world.row()).status == "purchase-pending"
    await world.calm()
    await world.check()


async def test_a_webhook_that_names_another_number_only_hastens(world: World) -> None:
    await world.work()
    other = OrderChanged("1", world.order_id, "+16060000001", Order("done"))
    await world.worker().changed("fake", other)
    assert (await world.row()).status == "purchase-pending"


async def test_what_is_said_after_the_end_changes_nothing_and_is_counted(world: World) -> None:
    await world.work()
    world.vendor.decide(world.order_id, "failed", "no stock")
    await world.report()
    assert (await world.row()).status_reason == "purchase_rejected: no stock"
    counter = metrics.orders.labels("fake", "buy", "contradicted")
    before = counter._value.get()
    event = OrderChanged("9", world.order_id, world.number, Order("pending"))
    await world.worker().changed("fake", event)
    assert counter._value.get() == before
    assert (await world.row()).status == "deleted"


async def test_what_was_sold_after_a_rejection_is_given_back_once(world: World) -> None:
    await world.work()
    world.vendor.decide(world.order_id, "failed", "no stock")
    await world.report()
    world.vendor.decide(world.order_id, "done", "")
    counter = metrics.orders.labels("fake", "buy", "contradicted")
    before = counter._value.get()
    event = OrderChanged("9", world.order_id, world.number, Order("done", number_reference="number-1"))
    for _ in range(3):
        await world.worker().changed("fake", event)
        await world.work()
    assert counter._value.get() == before + 3
    assert world.vendor.asked["release"] == 1
    assert (await world.row()).status == "deleted"
    assert (await world.row()).status_reason == "purchase_rejected: no stock"


async def test_what_was_sold_after_a_rejection_stays_where_somebody_has_the_number(world: World) -> None:
    await world.work()
    world.vendor.decide(world.order_id, "failed", "no stock")
    await world.report()
    async with world.database.begin() as connection:
        await connection.execute(
            insert(numbers).values(
                id=uuid4(),
                customer_id=(await world.row()).customer_id,
                number=world.number,
                type="normal",
                status="active",
                tm_create=world.clock.now(),
            )
        )
    event = OrderChanged("9", world.order_id, world.number, Order("done"))
    await world.worker().changed("fake", event)
    await world.work()
    assert world.vendor.asked["release"] == 0


async def test_an_order_that_is_rejected_after_days(world: World) -> None:
    await world.work()
    for _ in range(30):
        world.clock.time += timedelta(hours=3)
        await world.work()
    assert world.vendor.bought[world.number] == 1
    world.vendor.decide(world.order_id, "failed", "the regulator said no")
    world.clock.time += timedelta(hours=3)
    await world.work()
    row = await world.row()
    assert (row.status, row.status_reason) == ("deleted", "purchase_rejected: the regulator said no")


async def test_a_vendor_that_is_away_for_a_day_sells_nothing(world: World) -> None:
    for _ in range(40):
        world.vendor.before["buy"] = [VendorUnavailable("fake: away")]
        world.clock.time += timedelta(hours=1)
        await world.work()
    row = await world.row()
    assert row.status_reason == "purchase_rejected: fake could not be reached"
    assert world.vendor.asked["buy"] < 30


async def test_pauses_grow_and_have_an_end(world: World) -> None:
    waits = []
    await world.work()
    for _ in range(14):
        (row,) = await world.open()
        world.vendor.before["find_order"] = [lost()]
        waits.append((row.tm_next - world.clock.now()).total_seconds())
        world.clock.time = row.tm_next + timedelta(milliseconds=1)
        await world.work()
    assert waits[0] < 3
    assert 600 < waits[-1] < 1200
    assert sum(waits) > 3000


async def test_two_workers_never_take_one_order_or_two_of_one_number(world: World) -> None:
    world.vendor.delay = 0.1
    world.vendor.confirms = True
    await asyncio.gather(*(world.worker().work() for _ in range(6)))
    assert world.vendor.asked["buy"] == 1
    await world.calm()
    assert world.vendor.asked["configure"] == 1
    await world.check()


async def test_a_change_that_comes_while_the_vendor_is_told_is_told_as_well(world: World) -> None:
    world.vendor.confirms = True
    await world.work()

    seen = []

    async def change() -> None:
        async with world.database.begin() as connection:
            statement = update(numbers).where(numbers.c.id == world.number_id).values(t38_enabled=True)
            row = (await connection.execute(statement.returning(numbers))).one()
            await store.want_configured(connection, row, world.clock.now())

    class Telling(LateVendor):
        async def configure(self, held: Any) -> None:
            if not seen:
                await change()
            seen.append(held.t38)
            await super().configure(held)

    telling = Telling(world.clock)
    telling.held, telling.orders = world.vendor.held, world.vendor.orders
    world.vendor = telling
    await world.calm()
    assert seen == [False, True]


@pytest.mark.parametrize("able", [False, True])
async def test_nobody_relies_on_emergency_calls_that_the_vendor_knows_nothing_of(
    world: World, monkeypatch: pytest.MonkeyPatch, *, able: bool
) -> None:
    address = {
        "name": "Anna",
        "street": "Example Street 1",
        "city": "Berlin",
        "region": "",
        "postal_code": "10115",
        "country": "DE",
    }
    world.vendor.confirms = True
    async with world.database.begin() as connection:
        statement = update(numbers).where(numbers.c.id == world.number_id)
        await connection.execute(statement.values(emergency_enabled=True, emergency_address=address))
    if not able:
        left = FakeVendor.capabilities - {Capability.EMERGENCY_ADDRESS}
        monkeypatch.setattr(LateVendor, "capabilities", left)
    await world.calm()
    row = await world.row()
    held = world.vendor.held[world.number]
    assert held is not None
    assert row.emergency_enabled is able
    assert (held.emergency is not None) is able
    assert row.status_reason == ("" if able else "emergency_refused: fake has no emergency calls")
    await world.check()


async def test_a_number_that_the_vendor_does_not_know_is_given_up(world: World) -> None:
    world.vendor.confirms = True
    await world.work()
    world.vendor.held.clear()
    await world.calm()
    async with world.database.connect() as connection:
        made = await store.of_number(connection, world.number_id)
    (last,) = [order for order in made if order.kind == "configure"]
    assert (last.state, last.reason) == ("failed", "fake: no such number")
    assert 5 < world.vendor.asked["configure"] < 15


async def test_a_worker_that_stops_gives_back_what_it_was_at(world: World) -> None:
    world.vendor.delay = 30.0
    worker = world.worker()
    await worker.start()
    async with asyncio.timeout(30):
        while not world.vendor.asked["buy"]:
            await asyncio.sleep(0.01)
    await worker.close()
    (row,) = await world.open()
    assert (row.state, row.lease) == ("sent", None)
    world.vendor.delay = 0.0
    await world.calm()
    await world.check()


@pytest.mark.parametrize(
    ("error", "at_once"),
    [(VendorMisconfigured("fake: key"), True), (VendorUnavailable("fake: away"), False)],
    ids=["mended", "away"],
)
async def test_a_start_tries_at_once_what_somebody_had_to_mend(
    world: World, error: VendorError, *, at_once: bool
) -> None:
    world.vendor.confirms = True
    world.vendor.before["configure"] = [error]
    await world.work()
    await world.work()
    (row,) = await world.open()
    assert (row.kind, world.vendor.asked["configure"]) == ("configure", 1)
    assert (row.tm_next - world.clock.now() > timedelta(minutes=30)) is at_once
    worker = world.worker()
    await worker.start()
    if at_once:
        async with asyncio.timeout(30):
            while await world.open():
                await asyncio.sleep(0.01)
    else:
        await asyncio.sleep(0.5)
        assert world.vendor.asked["configure"] == 1, "its pause is not over"
    await worker.close()
    await world.calm()
    await world.check()


async def test_gauges_show_what_is_open(world: World) -> None:
    await world.work()
    world.clock.time += timedelta(minutes=10)
    await world.worker().read_gauges()
    assert metrics.orders_open.labels("fake", "buy")._value.get() >= 1
    assert metrics.orders_oldest._value.get() >= 600
