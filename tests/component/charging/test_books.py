"""Holds and settlements on a real database: what 1,000 calls cost, to the micro-unit, and what a crash leaves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.billing import BalanceDirectory, ledger
from ringline.billing.ledger import Entry
from ringline.billing.rates import Rate, Rates
from ringline.billing.tables import billing_accounts, billing_holds, billings
from ringline.calls import store as call_store
from ringline.calls.call import Call
from ringline.calls.journal import Journal
from ringline.calls.states import Direction, Status
from ringline.cdrs.tables import cdrs
from ringline.charging import store
from ringline.charging.books import Books
from ringline.charging.meters import Meters
from ringline.charging.purses import Purses
from ringline.charging.room import Finals
from ringline.clock import SystemClock
from ringline.customers.tables import customers
from ringline.sip.address import Address
from ringline.storage import Database

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FLOW = uuid4()


class Office:
    """Meters and books of one controller, on the test's database."""

    def __init__(self, database: Database, *rates: Rate) -> None:
        self.database = database
        self.owners: dict[UUID, UUID] = {}
        self.accounts = BalanceDirectory(database)
        self.books = Books(database, SystemClock())
        self.rates = rates
        self.ended: list[Call] = []
        customers_of: Any = SimpleNamespace(
            by_id=lambda key: SimpleNamespace(billing_account_id=self.owners.get(key))
        )
        self.meters: Meters = Meters(
            customers_of,
            Purses(self.accounts),
            Rates(replace(rate, id=uuid4()) for rate in rates),
            self.books,
            SystemClock(),
            ending=self,
            warn=lambda _: None,
        )
        self.books.told = self.meters
        self.books.of_row = Call.from_row

    def hang_up(self, call: Call, cause: int = 16) -> bool:
        self.ended.append(call)
        return True

    async def account(self, credit: int, token: int = 0) -> UUID:
        customer_id, account_id = uuid4(), uuid4()
        async with self.database.begin() as connection:
            row = {"id": customer_id, "domain_label": f"l{customer_id.hex[:12]}", "tm_create": NOW}
            await connection.execute(sa.insert(customers).values(billing_account_id=account_id, **row))
            values = {"id": account_id, "customer_id": customer_id, "plan_type": "free", "tm_create": NOW}
            await connection.execute(sa.insert(billing_accounts).values(**values))
            top_up = Entry(
                account_id=account_id,
                customer_id=customer_id,
                transaction_type="top_up",
                reference_type="credit_adjustment",
                reference_id=account_id,
                idempotency_key="start",
                tm=NOW,
                amount_credit=credit,
                amount_token=token,
            )
            await ledger.post(connection, [top_up])
        self.owners[customer_id] = account_id
        await self.accounts.refresh(account_id)
        return customer_id

    async def state(self, customer_id: UUID) -> Any:
        async with self.database.connect() as connection:
            statement = sa.select(billing_accounts).where(billing_accounts.c.customer_id == customer_id)
            return (await connection.execute(statement)).one()

    async def write(self, *calls: Call) -> None:
        """As the journal stores calls that have ended."""
        async with self.database.connect() as connection:
            await store.record(connection, [self.meters.cdr(call) for call in calls])

    async def cdr(self, call: Call) -> Any:
        async with self.database.connect() as connection:
            return (await connection.execute(sa.select(cdrs).where(cdrs.c.id == call.id))).one()


def a_call(customer_id: UUID, **more: Any) -> Call:
    call_id = uuid4()
    row: dict[str, Any] = {
        "id": call_id,
        "customer_id": customer_id,
        "direction": Direction.OUTGOING,
        "source": Address(type="tel", target="+15551234567"),
        "destination": Address(type="tel", target="+15559876543"),
        "channel_id": f"call-{call_id}",
        "status": Status.DIALING,
        "tm_create": NOW,
    }
    return Call(**row | more)


