"""Chores are done when due, and one that fails keeps no other from being done."""

from __future__ import annotations

import asyncio

import pytest

from ringline import housekeeping
from ringline.housekeeping import Chore, Housekeeper


async def test_chores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "TICK_SECONDS", 0.01)
    done: list[str] = []
    lags: list[float] = []

    def chore(name: str, every: float, *, fails: bool = False) -> Chore:
        async def do() -> None:
            done.append(name)
            if fails:
                raise OSError("not now")

        return Chore(name, every, do)

    keeper = Housekeeper(
        [chore("broken", 0.0, fails=True), chore("often", 0.0), chore("seldom", 60.0)], lags.append
    )
    await keeper.start()
    async with asyncio.timeout(30):
        while done.count("often") < 2 or done.count("broken") < 2:
            await asyncio.sleep(0.01)
    await keeper.close()
    assert done.count("seldom") == 1
    assert done.count("often") == done.count("broken") > 1
    assert all(lag >= 0 for lag in lags)
