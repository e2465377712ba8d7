"""What calls and their flows do is announced with their rows: in order, once, and also by a successor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.component.calls.test_journal import NOW, live, new_call, new_flow, settled

from ringline.calls import store
from ringline.calls.call import Call
from ringline.calls.journal import Journal
from ringline.calls.live_state import LiveState
from ringline.calls.states import Status
from ringline.events.store import events
from ringline.flows import store as flow_store
from ringline.flows import telling as flow_telling
from ringline.flows.activeflow import ActiveflowStatus
from ringline.storage import Database, DatabaseUnavailable, Live

__all__ = ["live"]


@pytest.fixture
async def journal(database: Database, live: Live) -> AsyncIterator[Journal]:
    journal = _journal(database, live)
    await journal.start()
    yield journal
    await journal.close()


def _journal(database: Database, live: Live) -> Journal:
    journal = Journal(database, LiveState(live), flow_store)
    journal.flow_events = flow_telling.due
    return journal


async def _told(database: Database, resource_id: UUID) -> list[str]:
    """The types of a resource's events, whose sequence has no gap."""
    statement = sa.select(events).where(events.c.resource_id == resource_id).order_by(events.c.position)
    async with database.connect() as connection:
        rows = (await connection.execute(statement)).all()
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    return [row.type for row in rows]


def _progress(call: Call) -> None:
    assert call.advance(Status.PROGRESSING, NOW + timedelta(seconds=1))


async def test_a_calls_life_is_announced_in_order_with_its_row(database: Database, journal: Journal) -> None:
    call = new_call()
    flow = new_flow(call)
    journal.touch(call)
    journal.touch_flow(flow)
    _progress(call)
    journal.touch(call)
    await settled(journal)
    assert await _told(database, call.id) == ["call_created", "call_ringing", "call_progressing"]
    call.hold = True
    journal.touch(call)
    journal.touch(call)
    await settled(journal)
    call.hold = False
    journal.touch(call)
    call.end(16, NOW + timedelta(seconds=2))
    flow.status = ActiveflowStatus.ENDED
    journal.touch(call)
    journal.touch_flow(flow)
    await settled(journal)
    journal.touch(call)
    await settled(journal)
    assert (await _told(database, call.id))[3:] == ["call_updated", "call_hangup"]
    assert await _told(database, flow.id) == ["activeflow_created", "activeflow_updated"]
    async with database.connect() as connection:
        last = sa.select(events).where(events.c.resource_id == call.id, events.c.type == "call_hangup")
        row = (await connection.execute(last)).one()
    assert row.data["status"] == "hangup"
    assert row.activeflow_id == flow.id


async def test_calls_that_the_api_has_stored_are_announced_without_writing_them_again(
    database: Database, journal: Journal
) -> None:
    alone, touched = new_call(), new_call()
    async with database.begin() as connection:
        await store.insert(connection, [alone.row(), touched.row()])
    journal.announce([alone, touched])
    touched.end(17, NOW)
    journal.touch(touched)
    await settled(journal)
    assert await _told(database, alone.id) == ["call_created", "call_ringing"]
    assert await _told(database, touched.id) == ["call_created", "call_ringing", "call_hangup"]


async def test_a_commit_whose_answer_was_lost_announces_nothing_twice(
    database: Database, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, lost = database.connect, 3

    @asynccontextmanager
    async def losing() -> AsyncIterator[AsyncConnection]:
        nonlocal lost
        async with connect() as connection:
            yield connection
        if lost:
            lost -= 1
            raise DatabaseUnavailable("the connection broke after the commit")

    monkeypatch.setattr(database, "connect", losing)
    call = new_call()
    journal.touch(call)
    for _ in range(600):
        await asyncio.sleep(0.05)
        if lost < 3 and call.status is Status.RINGING:
            _progress(call)
            journal.touch(call)
        if not lost:
            break
    call.end(16, NOW)
    journal.touch(call)
    await settled(journal)
    assert lost == 0
    assert await _told(database, call.id) == [
        "call_created",
        "call_ringing",
        "call_progressing",
        "call_hangup",
    ]


async def test_a_successor_announces_what_was_not_and_nothing_twice(database: Database, live: Live) -> None:
    first, second = _journal(database, live), _journal(database, live)
    call, held, same, ended = new_call(), new_call(), new_call(), new_call()
    await first.start()
    for one in (call, held, same, ended):
        first.touch(one)
    await settled(first)
    await first.close()
    # what the first one came to know, and could not write any more
    _progress(call)
    _progress(ended)
    held.hold = True
    ended.end(16, NOW + timedelta(seconds=2))
    kept = [Call.from_row(one.kept()) for one in (call, held, same)]
    await second.start()
    await second.recall(kept)
    await second.recall([])
    second.touch(Call.from_row(ended.kept()))
    await settled(second)
    begun = ["call_created", "call_ringing"]
    assert await _told(database, call.id) == [*begun, "call_progressing"]
    assert await _told(database, held.id) == [*begun, "call_updated"]
    assert await _told(database, same.id) == begun
    assert await _told(database, ended.id) == [*begun, "call_progressing", "call_hangup"]
    await second.close()


async def test_rows_that_nobody_will_place_are_announced_as_ended(
    database: Database, journal: Journal
) -> None:
    stored = new_call()
    async with database.begin() as connection:
        await store.insert(connection, [stored.row()])
    journal.disown([stored.id])
    await settled(journal)
    assert await _told(database, stored.id) == ["call_created", "call_ringing", "call_hangup"]


async def test_events_that_postgresql_refuses_keep_no_record_from_being_written(
    database: Database, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = new_call(), new_call()
    journal.touch(good)
    journal.touch(bad)
    for event in journal._events.of([bad.id]):
        event["type"] = None
    await settled(journal)
    assert await _told(database, good.id) == ["call_created", "call_ringing"]
    assert await _told(database, bad.id) == []
    async with database.connect() as connection:
        assert len(await store.several(connection, bad.customer_id, [bad.id])) == 1


async def test_without_postgresql_events_wait_and_too_many_make_the_journal_full(
    database: Database, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def away() -> AsyncIterator[Any]:
        raise DatabaseUnavailable("away")
        yield

    monkeypatch.setattr("ringline.calls.journal.MAX_EVENTS", 30)
    calls = [new_call() for _ in range(15)]
    with monkeypatch.context() as patched:
        patched.setattr(database, "connect", away)
        for call in calls:
            assert not journal.full
            journal.touch(call)
        assert journal.full
        await asyncio.sleep(0.3)
        assert journal.full
    await settled(journal)
    assert not journal.full
    for call in calls:
        assert await _told(database, call.id) == ["call_created", "call_ringing"]
