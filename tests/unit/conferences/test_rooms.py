"""Who is in a conference, under every order of coming, going, kicking, ending and dying."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline.calls.bridges import Bridges
from ringline.calls.call import ZERO, Call
from ringline.calls.leg import Left, LegError, LegGone
from ringline.calls.membership import Gatherings
from ringline.clock import SystemClock
from ringline.conferences import rooms as rooms_module
from ringline.conferences import store
from ringline.conferences.announcements import Announcements
from ringline.conferences.records import Conference, Conferencecall
from ringline.conferences.rooms import MAX_PARTICIPANTS, Rooms
from ringline.conferences.states import ConferencecallStatus, ConferenceStatus
from ringline.errors import FailedPrecondition, NotFound
from ringline.media.prompt import Prompt
from tests.unit.calls.desk import Desk

CUSTOMER = uuid4()
BEEP = "sound:/media/beep"


class Rows:
    """Stands for the table: rows by id, and whether reading them takes until it is allowed."""

    def __init__(self) -> None:
        self.conferences: dict[UUID, Any] = {}
        self.calls: dict[UUID, Any] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.reads = 0

    def add(self, **fields: Any) -> Conference:
        conference = Conference(
            uuid4(),
            CUSTOMER,
            fields.pop("type", "conference"),
            ConferenceStatus.PROGRESSING,
            _now(),
            **fields,
        )
        self.keep(conference)
        return conference

    def keep(self, conference: Conference) -> None:
        self.conferences[conference.id] = SimpleNamespace(
            **{name: getattr(conference, name) for name in Conference.__dataclass_fields__}
        )

    async def one(self, _connection: Any, _table: Any, customer_id: UUID, row_id: UUID) -> Any:
        self.reads += 1
        row = self.conferences.get(row_id)
        found = row if row is not None and row.customer_id == customer_id and row.tm_delete is None else None
        await self.gate.wait()
        return found

    async def conferencecall(self, _connection: Any, customer_id: UUID, row_id: UUID) -> Any:
        row = self.calls.get(row_id)
        return row if row is not None and row.customer_id == customer_id else None

    async def unfinished(self, _connection: Any) -> tuple[list[Any], list[Any]]:
        calls = [row for row in self.calls.values() if row.status != "terminated"]
        chosen = {row.conference_id for row in calls}
        return calls, [
            row for row in self.conferences.values() if row.id in chosen or row.status == "terminating"
        ]


class NoDatabase:
    home = ""

    def connect(self) -> NoDatabase:
        return self

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


class Sounds:
    async def beep(self) -> Prompt:
        return Prompt("/media/beep", 200)


class Written:
    """What was marked to be written, as it then was."""

    def __init__(self) -> None:
        self.states: dict[UUID, list[str]] = {}

    def touch(self, record: Any) -> None:
        seen = self.states.setdefault(record.id, [])
        if not seen or seen[-1] != record.status.value:
            seen.append(record.status.value)

    async def written(self) -> None:
        pass


class House(Desk):
    """A desk whose calls meet in conferences."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.rows = rows
        self.clock = SystemClock()
        self.bridges = Bridges()
        self.gatherings = Gatherings(self.client, self.bridges)  # type: ignore[arg-type]
        announcements = Announcements(self.client, Sounds())  # type: ignore[arg-type]
        self.rooms = Rooms(
            NoDatabase(),  # type: ignore[arg-type]
            self.client,  # type: ignore[arg-type]
            self.gatherings,
            announcements,
            self.clock,
        )
        self.written_calls, self.written_conferences = Written(), Written()
        self.rooms.written_calls = self.written_calls  # type: ignore[assignment]
        self.rooms.written_conferences = self.written_conferences  # type: ignore[assignment]
        self.board.gatherings = self.gatherings
        self.board.watchers += [self.gatherings.call_ended, self.rooms.call_ended]

    def party(self) -> Call:
        call = self.answered()
        call.customer_id = CUSTOMER
        return call

    async def enter(self, call: Call, conference: Conference, stay_id: UUID | None = None, **how: Any) -> Any:
        how = {"activeflow_id": ZERO, "fresh": True, "resumed": False, **how}
        return await self.rooms.enter(call, conference.id, stay_id or uuid4(), **how)

    async def join(self, call: Call, conference: Conference) -> tuple[Conferencecall, asyncio.Task[Left]]:
        _, member = await self.enter(call, conference)
        task = asyncio.create_task(self.rooms.stay(self.leg(call), member.id))
        await settled()
        return member, task

    def live(self, conference: Conference) -> Conference:
        """The conference as the house holds it."""
        return self.rooms.conference(CUSTOMER, conference.id) or conference

    def sent(self, method: str, part: str) -> list[Any]:
        return [
            query or body for sent, uri, query, body in self.client.sent if sent == method and part in uri
        ]

    def nothing_left(self, *conferences: Conference) -> None:
        for conference in conferences:
            assert self.rooms.members(conference) == []
            assert self.rooms.conference(CUSTOMER, conference.id) is None
            assert not self.bridges.known_bridge(conference.bridge)
            assert self.gatherings.members(conference.bridge) == []
        for states in self.written_calls.states.values():
            assert states[-1] == "terminated"


