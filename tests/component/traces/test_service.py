"""Traces with a real database: stored once a call has ended, swept by age and by size."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from tests.unit.traces.wire import KEY, SOCKETS, outgoing

from ringline.calls.call import Call
from ringline.calls.states import Direction, Status
from ringline.errors import NotFound
from ringline.http import utc_now
from ringline.sip.address import Address
from ringline.storage import Database
from ringline.traces import service as traces
from ringline.traces.service import Trace, TraceService
from ringline.traces.store import sip_traces

CUSTOMER = UUID(int=7)


class Board:
    """Live calls, and all that there are."""

    def __init__(self) -> None:
        self.watchers: list[Callable[[Call], None]] = []
        self.live: list[Call] = []
        self.known: dict[UUID, Call] = {}

    def calls(self) -> list[Call]:
        return self.live

    async def get(self, customer_id: UUID, call_id: UUID) -> tuple[Call, None]:
        call = self.known.get(call_id)
        if call is None or call.customer_id != customer_id:
            raise NotFound("There is no such call.", reason="CALL_NOT_FOUND")
        return call, None

    def place(self, sip_call_id: str, **fields: Any) -> Call:
        call = Call(
            id=uuid4(),
            customer_id=CUSTOMER,
            direction=Direction.OUTGOING,
            source=Address(type="tel", target="+15551234567"),
            destination=Address(type="tel", target="+15559876543"),
            channel_id="call-1",
            status=Status.PROGRESSING,
            sip_call_id=sip_call_id,
            tm_create=utc_now(),
        )
        for name, value in fields.items():
            setattr(call, name, value)
        self.known[call.id] = call
        self.live.append(call)
        return call

    def end(self, call: Call) -> None:
        self.live.remove(call)
        for watcher in self.watchers:
            watcher(call)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Room:
    """The service, a board, and a Kamailio that sends."""

    def __init__(self, database: Database, **changes: Any) -> None:
        self.board = Board()
        self.port = free_port()
        self.database = database
        values: dict[str, Any] = {"key": KEY, "port": self.port, "days": 7.0, "max_bytes": 10**9, **changes}
        self.service = TraceService(database, self.board, SOCKETS, **values)  # type: ignore[arg-type]
        self.service.calls = self.board  # type: ignore[assignment]  # all that is asked of it

    async def send(self, *datagrams: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for one in datagrams:
                sender.sendto(one, ("127.0.0.1", self.port))
        # the event loop reads one each time round, however long it was kept from it
        for _ in range(len(datagrams) + 10):
            await asyncio.sleep(0.01)

    async def stored(self) -> set[UUID]:
        async with self.database.connect() as connection:
            return {UUID(str(one)) for one in await connection.scalars(sa.select(sip_traces.c.id))}


@pytest.fixture
async def room(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    monkeypatch.setattr(traces, "LINGER_SECONDS", 1.0)
    made = Room(database)
    await made.service.start()
    yield made
    await made.service.close()


async def test_a_call_is_shown_while_it_lasts_and_stored_when_it_has_ended(room: Room) -> None:
    call = room.board.place("one")
    await room.send(*outgoing("one")[:4])
    (leg,) = await room.service.legs(CUSTOMER, call.id, linked=True)
    assert [one.method for one in leg.messages] == ["INVITE"] * 4
    assert await room.stored() == set()
    room.board.end(call)
    await room.send(*outgoing("one")[4:])
    for _ in range(300):
        if call.id in await room.stored():
            break
        await asyncio.sleep(0.1)
    (leg,) = await room.service.legs(CUSTOMER, call.id, linked=True)
    assert len(leg.messages) == 10
    assert room.service.capture.dialog("one") is None
    with pytest.raises(NotFound):
        await room.service.legs(uuid4(), call.id, linked=True)


async def test_linked_calls_are_legs_and_foreign_ones_are_not(room: Room) -> None:
    master = room.board.place("master")
    child = room.board.place("child", master_call_id=master.id)
    foreign = room.board.place("foreign", customer_id=uuid4())
    master.chained_call_ids = [child.id, foreign.id, uuid4()]
    await room.send(*outgoing("master"), *outgoing("child"), *outgoing("foreign"))
    assert [leg.sip_call_id for leg in await room.service.legs(CUSTOMER, master.id, linked=True)] == [
        "master",
        "child",
    ]
    assert [leg.sip_call_id for leg in await room.service.legs(CUSTOMER, child.id, linked=True)] == [
        "child",
        "master",
    ]
    assert len(await room.service.legs(CUSTOMER, child.id, linked=False)) == 1


async def test_what_has_ended_is_written_before_the_controller_stops(database: Database) -> None:
    room = Room(database)
    await room.service.start()
    call = room.board.place("late")
    await room.send(*outgoing("late"))
    room.board.end(call)
    await room.service.close()
    assert call.id in await room.stored()


async def test_switched_off_nothing_is_taken_in(database: Database) -> None:
    room = Room(database, days=0.0)
    await room.service.start()
    call = room.board.place("off")
    await room.send(*outgoing("off"))
    assert room.board.watchers == []
    (leg,) = await room.service.legs(CUSTOMER, call.id, linked=True)
    assert leg.messages == []
    await room.service.look()
    await room.service.close()


async def test_a_taken_port_is_asked_for_again(database: Database) -> None:
    room = Room(database)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", room.port))
        await room.service.start()
    call = room.board.place("again")
    await room.service.look()
    await room.send(*outgoing("again"))
    (leg,) = await room.service.legs(CUSTOMER, call.id, linked=True)
    assert len(leg.messages) == 10
    await room.service.close()


async def test_the_sweep_takes_what_is_old_and_the_oldest_of_what_is_too_much(database: Database) -> None:
    room = Room(database, max_bytes=2500)
    async with database.begin() as connection:
        await connection.execute(sa.delete(sip_traces))
        rows = []
        for age in range(10):
            made = utc_now() - timedelta(days=age, hours=1)
            row = Trace(UUID(int=age + 1), CUSTOMER, 1, 0, bytes(1000), made).row()
            rows.append({**row, "data": bytes(1000)})
        await connection.execute(sa.insert(sip_traces), rows)
    await room.service.sweep()
    assert await room.stored() == {UUID(int=1), UUID(int=2)}
    await Room(database, days=0.0).service.sweep()
    assert await room.stored() == set()
