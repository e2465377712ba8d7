"""What the journal writes is what the tables hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.calls import store
from ringline.calls.call import ActionFailure, Call
from ringline.calls.journal import Journal
from ringline.calls.live_state import LiveState
from ringline.calls.states import Direction, Status
from ringline.flows import store as flow_store
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.sip.address import Address
from ringline.storage import Database, Live

NOW = datetime(2026, 11, 21, 22, 5, 1, 123456, tzinfo=UTC)


def new_call() -> Call:
    return Call(
        id=uuid4(),
        customer_id=uuid4(),
        direction=Direction.INCOMING,
        source=Address(type="tel", target="+15551230001", target_name='Zoë "Z" \\ 🙂'),
        destination=Address(type="tel", target="+15551234567"),
        channel_id="1732226701.1",
        status=Status.RINGING,
        tm_create=NOW,
        tm_ringing=NOW,
    )


def new_flow(call: Call) -> Activeflow:
    flow = Activeflow(
        id=uuid4(),
        customer_id=call.customer_id,
        flow_id=uuid4(),
        actions=[{"id": str(uuid4()), "next_id": str(UUID(int=0)), "type": "answer", "option": {}}],
        tm_create=NOW,
        reference_id=call.id,
    )
    call.activeflow_id = flow.id
    return flow


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[Live]:
    live = Live(redis_url)
    yield live
    await live.close()


@pytest.fixture
async def journal(database: Database, live: Live) -> AsyncIterator[Journal]:
    journal = Journal(database, LiveState(live), flow_store)
    await journal.start()
    yield journal
    await journal.close()


async def row(database: Database, table: sa.Table, row_id: UUID) -> dict[str, Any]:
    async with database.connect() as connection:
        found = (await connection.execute(sa.select(table).where(table.c.id == row_id))).one()
    return dict(found._mapping)


async def settled(journal: Journal) -> None:
    async with asyncio.timeout(60):
        await journal._idle.wait()
    await asyncio.sleep(0.05)


async def test_a_call_is_written_with_every_column_and_again_as_it_ends(
    database: Database, journal: Journal
) -> None:
    call = new_call()
    call.chained_call_ids = [uuid4(), uuid4()]
    flow = new_flow(call)
    journal.touch(call)
    journal.touch_flow(flow)
    await settled(journal)
    assert await row(database, store.calls, call.id) == {**call.row(), "asterisk": ""}

    call.advance(Status.PROGRESSING, NOW)
    call.note_failure(ActionFailure(uuid4(), "play", "FETCH_TIMEOUT", "it's too slow", NOW))
    assert call.end(16, NOW, sip_code=200, detail="it's over")
    flow.status, flow.reason, flow.tm_update = ActiveflowStatus.ENDED, "complete", NOW
    flow.snapshot.variables["name"] = "naïve"
    flow.snapshot.executed = 3
    journal.touch(call)
    journal.touch_flow(flow)
    await settled(journal)
    assert await row(database, store.calls, call.id) == {**call.row(), "asterisk": ""}
    written = await row(database, flow_store.activeflows, flow.id)
    assert {name: written[name] for name in flow.row()} == flow.row()


async def test_what_an_api_client_deleted_stays_deleted_when_the_call_is_written_again(
    database: Database, journal: Journal
) -> None:
    call = new_call()
    async with database.begin() as connection:
        await store.insert(connection, [call.row()])
        await store.mark_deleted(connection, call.customer_id, call.id, NOW)
    call.advance(Status.PROGRESSING, NOW)
    journal.touch(call)
    await settled(journal)
    written = await row(database, store.calls, call.id)
    assert written["tm_delete"] == NOW
    assert written["status"] == "progressing"


async def test_many_calls_at_once_are_all_written(database: Database, journal: Journal) -> None:
    calls = [new_call() for _ in range(1203)]
    for call in calls:
        journal.touch(call)
    async with asyncio.timeout(60):
        while journal.depth:
            await asyncio.sleep(0.05)
    await settled(journal)
    async with database.connect() as connection:
        count = sa.select(sa.func.count()).where(store.calls.c.id.in_([call.id for call in calls]))
        assert (await connection.execute(count)).scalar_one() == len(calls)


async def test_a_record_that_postgresql_refuses_keeps_no_other_from_being_written(
    database: Database, journal: Journal
) -> None:
    good, bad, also_good = new_call(), new_call(), new_call()
    bad.hangup_detail = "a NUL \x00 is in no text of PostgreSQL's"
    for call in (good, bad, also_good):
        journal.touch(call)
    await settled(journal)
    assert (await row(database, store.calls, good.id))["id"] == good.id
    assert (await row(database, store.calls, also_good.id))["id"] == also_good.id
    assert journal.depth == 0


async def test_rows_that_nobody_will_place_are_ended(database: Database, journal: Journal) -> None:
    stored, never = new_call(), new_call()
    async with database.begin() as connection:
        await store.insert(connection, [stored.row()])
    journal.disown([stored.id, never.id])
    await settled(journal)
    written = await row(database, store.calls, stored.id)
    assert (written["status"], written["hangup_reason"], written["hangup_by"]) == (
        "hangup",
        "failed",
        "local",
    )
    async with database.connect() as connection:
        assert await store.several(connection, never.customer_id, [never.id]) == []


async def test_a_call_is_inserted_once(database: Database) -> None:
    call = new_call()
    async with database.begin() as connection:
        await store.insert(connection, [call.row()])
    with pytest.raises(sa.exc.IntegrityError):
        async with database.begin() as connection:
            await store.insert(connection, [call.row()])


async def test_a_deleted_call_comes_back_neither_way(database: Database, journal: Journal) -> None:
    call = new_call()
    call.tm_delete = NOW
    journal.touch(call)
    await settled(journal)
    assert (await row(database, store.calls, call.id))["tm_delete"] == NOW
    call.tm_delete = None
    journal.touch(call)
    await settled(journal)
    assert (await row(database, store.calls, call.id))["tm_delete"] == NOW