def _now() -> Any:
    return SystemClock().now()


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    rows = Rows()
    monkeypatch.setattr(rooms_module.rows, "one", rows.one)
    monkeypatch.setattr(store, "conferencecall", rows.conferencecall)
    monkeypatch.setattr(store, "unfinished", rows.unfinished)
    made = House(rows)
    yield made
    made.board.close()


async def settled() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def result(task: asyncio.Task[Left]) -> Left:
    async with asyncio.timeout(30):
        return await task


async def test_a_stay_from_joining_to_its_end(house: House) -> None:
    conference = house.rows.add()
    call = house.party()
    known, member = await house.enter(call, conference)
    assert (known.id, member.status, member.reference_id) == (conference.id, "joining", call.id)
    assert house.rooms.member(CUSTOMER, member.id) is member
    assert house.rooms.member(uuid4(), member.id) is None, "another customer's"
    task = asyncio.create_task(house.rooms.stay(house.leg(call), member.id))
    await settled()
    assert member.status is ConferencecallStatus.PROGRESSING
    assert house.rooms.members(conference) == [member]
    house.rooms.kick(member)
    assert member.status is ConferencecallStatus.TERMINATING
    house.rooms.kick(member)
    assert await result(task) is Left.KICKED
    assert house.written_calls.states[member.id] == ["joining", "progressing", "terminating", "terminated"]
    assert house.live(conference).status is ConferenceStatus.PROGRESSING, "it is there for the next"
    house.rooms.kick(member)
    house.nothing_left(conference)
    _, again = await house.join(call, conference)
    house.destroyed(call, 16)
    with pytest.raises(LegGone):
        await result(again)


