"""Records that are written behind are announced with their rows: each step once, also by a successor."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.events.store import events
from ringline.events.telling import Telling
from ringline.groupcalls import models, store
from ringline.groupcalls.groupcall import Groupcall, Status
from ringline.sip.address import Address
from ringline.storage import Database
from ringline.storage.behind import WriteBehind

NOW = datetime(2026, 11, 22, 9, 0, 0, 5, tzinfo=UTC)


def _groupcall() -> Groupcall:
    address = Address(type="tel", target="+15551230001")
    return Groupcall(id=uuid4(), customer_id=uuid4(), source=address, destinations=[address], tm_create=NOW)


def _behind(database: Database) -> WriteBehind[Groupcall]:
    telling: Telling[Groupcall] = models.telling()
    return WriteBehind(
        database, store.UPSERT, Groupcall.row, name="groupcalls", interval=0.02, telling=telling
    )


async def _told(database: Database, resource_id: UUID) -> list[Any]:
    statement = sa.select(events).where(events.c.resource_id == resource_id).order_by(events.c.sequence)
    async with database.connect() as connection:
        rows = (await connection.execute(statement)).all()
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    return list(rows)


async def _names(database: Database, record: Groupcall) -> list[str]:
    return [row.type.removeprefix("groupcall_") for row in await _told(database, record.id)]


async def test_steps_and_changes_are_announced_with_the_row(database: Database) -> None:
    behind, record = _behind(database), _groupcall()
    await behind.start()
    behind.touch(record)
    await behind.written(30)
    record.answer_call_id = uuid4()
    record.tm_update = NOW + timedelta(seconds=1)
    behind.touch(record)
    behind.touch(record)
    await behind.written(30)
    behind.touch(record)
    await behind.written(30)
    assert record.advance(Status.HANGUP, NOW + timedelta(seconds=2))
    behind.touch(record)
    record.tm_delete = NOW + timedelta(seconds=3)
    behind.touch(record)
    await behind.written(30)
    assert await _names(database, record) == ["created", "progressing", "updated", "hangup", "deleted"]
    told = await _told(database, record.id)
    assert told[-1].data == models.view(record).model_dump(mode="json")
    assert told[2].data["answer_call_id"] == str(record.answer_call_id)
    await behind.close()


async def test_a_successor_announces_what_was_not_and_nothing_twice(database: Database) -> None:
    first, second, record = _behind(database), _behind(database), _groupcall()
    await first.start()
    first.touch(record)
    await first.written(30)
    await first.close()
    record.advance(Status.HANGUP, NOW + timedelta(seconds=2))
    await second.start()
    for _ in range(2):
        second.touch(record)
        await second.written(30)
    assert await _names(database, record) == ["created", "progressing", "hangup"]
    await second.close()


async def test_events_that_postgresql_refuses_keep_no_record_from_being_written(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind, good, bad = _behind(database), _groupcall(), _groupcall()
    behind.touch(good)
    behind.touch(bad)
    assert behind._telling is not None
    for event in behind._telling.take([bad])[0]:
        event["type"] = None
    await behind.start()
    await behind.written(30)
    assert await _names(database, good) == ["created", "progressing"]
    assert await _names(database, bad) == []
    async with database.connect() as connection:
        assert await store.get(connection, bad.customer_id, bad.id) is not None
    await behind.close()
    await asyncio.sleep(0)