def over(call: Call, answered: datetime | None, seconds: float) -> Call:
    """The call as it ended, so long after its answer (or beginning)."""
    if answered is not None:
        call.advance(Status.PROGRESSING, answered)
    call.end(16, (answered or call.tm_create) + timedelta(seconds=seconds))
    return call


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    async with database.begin() as connection:
        await connection.execute(sa.delete(cdrs))
        await connection.execute(sa.delete(billing_holds))
    yield Office(database)


async def test_a_thousand_calls_of_random_length_are_settled_exactly(database: Database) -> None:
    random.seed(6)
    rates = (
        Rate(kind="call_pstn_outgoing", credit_per_unit=6_000, unit_seconds=60),
        Rate(kind="call_pstn_outgoing", prefix="49", credit_per_unit=137, unit_seconds=1),
        Rate(kind="call_pstn_outgoing", prefix="4930", credit_per_unit=911, unit_seconds=6, minimum_units=5),
        Rate(kind="call_pstn_incoming", credit_per_unit=4_500, unit_seconds=60),
        Rate(kind="call_vn", credit_per_unit=1_000, token_per_unit=1, unit_seconds=60),
    )
    office = Office(database, *rates)
    credit, tokens = 10**9, 700
    owners = [await office.account(credit, tokens) for _ in range(3)]
    to = ["+15559876543", "+49891234567", "+49301234567", "+4930999", "test11", "+899100000001"]
    calls: list[Call] = []
    expected = {owner: {"credit": Decimal(0), "units": 0, "virtual": 0} for owner in owners}
    for index in range(1000):
        owner, target = random.choice(owners), random.choice(to)
        incoming = target.startswith("+899") or (target == to[0] and random.random() < 0.4)
        address = Address(type="tel" if target.startswith("+") else "extension", target=target)
        call = a_call(
            owner,
            destination=address,
            direction=Direction.INCOMING if incoming else Direction.OUTGOING,
            status=Status.RINGING if incoming else Status.DIALING,
            flow_id=FLOW if incoming else UUID(int=0),
            tm_create=NOW + timedelta(milliseconds=index),
        )
        rang, seconds = random.uniform(0, 30), random.choice([random.uniform(0, 400), 60.0, 59.999999, 0.0])
        answered = random.random() < 0.8
        start = call.tm_create + timedelta(seconds=rang) if answered else None
        assert office.meters.begun(call) == ""
        calls.append(over(call, start, seconds))
        office.meters.call_ended(call)
        # the same by other means, from what is said of rates in words
        used = Decimal(str(round(seconds, 6))).to_integral_value(ROUND_CEILING) if answered else Decimal(0)
        if not used or target == "test11":
            continue
        own = expected[owner]
        if target.startswith("+899"):
            own["virtual"] += int((used / 60).to_integral_value(ROUND_CEILING))
        elif incoming:
            own["credit"] += (used / 60).to_integral_value(ROUND_CEILING) * 4_500
        elif target.startswith("+4930"):
            own["credit"] += max((used / 6).to_integral_value(ROUND_CEILING), Decimal(5)) * 911
        elif target.startswith("+49"):
            own["credit"] += used * 137
        else:
            own["credit"] += (used / 60).to_integral_value(ROUND_CEILING) * 6_000
    await office.write(*calls)
    office.books.written()
    await office.books._settle()
    for owner, own in expected.items():
        state = await office.state(owner)
        virtual = int(own["virtual"])
        assert state.balance_token == max(0, tokens - virtual)
        assert state.balance_credit == credit - int(own["credit"]) - max(0, virtual - tokens) * 1_000
        assert (state.held_credit, state.held_token) == (0, 0)
    async with database.connect() as connection:
        open_ones = sa.select(sa.func.count()).where(cdrs.c.tm_settle.is_(None))
        assert (await connection.execute(open_ones)).scalar_one() == 0
        sums = sa.select(sa.func.sum(cdrs.c.amount_credit), sa.func.sum(cdrs.c.amount_token)).where(
            cdrs.c.customer_id.in_(owners)
        )
        posted = sa.select(
            -sa.func.sum(billings.c.amount_credit), -sa.func.sum(billings.c.amount_token)
        ).where(billings.c.customer_id.in_(owners), billings.c.transaction_type == "usage")
        assert (await connection.execute(sums)).one() == (await connection.execute(posted)).one()
    # settling again, as another process would, charges nothing twice
    before = [await office.state(owner) for owner in owners]
    again = Office(database, *rates)
    again.books.written()
    await again.books._settle()
    assert [await office.state(owner) for owner in owners] == before


