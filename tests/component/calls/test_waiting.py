"""Calls that wait for their turn, against a real database: stored, shown, hung up, taken over by a successor."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from tests.component.calls.test_service import OWN, Board, Numbers

from ringline.calls import store
from ringline.calls.call import ZERO, Call
from ringline.calls.limits import Caps, LimitReached, Limits
from ringline.calls.ordering import Ordering
from ringline.calls.pacing import Pacing
from ringline.calls.service import CallService
from ringline.calls.waiting import Recipe
from ringline.calls.waiting_store import call_batches, waiting_calls
from ringline.clock import SystemClock
from ringline.errors import InvalidArgument
from ringline.sip.address import Address
from ringline.storage import Database

ACTIONS = [{"id": str(uuid4()), "type": "answer", "option": {}}]


class Journal:
    """Notes what it is told, and writes it when the test says so."""

    def __init__(self) -> None:
        self.calls: dict[UUID, Call] = {}
        self.flows: list[Any] = []

    def touch(self, call: Call) -> None:
        self.calls[call.id] = call

    def announce(self, calls: Any) -> None:
        pass

    def touch_live(self, call: Call) -> None:
        pass

    def touch_flow(self, flow: Any) -> None:
        self.flows.append(flow)

    def pending(self, call_id: UUID) -> Call | None:
        return self.calls.get(call_id)

    def disown(self, ids: list[UUID]) -> None:
        raise AssertionError("nothing is in doubt here")


class House:
    """One controller's part that places calls."""

    def __init__(self, database: Database, customer_id: UUID, *, rate: int, owner: str) -> None:
        self.customer_id = customer_id
        self.database = database
        self.now = 100.0
        self.board = Board()
        self.journal = Journal()
        self.customer = SimpleNamespace(
            id=customer_id, status="active", default_outgoing_source_number_id=None
        )
        limits = Limits(self.board.tally, lambda _: None, Caps(0, rate), now=lambda: self.now)
        self.pacing = Pacing(
            database,
            limits,
            self.journal,  # type: ignore[arg-type]
            SystemClock(),
            bound=lambda _: 50,
            owner=owner,
        )
        self.flows: list[tuple[UUID, Any]] = []
        ordering = Ordering(
            self.board,  # type: ignore[arg-type]
            SimpleNamespace(by_id=lambda _: self.customer),  # type: ignore[arg-type]
            Numbers(customer_id),  # type: ignore[arg-type]
            sip_domain="ringline.test",
            limits=limits,
        )
        self.service = CallService(
            database,
            self.board,  # type: ignore[arg-type]
            self.journal,  # type: ignore[arg-type]
            SimpleNamespace(connected=True),  # type: ignore[arg-type]
            SimpleNamespace(  # type: ignore[arg-type]
                attach=lambda flow, call: self.flows.append((call.id, flow)),
                detach=lambda call: None,
                current=lambda _: None,
                prepare=lambda *given: given,
            ),
            ordering,
            self.pacing,
        )

    async def create(self, count: int, seed: UUID | None = None) -> list[Any]:
        return await self.service.create(
            self.customer_id,
            source=Address(type="tel", target=OWN),
            destinations=[Address(type="tel", target=f"+1555{number:07}") for number in range(1, count + 1)],
            anonymous="auto",
            prepare=lambda: (self.customer_id, ZERO, ACTIONS, {}),  # type: ignore[arg-type,return-value]
            seed=seed,
            recipe=Recipe(ZERO, ACTIONS, {"name": "Ada"}, ("https://example.org", "POST"), 100),
        )

    async def turns(self, seconds: float) -> None:
        for _ in range(int(seconds * 100)):
            self.now += 0.01
            await self.pacing._turn()

    @property
    def dialled(self) -> list[UUID]:
        return [call.id for call, *_ in self.board.dialled]


def ids(records: list[Any]) -> list[UUID]:
    return [record.id if isinstance(record, Call) else UUID(str(record["id"])) for record in records]


@pytest.fixture
def owner() -> str:
    return uuid4().hex


