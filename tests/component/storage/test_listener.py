"""One connection listens for all, and tells each of what it missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
from sqlalchemy import text

from ringline.storage import Database, DatabaseUnavailable

CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ringline-listener'"
    " AND datname = current_database()"
)
CUT = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ringline-listener'"
)


class Ear:
    """Follows one channel and notes what it hears, and how often it had to catch up."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.caught_up = 0

    async def catch_up(self) -> None:
        self.caught_up += 1


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.01)


async def say(database: Database, channel: str, payload: str) -> None:
    async with database.connect() as connection:
        await connection.execute(
            text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload}
        )


async def connections(database: Database) -> int:
    async with database.connect() as connection:
        return int((await connection.execute(CONNECTIONS)).scalar_one())


@pytest.fixture
async def alone(empty_database_url: str) -> AsyncIterator[Database]:
    """One of the test's own: to the session's others are listening, who come and go."""
    made = Database(empty_database_url)
    yield made
    await made.close()


async def test_each_hears_its_own_channel_over_one_connection(alone: Database) -> None:
    own, other = f"c{uuid4().hex}", f"c{uuid4().hex}"
    one, two, third = Ear(), Ear(), Ear()
    followings = await asyncio.gather(
        alone.follow(own, one.heard.append, one.catch_up),
        alone.follow(own, two.heard.append, two.catch_up),
        alone.follow(other, third.heard.append, third.catch_up),
    )
    assert await connections(alone) == 1
    await say(alone, own, "a")
    await say(alone, other, "b")
    await until(lambda: bool(third.heard))
    assert (one.heard, two.heard, third.heard) == (["a"], ["a"], ["b"])
    assert one.caught_up == 0, "who begins to listen has missed nothing"

    await alone.listener.leave(followings[0])
    await say(alone, own, "c")
    await until(lambda: len(two.heard) == 2)
    assert one.heard == ["a"]

    for following in followings:
        await alone.listener.leave(following)
    deadline = time.monotonic() + 30
    while await connections(alone):
        assert time.monotonic() < deadline, "nobody listens and the connection is still there"
        await asyncio.sleep(0.05)


async def test_after_a_loss_everybody_catches_up_once(database: Database) -> None:
    channel, ears = f"c{uuid4().hex}", [Ear(), Ear()]
    followings = [await database.follow(channel, ear.heard.append, ear.catch_up) for ear in ears]
    async with database.connect() as connection:
        await connection.execute(CUT)
    await until(lambda: all(ear.caught_up for ear in ears))
    await say(database, channel, "x")
    await until(lambda: all(ear.heard for ear in ears))
    assert [(ear.heard, ear.caught_up) for ear in ears] == [(["x"], 1)] * 2
    for following in followings:
        await database.listener.leave(following)


async def test_one_who_hears_badly_does_not_keep_it_from_others(database: Database) -> None:
    channel, good = f"c{uuid4().hex}", Ear()

    def bad(_: str) -> None:
        raise ValueError

    followings = [
        await database.follow(channel, bad, good.catch_up),
        await database.follow(channel, good.heard.append, good.catch_up),
    ]
    await say(database, channel, "1")
    await until(lambda: good.heard == ["1"])
    for following in followings:
        await database.listener.leave(following)


async def test_without_a_server_who_wants_to_listen_is_told() -> None:
    gone, ear = Database("postgresql+asyncpg://x:x@127.0.0.1:1/x"), Ear()
    before = asyncio.all_tasks()
    with pytest.raises(DatabaseUnavailable):
        await gone.follow("c", ear.heard.append, ear.catch_up)
    assert not [task for task in asyncio.all_tasks() - before if task.get_name() == "listener"]
    await gone.close()
