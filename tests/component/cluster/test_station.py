"""Leases of Asterisks, and processes that take over from each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ringline.cluster.leases import Leases, lease_key
from ringline.cluster.roll import Roll
from ringline.cluster.station import Station
from ringline.cluster.tasks import ended
from ringline.storage import Live


class Wheel:
    """A driver of an Asterisk that only notes what happens to it."""

    def __init__(self, name: str, epoch: int) -> None:
        self.name = name
        self.epoch = epoch
        self.serving = False
        self.closed = False
        self.calls_lasting = 0

    @property
    def taking(self) -> bool:
        return self.serving

    @property
    def trouble(self) -> str:
        return "" if self.serving else "it begins"

    async def start(self) -> None:
        self.serving = True

    async def drain(self, grace: float) -> None:
        self.serving = False

    async def close(self) -> None:
        self.closed = True


class Process:
    """A controller's process."""

    def __init__(self, live: Live, name: str, asterisks: list[str], ended: list[str]) -> None:
        self.wheels: list[Wheel] = []
        # longer than a busy machine pauses
        self.leases = Leases(live, name, seconds=4.0)
        self.station = Station(
            self.leases, Roll(live, asterisks), asterisks, self._make, end=lambda: ended.append(name)
        )

    def _make(self, name: str, epoch: int) -> Wheel:
        self.wheels.append(Wheel(name, epoch))
        return self.wheels[-1]

    async def killed(self) -> None:
        """As by SIGKILL: nothing is given back."""
        await ended(self.station._task)


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_each_takes_one_and_whoever_is_left_takes_the_other(live: Live, asterisk: str) -> None:
    names, ended = [f"{asterisk}-1", f"{asterisk}-2"], list[str]()
    one, two = (Process(live, name, names, ended) for name in ("one", "two"))
    await one.station.start()
    await until(lambda: one.station.names == names[:1])
    await two.station.start()
    await until(lambda: two.station.names == names[1:])
    await two.killed()
    await until(lambda: one.station.names == names)
    assert one.wheels[1].epoch == two.wheels[0].epoch + 1
    # the dead one comes back and stands by; nothing is taken from anybody
    back = Process(live, "back", names, ended)
    await back.station.start()
    await asyncio.sleep(1.5)
    assert back.station.names == []
    assert await back.station.status() == "stands by"
    # an orderly end is not waited for
    await one.station.close()
    assert [wheel.closed for wheel in one.wheels] == [True, True]
    holders = [await live.client.hget(lease_key(name), "holder") for name in names]
    assert set(holders) <= {None, b"back"}
    await until(lambda: sorted(back.station.names) == names)
    assert ended == []
    await back.station.close()


async def test_who_was_frozen_finds_the_lease_lost_and_ends(live: Live, asterisk: str) -> None:
    ended = list[str]()
    one, two = (Process(live, name, [asterisk], ended) for name in ("one", "two"))
    await one.station.start()
    await until(lambda: one.station.names == [asterisk])
    await one.killed()
    await two.station.start()
    await until(lambda: two.station.names == [asterisk])
    await one.station.start()
    await until(lambda: ended == ["one"] or len(ended) > 1)
    assert set(ended) == {"one"}
    assert two.station.names == [asterisk]
    await one.killed()
    await two.station.close()


async def test_a_lease_that_ran_out_is_had_back_unless_somebody_has_it(live: Live, asterisk: str) -> None:
    one, two = (Leases(live, name, seconds=2.0) for name in ("one", "two"))

    async def gone() -> None:
        async with asyncio.timeout(30):
            while await live.client.exists(lease_key(asterisk)):
                await asyncio.sleep(0.05)

    first = await one.claim(asterisk)
    assert first is not None
    assert await two.claim(asterisk) is None
    await gone()
    assert await one.renew(asterisk, first, calls=3)
    await gone()
    second = await two.claim(asterisk)
    assert second == first + 1
    assert not await one.renew(asterisk, first)
    await one.release(asterisk, first)
    assert await two.renew(asterisk, second)


async def test_what_cannot_be_driven_is_left_to_others(live: Live, asterisk: str) -> None:
    class Broken(Wheel):
        async def start(self) -> None:
            raise ConnectionError("no database")

    ended = list[str]()
    process = Process(live, "one", [asterisk], ended)
    made: list[Wheel] = []

    def make(name: str, epoch: int) -> Wheel:
        made.append((Broken if not made else Wheel)(name, epoch))
        return made[-1]

    process.station._make = make
    await process.station.start()
    await until(lambda: len(made) == 2 and made[1].serving)
    assert made[0].closed
    assert made[1].epoch == made[0].epoch + 1
    await process.station.close()