async def left(database: Database, customer_id: UUID) -> tuple[int, int]:
    """How many calls of the customer wait by what is stored, and in how many batches."""
    async with database.connect() as connection:
        batches = select(call_batches.c.id).where(call_batches.c.customer_id == customer_id)
        calls = await connection.scalar(
            select(func.count()).select_from(waiting_calls).where(waiting_calls.c.batch_id.in_(batches))
        )
        return int(calls or 0), len((await connection.execute(batches)).all())


async def test_a_batch_is_accepted_stored_and_placed_in_order(database: Database, owner: str) -> None:
    house = House(database, uuid4(), rate=10, owner=owner)
    made = await house.create(30)
    assert len(made) == 30
    assert house.dialled == ids(made)[:10]
    assert await left(database, house.customer_id) == (20, 1)
    async with database.connect() as connection:
        rows = {
            UUID(str(row.id)): row for row in await store.several(connection, house.customer_id, ids(made))
        }
    assert {row.status for row in rows.values()} == {"dialing"}
    assert [rows[one].tm_dialing is None for one in ids(made)] == [False] * 10 + [True] * 20
    record, action = await house.service.get(house.customer_id, made[15].id)
    assert (record, action) == (made[15], None)
    assert house.service.position(record) == 6
    await house.turns(2.2)
    assert house.dialled == ids(made)
    assert [flow for _, flow in house.flows[10:]] == [
        (house.customer_id, ZERO, ACTIONS, {"name": "Ada"}, ("https://example.org", "POST"))
    ] * 20
    await house.pacing._forget()
    assert await left(database, house.customer_id) == (0, 0)


async def test_a_repetition_finds_those_that_wait(database: Database, owner: str) -> None:
    house, seed = House(database, uuid4(), rate=10, owner=owner), uuid4()
    first = await house.create(15, seed)
    again = await house.create(15, seed)
    assert ids(again) == ids(first)
    assert await left(database, house.customer_id) == (5, 1)
    await house.turns(1.0)
    assert house.dialled == ids(first)


async def test_too_many_are_refused_and_nothing_is_stored(database: Database, owner: str) -> None:
    house = House(database, uuid4(), rate=10, owner=owner)
    with pytest.raises(LimitReached):
        await house.create(61)
    assert await left(database, house.customer_id) == (0, 0)
    assert house.dialled == []
    await house.create(60)


async def test_a_call_that_waits_is_hung_up_and_deleted(database: Database, owner: str) -> None:
    house = House(database, uuid4(), rate=10, owner=owner)
    made = await house.create(13)
    record, _ = await house.service.hang_up(house.customer_id, made[11].id)
    assert isinstance(record, Call)
    assert (record.status, record.hangup_reason) == ("hangup", "cancel")
    deleted = await house.service.delete(house.customer_id, made[12].id)
    assert isinstance(deleted, Call)
    assert deleted.tm_delete is not None
    await house.turns(1.0)
    assert house.dialled == ids(made)[:11]


async def test_a_successor_goes_on_where_it_was_and_places_nothing_twice(
    database: Database, owner: str
) -> None:
    customer_id = uuid4()
    before = House(database, customer_id, rate=10, owner=owner)
    made = ids(await before.create(30))
    house_of_another = House(database, customer_id, rate=10, owner=uuid4().hex)
    await before.turns(0.55)
    assert 14 <= len(before.dialled) <= 16
    # killed: that some were placed is known by what was kept of them, or by their rows
    kept: dict[UUID, Any] = dict.fromkeys(before.dialled)
    last = before.dialled[-1]
    del kept[last]
    async with database.begin() as connection:
        await connection.execute(
            store.calls.update().where(store.calls.c.id == last).values(activeflow_id=uuid4())
        )
    after = House(database, customer_id, rate=10, owner=owner)
    async with database.connect() as connection:
        assert await house_of_another.pacing.load(connection, {}) == {}
        taken = await after.pacing.load(connection, kept)
    assert set(taken) == set(made) - set(before.dialled)
    assert after.pacing.waiting(customer_id) == len(taken)
    await after.turns(3.0)
    assert before.dialled + after.dialled == made
    await after.pacing._forget()
    assert await left(database, customer_id) == (0, 0)


async def rows_of(house: House, ids: list[UUID]) -> list[Any]:
    async with house.database.connect() as connection:
        rows = {UUID(str(row.id)): row for row in await store.several(connection, house.customer_id, ids)}
    return [rows[one] for one in ids]