async def test_a_call_from_hold_to_settlement(office: Office) -> None:
    owner = await office.account(20_000)
    call = a_call(owner)
    assert office.meters.begun(call) == ""
    assert not await office.books._hold()
    state = await office.state(owner)
    assert (state.balance_credit, state.held_credit) == (20_000, 6_000)
    over(call, NOW, 61)
    office.meters.call_ended(call)
    await office.write(call)
    office.books.written()
    await office.books._settle()
    state, cdr = await office.state(owner), await office.cdr(call)
    assert (state.balance_credit, state.held_credit) == (8_000, 0)
    assert (cdr.billable_units, cdr.amount_credit, cdr.billsec) == (2, 12_000, 61)
    # what happens to its row later does not open it again
    await office.write(call)
    assert (await office.cdr(call)).tm_settle == cdr.tm_settle


async def test_two_controllers_do_not_promise_the_same_money(database: Database, office: Office) -> None:
    owner = await office.account(6_000)
    other = Office(database)
    other.owners = office.owners
    await other.accounts.refresh(office.owners[owner])
    here, there = a_call(owner), a_call(owner)
    assert (office.meters.begun(here), other.meters.begun(there)) == ("", "")
    await asyncio.gather(office.books._hold(), other.books._hold())
    assert len(office.ended) + len(other.ended) == 1
    assert (await office.state(owner)).held_credit == 6_000


async def test_what_comes_back_in_a_moment_is_waited_for(office: Office) -> None:
    owner = await office.account(6_000)
    busy = a_call(owner)
    assert office.meters.begun(busy) == ""
    await office.books._hold()
    await office.accounts.refresh(office.owners[owner])
    over(busy, None, 1)
    office.meters.call_ended(busy)
    following = a_call(owner)
    assert office.meters.begun(following) == ""
    assert await office.books._hold(), "its hold is asked for again"
    assert not office.ended
    await office.write(busy)
    office.books.written()
    await office.books._settle()
    assert not await office.books._hold()
    assert not office.ended and (await office.state(owner)).held_credit == 6_000


async def test_an_account_that_is_gone_does_not_hold_the_others_up(office: Office) -> None:
    owner, orphan = await office.account(60_000), uuid4()
    office.owners[orphan] = uuid4()
    good, bad = a_call(owner), a_call(orphan)
    assert (office.meters.begun(good), office.meters.begun(bad)) == ("", "")
    assert not await office.books._hold()
    assert office.ended == [bad]
    for call in (good, bad):
        office.meters.call_ended(over(call, NOW, 5))
    await office.write(good, bad)
    office.books.written()
    await office.books._settle()
    assert (await office.cdr(good)).amount_credit == 6_000
    assert (await office.cdr(bad)).tm_settle is not None


async def test_a_call_that_no_controller_could_take_over_is_charged_what_was_held(
    database: Database, office: Office
) -> None:
    owner = await office.account(600_000)
    lost, rung = a_call(owner), a_call(owner)
    for call in (lost, rung):
        assert office.meters.begun(call) == ""
    await office.books._hold()
    # answered long ago, and stored so: the next controller finds it and cannot go on with it
    lost.advance(Status.PROGRESSING, NOW)
    async with database.begin() as connection:
        await call_store.insert(connection, [lost.row(), rung.row()])
        await connection.execute(
            sa.update(call_store.calls)
            .values(tm_progressing=sa.null())
            .where(call_store.calls.c.id == rung.id)
        )
    successor = Office(database)
    successor.owners = office.owners
    journal = Journal(database, SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]
    journal.record_with(Finals(successor.meters, successor.books))
    journal.disown([lost.id, rung.id])
    await journal._write_database()
    await successor.books._settle()
    assert ((await office.cdr(lost)).amount_credit, (await office.cdr(rung)).amount_credit) == (6_000, 0)
    assert (await office.cdr(lost)).hangup_reason == "failed"
    state = await office.state(owner)
    assert (state.balance_credit, state.held_credit) == (594_000, 0)