async def test_unknown_foreign_over_and_full(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    call = house.party()
    with pytest.raises(NotFound) as unknown:
        await house.rooms.enter(call, uuid4(), uuid4(), activeflow_id=ZERO, fresh=True, resumed=False)
    assert unknown.value.reason == "CONFERENCE_NOT_FOUND"
    conference = house.rows.add()
    stranger = house.answered()
    with pytest.raises(NotFound):
        await house.enter(stranger, conference)
    assert MAX_PARTICIPANTS == 100
    monkeypatch.setattr(rooms_module, "MAX_PARTICIPANTS", 1)
    member, task = await house.join(call, conference)
    with pytest.raises(FailedPrecondition) as full:
        await house.enter(house.party(), conference)
    assert full.value.reason == "CONFERENCE_FULL"
    conference.advance(ConferenceStatus.TERMINATING, _now())
    house.rooms.end(conference)
    with pytest.raises(FailedPrecondition) as over:
        await house.enter(house.party(), conference)
    assert over.value.reason == "CONFERENCE_TERMINATED"
    assert await result(task) is Left.DISSOLVED
    assert house.written_conferences.states[conference.id][-1] == "terminated"
    assert house.written_calls.states[member.id][-2:] == ["terminating", "terminated"]
    house.nothing_left(conference)


async def test_two_join_an_empty_conference_at_once(house: House) -> None:
    conference = house.rows.add()
    house.rows.gate.clear()
    calls = [house.party() for _ in range(5)]
    entering = [asyncio.create_task(house.enter(call, conference)) for call in calls]
    await settled()
    house.rows.gate.set()
    members = [(await one)[1] for one in entering]
    tasks = [
        asyncio.create_task(house.rooms.stay(house.leg(call), member.id))
        for call, member in zip(calls, members, strict=True)
    ]
    await settled()
    made = [
        uri
        for sent, uri, _, _ in house.client.sent
        if (sent, uri) == ("POST", f"bridges/{conference.bridge}")
    ]
    assert len(made) == 1
    assert len(house.sent("POST", "/addChannel")) == 5
    house.rooms.end(house.live(conference))
    assert [await result(task) for task in tasks] == [Left.DISSOLVED] * 5
    assert len(house.sent("DELETE", f"bridges/{conference.bridge}")) == 1
    house.nothing_left(conference)


async def test_the_conference_ends_while_the_first_is_on_the_way(house: House) -> None:
    conference = house.rows.add()
    house.rows.gate.clear()
    entering = asyncio.create_task(house.enter(house.party(), conference))
    await settled()
    # its row was read before it changed
    conference.advance(ConferenceStatus.TERMINATING, _now())
    house.rooms.end(conference)
    house.rows.gate.set()
    with pytest.raises(FailedPrecondition) as over:
        await entering
    assert over.value.reason == "CONFERENCE_TERMINATED"
    house.nothing_left(conference)


async def test_the_call_hangs_up_while_its_conference_is_read(house: House) -> None:
    conference = house.rows.add()
    house.rows.gate.clear()
    call = house.party()
    entering = asyncio.create_task(house.enter(call, conference))
    await settled()
    house.destroyed(call, 16)
    house.rows.gate.set()
    with pytest.raises(LegGone):
        await entering
    house.nothing_left(conference)


async def test_ending_or_kicking_within_the_pre_flow(house: House) -> None:
    conference = house.rows.add()
    kicked, caught = house.party(), house.party()
    _, first = await house.enter(kicked, conference)
    _, second = await house.enter(caught, conference)
    house.rooms.kick(first)
    assert first.status is ConferencecallStatus.TERMINATED
    house.rooms.end(house.live(conference))
    assert second.status is ConferencecallStatus.TERMINATED
    for call, member in ((kicked, first), (caught, second)):
        assert await house.rooms.stay(house.leg(call), member.id) is Left.DISSOLVED
    assert house.sent("POST", "/addChannel") == []
    assert house.written_conferences.states[conference.id] == ["terminating", "terminated"]
    house.nothing_left(conference)


async def test_a_flow_that_left_its_pre_flow_and_joins_elsewhere(house: House) -> None:
    first, second = house.rows.add(), house.rows.add()
    call = house.party()
    _, stale = await house.enter(call, first)
    member, task = await house.join(call, second)
    assert stale.status is ConferencecallStatus.TERMINATED
    assert house.rooms.members(first) == []
    house.rooms.kick(member)
    await result(task)
    house.nothing_left(first, second)


async def test_an_id_that_names_somebody_elses_stay(house: House) -> None:
    conference = house.rows.add()
    other, call = house.party(), house.party()
    _, member = await house.enter(other, conference)
    assert (await house.enter(call, conference, member.id, fresh=False))[1] is None
    assert (await house.enter(call, conference, uuid4(), fresh=False))[1] is None, "and one that never was"
    assert await house.rooms.stay(house.leg(call), member.id) is Left.DISSOLVED
    house.rooms.kick(member)
    house.nothing_left(conference)


async def test_a_connect_conference_ends_with_its_last_but_one(house: House) -> None:
    conference = house.rows.add(type="connect")
    first, task = await house.join(house.party(), conference)
    house.rooms.kick(first)
    await result(task)
    assert house.written_conferences.states == {}, "one alone has not been connected yet"
    calls = [house.party() for _ in range(3)]
    stays = [await house.join(call, conference) for call in calls]
    house.destroyed(calls[0], 16)
    with pytest.raises(LegGone):
        await result(stays[0][1])
    assert house.live(conference).status is ConferenceStatus.PROGRESSING
    house.rooms.kick(stays[1][0])
    assert await result(stays[1][1]) is Left.KICKED
    assert await result(stays[2][1]) is Left.DISSOLVED
    assert house.written_conferences.states[conference.id] == ["terminating", "terminated"]
    house.nothing_left(conference)


async def test_a_bridge_that_is_lost_is_made_anew(house: House) -> None:
    conference = house.rows.add()
    stays = [await house.join(house.party(), conference) for _ in range(3)]
    house.bridges.bridge_lost(conference.bridge)
    await settled()
    await settled()
    assert {member.status for member, _ in stays} == {ConferencecallStatus.PROGRESSING}
    assert len(house.sent("POST", "/addChannel")) == 6
    house.rooms.end(house.live(conference))
    assert [await result(task) for _, task in stays] == [Left.DISSOLVED] * 3
    house.nothing_left(conference)
    member, task = await house.join(house.party(), house.rows.add())
    for _ in range(rooms_module.MAX_LOSSES + 1):
        house.bridges.bridge_lost(f"conference-{member.conference_id}")
        await settled()
        await settled()
    with pytest.raises(LegError) as lost:
        await result(task)
    assert lost.value.reason == "BRIDGE_LOST"


async def test_beeps(house: House) -> None:
    conference = house.rows.add(beep="both")
    first, task = await house.join(house.party(), conference)
    second, other = await house.join(house.party(), conference)
    assert house.sent("POST", "/play") == [{"media": [BEEP]}] * 2
    house.rooms.kick(first)
    await result(task)
    assert len(house.sent("POST", "/play")) == 3
    house.rooms.kick(second)
    await result(other)
    assert len(house.sent("POST", "/play")) == 3, "nobody is left to hear it"
    house.nothing_left(conference)


async def test_music_for_who_is_alone(house: House) -> None:
    conference = house.rows.add(alone_music=True)
    first, task = await house.join(house.party(), conference)
    assert len(house.sent("POST", "/moh")) == 1
    second, other = await house.join(house.party(), conference)
    assert len(house.sent("DELETE", "/moh")) == 1
    house.rooms.kick(first)
    await result(task)
    assert len(house.sent("POST", "/moh")) == 2
    quiet = Conference.of_row(house.rows.conferences[conference.id])
    quiet.alone_music = False
    house.rooms.changed(quiet)
    assert len(house.sent("DELETE", "/moh")) == 2
    house.rooms.kick(second)
    await result(other)
    assert (len(house.sent("POST", "/moh")), len(house.sent("DELETE", "/moh"))) == (2, 2)
    house.nothing_left(conference)


def left_by(house: House, conference: Conference, call: Call, status: str = "progressing") -> Conferencecall:
    """A stay that another life of the controller wrote."""
    member = Conferencecall(uuid4(), CUSTOMER, conference.id, call.id, _now())
    member.status = ConferencecallStatus(status)
    member.tm_progressing = None if status == "joining" else _now()
    house.rows.calls[member.id] = SimpleNamespace(
        **{name: getattr(member, name) for name in Conferencecall.__dataclass_fields__}
    )
    return member


async def test_after_a_restart_they_are_back_in_the_bridge_that_is_there(house: House) -> None:
    conference = house.rows.add()
    back, gone, busy = house.party(), house.party(), house.party()
    stays = {call: left_by(house, conference, call) for call in (back, gone, busy)}
    await house.rooms.restore()
    assert house.bridges.known_bridge(conference.bridge), "owned before anybody looks for strays"
    assert len(house.rooms.members(conference)) == 3
    _, member = await house.enter(back, conference, stays[back].id, resumed=True)
    assert member is not None
    task = asyncio.create_task(house.rooms.stay(house.leg(back), member.id))
    await settled()
    assert house.sent("POST", "/addChannel")[0]["channel"] == back.channel_id
    assert house.written_calls.states == {}, "nothing has changed"
    house.destroyed(gone, 16)
    assert [one.reference_id for one in house.rooms.members(conference)] == [back.id, busy.id]
    live = {call.id: call for call in (back, busy)}
    house.rooms._restored_at -= 20
    house.rooms.sweep(live)
    assert len(house.rooms.members(conference)) == 2
    house.rooms._restored_at -= 20
    house.rooms.sweep(live)
    assert [query["channel"] for query in house.sent("POST", "/removeChannel")] == [busy.channel_id]
    house.rooms.kick(member)
    await result(task)
    house.nothing_left(conference)
    assert len(house.sent("DELETE", f"bridges/{conference.bridge}")) == 1


async def test_after_a_restart_nobody_is_left(house: House) -> None:
    conference, ending = house.rows.add(), house.rows.add()
    ending.status = ConferenceStatus.TERMINATING
    house.rows.keep(ending)
    member = left_by(house, conference, house.call())
    await house.rooms.restore()
    assert house.written_conferences.states == {ending.id: ["terminated"]}
    house.rooms.sweep({})
    assert house.written_calls.states == {}, "its call may still be found"
    house.rooms._restored_at -= 20
    house.rooms.sweep({})
    assert house.written_calls.states[member.id] == ["terminated"]
    assert house.sent("DELETE", f"bridges/{conference.bridge}") != []
    house.nothing_left(conference, ending)


async def test_kicked_before_its_flow_is_back(house: House) -> None:
    conference = house.rows.add()
    call = house.party()
    member = left_by(house, conference, call)
    await house.rooms.restore()
    known = house.rooms.members(conference)[0]
    house.rooms.kick(known)
    assert known.status is ConferencecallStatus.TERMINATING
    _, found = await house.enter(call, conference, member.id, resumed=True)
    task = asyncio.create_task(house.rooms.stay(house.leg(call), found.id))
    assert await result(task) is Left.KICKED
    assert known.status is ConferencecallStatus.TERMINATED
    house.nothing_left(conference)


async def test_a_stay_that_was_over_before_the_restart(house: House) -> None:
    conference = house.rows.add()
    call = house.party()
    member = left_by(house, conference, call, "terminated")
    await house.rooms.restore()
    assert (await house.enter(call, conference, member.id, resumed=True))[1] is None
    fresh = uuid4()
    assert (await house.enter(call, conference, fresh, resumed=True))[1].id == fresh, (
        "never written: it begins"
    )
    house.destroyed(call, 16)
    house.nothing_left(conference)


async def test_a_controller_that_stops_leaves_them_where_they_are(house: House) -> None:
    conference = house.rows.add()
    member, task = await house.join(house.party(), conference)
    house.rooms._closed = True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert member.status is ConferencecallStatus.PROGRESSING


@pytest.mark.parametrize("seed", range(25))
async def test_any_order(house: House, seed: int) -> None:
    chance = random.Random(seed)
    conferences = [house.rows.add(type=chance.choice(["conference", "connect"])) for _ in range(2)]
    calls = [house.party() for _ in range(6)]
    tasks: dict[Call, asyncio.Task[Any]] = {}

    async def visit(call: Call, conference: Conference) -> None:
        _, member = await house.enter(call, conference)
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        await house.rooms.stay(house.leg(call), member.id)

    for _ in range(80):
        call, conference = chance.choice(calls), chance.choice(conferences)
        members = house.rooms.members(conference)
        match chance.randrange(6):
            case 0 | 1 | 2 if not call.ended and (call not in tasks or tasks[call].done()):
                tasks[call] = asyncio.create_task(visit(call, conference))
            case 3 if members:
                house.rooms.kick(chance.choice(members))
            case 4 if call in tasks:
                tasks[call].cancel()
            case 5 if chance.random() < 0.15:
                house.destroyed(call, 16)
            case 5 if chance.random() < 0.05:
                house.rooms.end(house.live(conference))
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
    await settled()
    for conference in conferences:
        house.rooms.end(house.live(conference))
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    house.nothing_left(*conferences)
    for states in house.written_calls.states.values():
        assert states.count("terminated") == 1