async def test_that_it_is_its_turn_is_stored_before_a_call_is_placed(database: Database, owner: str) -> None:
    house = House(database, uuid4(), rate=10, owner=owner)
    made = ids(await house.create(14))
    place = house.pacing.place
    seen: list[UUID] = []

    def note(waiting: Any) -> None:
        seen.append(waiting.call.id)
        assert waiting.claimed is not None
        place(waiting)

    house.pacing.place = note
    await house.turns(0.25)
    assert seen == made[10:12]
    dialling = [row.tm_dialing for row in await rows_of(house, made)]
    assert all(dialling[:12]) and dialling[12:] == [None, None]
    assert [row.tm_update for row in await rows_of(house, made)] == [None] * 14
    house.pacing.kept = lambda: False
    await house.turns(0.1)
    (third,) = await rows_of(house, made[12:13])
    assert third.tm_update == third.tm_dialing is not None, "it says that nothing else will be known"


async def test_of_two_controllers_one_places_a_call(database: Database, owner: str) -> None:
    customer_id = uuid4()
    before = House(database, customer_id, rate=10, owner=owner)
    made = ids(await before.create(14))
    after = House(database, customer_id, rate=10, owner=owner)
    async with database.connect() as connection:
        assert set(await after.pacing.load(connection, {})) == set(made[10:])
    # the one before was frozen, and goes on as if nothing had happened
    await before.turns(0.15)
    await after.turns(0.35)
    await before.turns(1.0)
    assert before.dialled + after.dialled == [*made[:11], *made[11:]]
    assert before.dialled == made[:11]
    assert len(before.pacing) == len(after.pacing) == 0


async def test_what_was_claimed_by_one_that_was_killed_is_settled(database: Database, owner: str) -> None:
    customer_id = uuid4()
    before = House(database, customer_id, rate=10, owner=owner)
    made = ids(await before.create(16))

    def die(waiting: Any) -> None:
        raise KeyboardInterrupt

    before.pacing.place = die
    before.now += 0.35
    with pytest.raises(KeyboardInterrupt):
        await before.pacing._turn()
    unkept = House(database, customer_id, rate=10, owner=owner)
    async with database.connect() as connection:
        waiting = await unkept.pacing.load(connection, {})
    assert list(waiting) == made[10:]
    claimed = [call.id for call in waiting.values() if call.tm_dialing is not None]
    assert claimed == made[10:13]
    (there,) = unkept.pacing.settle({waiting[made[11]].channel_id}, sure=True)
    assert there.id == made[11]
    assert [call_id for call_id, _ in unkept.flows] == [made[11]]
    assert unkept.journal.flows == [flow for _, flow in unkept.flows]
    await unkept.turns(1.0)
    assert unkept.dialled == [made[10], *made[12:]]
    await unkept.pacing._forget()
    assert await left(database, customer_id) == (0, 0)


async def test_what_waits_is_judged_again_when_its_turn_comes(database: Database, owner: str) -> None:
    house = House(database, uuid4(), rate=10, owner=owner)
    made = await house.create(12)
    house.customer.status = "frozen"
    await house.turns(0.5)
    assert house.dialled == ids(made)[:10]
    assert {call.hangup_reason.value for call in made[10:]} == {"failed"}
    assert "not active" in made[10].hangup_detail


async def test_other_work_goes_on_while_a_thousand_are_made(database: Database, owner: str) -> None:
    house = House(database, uuid4(), rate=10, owner=owner)
    house.pacing._bound = lambda _: 10_000
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1

    task = asyncio.create_task(beat())
    made = await house.create(1000)
    task.cancel()
    assert len(made) == 1000
    assert beats >= 20
    with pytest.raises(InvalidArgument):
        await house.service.create(
            house.customer_id,
            source=Address(type="tel", target="+15550000000"),
            destinations=[Address(type="tel", target="+15559876543")],
            anonymous="auto",
            prepare=lambda: (house.customer_id, ZERO, ACTIONS, {}),  # type: ignore[arg-type,return-value]
            recipe=Recipe(ZERO, ACTIONS, {}, size=100),
        )
