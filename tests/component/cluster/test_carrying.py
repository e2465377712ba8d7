"""Requests that one process takes and another carries out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline.cluster.courier import Courier
from ringline.cluster.desk import Desk
from ringline.cluster.leases import Leases
from ringline.cluster.placement import at_controller, at_owner
from ringline.cluster.roll import Roll, Unit, fields_of
from ringline.cluster.tasks import ended
from ringline.errors import NotFound, Unavailable
from ringline.http import Principal, Request, RequestModel, ResponseModel, Route
from ringline.http.carried import Carried, Outcome
from ringline.http.endpoint import Endpoint
from ringline.storage import Live


class Wanted(RequestModel):
    text: str


class Said(ResponseModel):
    text: str


Handle = Callable[[Request[Any, Any]], Any]


class House:
    """A controller with a desk; ``asked`` are the texts of the requests that it has carried out."""

    def __init__(self, live: Live, name: str) -> None:
        self.name = name
        self.asked: list[str] = []
        self.seeds: list[UUID | None] = []
        self.owned: set[UUID] = set()
        # longer than a busy machine pauses
        self.leases = Leases(live, f"holder of {name}", seconds=15.0)
        self.epoch = 0
        self.handle: Handle = self.say
        self._live = live
        self._desk: Desk | None = None

    async def open(self, calls: int = 0) -> None:
        epoch = await self.leases.claim(self.name)
        assert epoch is not None
        self.epoch = epoch
        await self.leases.renew(self.name, epoch, **fields_of(calls=calls, serves=True, takes=True))
        stream = Unit(self.name, "", epoch, 0, True, True).asked_at
        routes = [*POST_ANY, *OWNED]
        operations = {(route.method, route.path): self._perform(route) for route in routes}
        self._desk = Desk(self._live, stream, operations, self.owned.__contains__)
        await self._desk.start()

    async def close(self) -> None:
        if self._desk is not None:
            await self._desk.close()

    async def say(self, request: Request[Any, Any]) -> Said:
        return Said(text=f"{request.body.text} by {self.name}")

    def _perform(self, route: Route) -> Callable[[Carried], Any]:
        async def handler(request: Request[Any, Any]) -> Any:
            self.asked.append(request.body.text)
            self.seeds.append(request.idempotency_seed)
            return await self.handle(request)

        placed = replace(route, handler=handler)
        return Endpoint(placed, authenticator=None, idempotency=None, max_body_bytes=10_000).perform  # type: ignore[arg-type]  # nobody is authenticated here


async def nobody(_: Request[Any, Any]) -> None:
    raise AssertionError("it was to be carried")


POST_ANY = at_controller(
    [
        Route(
            method="POST",
            path="/things",
            handler=nobody,
            summary="Make one",
            response=Said,
            body=Wanted,
            timeout=30.0,
        )
    ]
)
OWNED = at_owner(
    [
        Route(
            method="PUT",
            path="/things/{thing_id}",
            handler=nobody,
            summary="Change one",
            response=Said,
            body=Wanted,
            timeout=30.0,
        )
    ]
)


def carried(route: Route, text: str = "hello", thing: UUID | None = None, **more: Any) -> Carried:
    return Carried(
        method=route.method,
        route=route.path,
        principal=Principal(uuid4(), uuid4(), None, 64, "somebody"),
        path={} if thing is None else {"thing_id": str(thing)},
        words={},
        query={},
        headers={"Accept": "application/json"},
        request_id="req_1",
        remote="127.0.0.1",
        secure=False,
        target="/things",
        body=b'{"text": "%s"}' % text.encode(),
        **more,
    )


@pytest.fixture
async def houses(live: Live, asterisk: str) -> AsyncIterator[list[House]]:
    made = [House(live, asterisk), House(live, f"{asterisk}-2")]
    yield made
    for house in made:
        await house.close()


@pytest.fixture
async def courier(live: Live, houses: list[House]) -> AsyncIterator[Courier]:
    roll = Roll(live, [house.name for house in houses])
    courier = Courier(live, roll, uuid4().hex)
    await roll.start()
    await courier.start()
    yield courier
    await courier.close()
    await roll.close()


async def renewing(house: House, calls: int = 0) -> None:
    while True:
        state = fields_of(calls=calls, serves=True, takes=True)
        await house.leases.renew(house.name, house.epoch, **state)
        await asyncio.sleep(0.3)


@pytest.fixture
async def opened(houses: list[House]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Both drive an Asterisk; the first one has fewer calls."""
    tasks = []
    for calls, house in enumerate(houses):
        await house.open(calls)
        tasks.append(asyncio.create_task(renewing(house, calls)))
    yield tasks
    await ended(*tasks)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def test_what_begins_goes_to_the_controller_with_the_fewest_calls(
    opened: list[asyncio.Task[None]], houses: list[House], courier: Courier
) -> None:
    await until(lambda: len(courier._roll.units()) == 2)
    seed = uuid4()
    outcome = await courier.carry(POST_ANY[0], carried(POST_ANY[0], seed=seed))
    assert (outcome.status, outcome.body) == (200, b'{"text":"hello by %s"}' % houses[0].name.encode())
    assert houses[0].seeds == [seed]
    assert houses[1].asked == []


