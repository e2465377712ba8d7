"""Processes that tell each other what they have, as one of them sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from redis.exceptions import ConnectionError as Away

from ringline.cluster.census import Census, Report


class Redis:
    """What the script answers, and what it was given."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.others: dict[str, tuple[str, Any]] = {}
        self.given: list[list[Any]] = []

    def register_script(self, _: str) -> Any:
        return self.run

    async def run(self, *, keys: list[str], args: list[Any]) -> list[bytes]:
        assert keys == ["ringline:census:test"]
        if self.fault is not None:
            raise self.fault
        self.given.append(args)
        return [
            part
            for name, (life, counts) in self.others.items()
            for part in (name.encode(), life.encode() + b" " + orjson.dumps(counts))
        ]


class House:
    def __init__(self, name: str = "me") -> None:
        self.time = 1000.0
        self.redis = Redis()
        self.heard: list[Mapping[str, Report]] = []
        self.mine = {"a": [1]}
        self.census = Census(
            SimpleNamespace(client=self.redis),  # type: ignore[arg-type]
            "test",
            name,
            lambda: self.mine,
            self.heard.append,
            keep=10.0,
            now=lambda: self.time,
        )


async def test_what_one_has_is_told_and_what_others_have_is_heard() -> None:
    house = House()
    house.redis.others = {"other": ("1f", {"b": [2]})}
    await house.census.exchange()
    ((name, keep, body),) = house.redis.given
    life, _, counts = body.partition(b" ")
    assert (name, keep, orjson.loads(counts)) == ("me", 10.0, {"a": [1]})
    assert len(life) == 32
    assert house.heard == [{"other": Report("1f", {"b": [2]})}]
    assert house.census.others == 1
    await house.census.exchange()
    assert house.heard[1]["other"] is house.heard[0]["other"], "read again though nothing changed"


async def test_who_only_listens_tells_nothing() -> None:
    house = House(name="")
    await house.census.exchange()
    assert house.redis.given == [["", 10.0, b""]]


async def test_while_redis_is_away_what_was_heard_counts_for_a_while() -> None:
    house = House()
    house.redis.others = {"other": ("1f", {"b": [2]})}
    await house.census._try()
    house.redis.fault = Away("gone")
    house.time += 9.0
    await house.census._try()
    assert len(house.heard) == 1, "forgotten too soon"
    house.time += 2.0
    await house.census._try()
    assert house.heard[1:] == [{}]
    await house.census._try()
    assert house.heard[1:] == [{}]
    house.redis.fault = None
    await house.census._try()
    assert set(house.heard[-1]) == {"other"}


async def test_it_goes_on_after_what_nobody_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringline.cluster.census.INTERVAL_SECONDS", 0.01)
    house = House()
    house.redis.fault = ValueError("of another version")
    await house.census.start()
    house.redis.fault = None
    house.redis.others = {"other": ("1f", {})}
    async with asyncio.timeout(30):
        while not house.heard:
            await asyncio.sleep(0.01)
    await house.census.close()