async def test_a_row_that_nobody_understands_keeps_no_hold_and_no_other_from_being_charged(
    database: Database, office: Office
) -> None:
    owner = await office.account(600_000)
    strange, plain = a_call(owner), a_call(owner)
    for call in (strange, plain):
        assert office.meters.begun(call) == ""
    await office.books._hold()
    for call in (strange, plain):
        over(call, NOW, 30)
    async with database.begin() as connection:
        await call_store.insert(connection, [strange.row(), plain.row()])
        # as a later version of this program might have written it
        of_strange = sa.update(call_store.calls).where(call_store.calls.c.id == strange.id)
        await connection.execute(of_strange.values(hangup_by="somebody"))
        await connection.execute(
            sa.update(billing_holds).values(tm_expire=datetime.now(UTC) - timedelta(seconds=1))
        )
    await office.books.look_after_holds()
    await office.books._settle()
    assert (await office.cdr(plain)).amount_credit == 6_000
    assert (await office.state(owner)).held_credit == 0


async def test_what_was_held_bounds_a_charge_until_it_is_settled(database: Database, office: Office) -> None:
    owner = await office.account(600_000)
    call = a_call(owner)
    assert office.meters.begun(call) == ""
    meter = office.meters.meter(call.id)
    assert meter is not None
    office.meters._promise(meter, 4)
    await office.books._hold()
    async with database.begin() as connection:
        await connection.execute(
            sa.update(billing_holds).values(tm_expire=datetime.now(UTC) - timedelta(seconds=1))
        )
    successor = Office(database)
    successor.owners = office.owners
    late = over(a_call(owner, id=call.id), NOW, 3_000)
    async with database.begin() as connection:
        await call_store.insert(connection, [late.row()])
    await successor.write(late)
    # the chore comes before the settlement
    await successor.books.look_after_holds()
    successor.books.written()
    await successor.books._settle()
    assert (await successor.cdr(late)).amount_credit == 30_000
    assert (await successor.state(owner)).held_credit == 0


async def test_what_a_dead_controller_left_is_settled_once(database: Database, office: Office) -> None:
    owner = await office.account(600_000)
    recorded, forgotten, lasting, unknown = (a_call(owner) for _ in range(4))
    for call in (recorded, forgotten, lasting, unknown):
        assert office.meters.begun(call) == ""
    await office.books._hold()
    # its end was not seen: it is charged what was held for it at the most
    late = over(a_call(owner, id=recorded.id), NOW, 3_000)
    over(forgotten, NOW, 30)
    lasting.advance(Status.PROGRESSING, NOW)
    successor = Office(database)
    successor.owners = office.owners
    await successor.write(late)
    async with database.begin() as connection:
        await call_store.insert(connection, [forgotten.row(), lasting.row()])
        await connection.execute(
            sa.update(billing_holds).values(tm_expire=datetime.now(UTC) - timedelta(seconds=1))
        )
    await successor.books.look_after_holds()
    successor.books.written()
    await successor.books._settle()
    assert (await successor.cdr(late)).amount_credit == 6_000
    assert (await successor.cdr(forgotten)).amount_credit == 6_000
    async with database.connect() as connection:
        left = (await connection.execute(sa.select(billing_holds.c.reference_id))).scalars().all()
    assert [UUID(str(one)) for one in left] == [lasting.id]
    state = await successor.state(owner)
    assert (state.balance_credit, state.held_credit) == (588_000, 6_000)
    await successor.books.look_after_holds()
    await successor.books._settle()
    assert (await successor.state(owner)).balance_credit == 588_000