async def test_what_is_in_a_controllers_memory_is_done_there_and_only_there(
    opened: list[asyncio.Task[None]], houses: list[House], courier: Courier
) -> None:
    await until(lambda: len(courier._roll.units()) == 2)
    mine, nobodys = uuid4(), uuid4()
    houses[1].owned.add(mine)
    outcome = await courier.carry(OWNED[0], carried(OWNED[0], "owned", mine))
    assert outcome.body == b'{"text":"owned by %s"}' % houses[1].name.encode()
    assert (houses[0].asked, houses[1].asked) == ([], ["owned"])
    # what nobody has is in the database, which any of them reads
    await courier.carry(OWNED[0], carried(OWNED[0], "old", nobodys))
    assert houses[0].asked + houses[1].asked == ["old", "owned"]


async def test_failures_and_faults_come_back_as_they_would_be_answered(
    opened: list[asyncio.Task[None]], houses: list[House], courier: Courier
) -> None:
    async def missing(_: Request[Any, Any]) -> None:
        raise NotFound("There is no thing.", reason="THING_NOT_FOUND")

    async def broken(_: Request[Any, Any]) -> None:
        raise ZeroDivisionError

    await until(lambda: len(courier._roll.units()) == 2)
    houses[0].handle = missing
    outcome = await courier.carry(POST_ANY[0], carried(POST_ANY[0]))
    assert outcome.status == 404
    assert b"THING_NOT_FOUND" in outcome.body
    assert b"req_1" in outcome.body
    houses[0].handle = broken
    outcome = await courier.carry(POST_ANY[0], carried(POST_ANY[0]))
    assert outcome.status == 500
    assert b"ZeroDivision" not in outcome.body


async def test_nothing_is_carried_out_after_its_time(live: Live, asterisk: str) -> None:
    done: list[Carried] = []

    async def perform(request: Carried) -> Outcome:
        done.append(request)
        return Outcome(200, {}, b"")

    stream = f"ringline:ask:{asterisk}:1"
    head, body = carried(POST_ANY[0]).dump()
    entry: dict[Any, Any] = {"id": "1", "answers": f"ringline:answers:{asterisk}", "head": head, "body": body}
    await live.client.xadd(stream, {**entry, "until": str(time.time() - 0.1)})
    await live.client.xadd(stream, {**entry, "id": "2", "until": str(time.time() + 60)})
    desk = Desk(live, stream, {("POST", "/things"): perform}, lambda _: False)
    await desk.start()
    try:
        await until(lambda: bool(done))
        found: Any = await live.client.xread({f"ringline:answers:{asterisk}": "0"}, block=10_000)
        assert [fields[b"id"] for _, entries in found for _, fields in entries] == [b"2"]
        assert len(done) == 1
    finally:
        await desk.close()


async def test_a_lost_controller_is_noticed_and_only_what_is_safe_is_repeated(
    opened: list[asyncio.Task[None]], live: Live, houses: list[House], courier: Courier
) -> None:
    await until(lambda: len(courier._roll.units()) == 2)
    first, second = houses
    await ended(opened[1])
    await second.close()
    await second.leases.release(second.name, second.epoch)
    await until(lambda: len(courier._roll.units()) == 1)

    async def silent(_: Request[Any, Any]) -> None:
        await asyncio.sleep(60)

    first.handle = silent
    once = asyncio.create_task(courier.carry(POST_ANY[0], carried(POST_ANY[0], "once")))
    safe = asyncio.create_task(courier.carry(POST_ANY[0], carried(POST_ANY[0], "safe", seed=uuid4())))
    await until(lambda: len(first.asked) == 2)
    # it dies: its lease runs out, and another process takes the Asterisk
    await ended(opened[0])
    await first.leases.release(first.name, first.epoch)
    successor = House(live, first.name)
    await successor.open()
    try:
        with pytest.raises(Unavailable, match="whether it was done"):
            await once
        assert (await safe).body == b'{"text":"safe by %s"}' % first.name.encode()
        assert successor.asked == ["safe"]
    finally:
        await successor.close()


async def test_without_a_controller_it_is_said_at_once(courier: Courier) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match="No controller"):
        await courier.carry(POST_ANY[0], carried(POST_ANY[0]))
    assert time.monotonic() - began < 10
