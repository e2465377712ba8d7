"""Kamailio is told of changes, until it has heard them."""

from __future__ import annotations

import asyncio
from typing import Any

from ringline.errors import Unavailable
from ringline.extensions.edge import Edge


class Kamailio:
    """Notes what it hears; fails as often as ``faults`` says."""

    def __init__(self, faults: int = 0) -> None:
        self.heard: list[tuple[str, ...]] = []
        self.faults = faults
        self.hold: asyncio.Event | None = None

    async def _hear(self, *what: str) -> None:
        if self.hold is not None:
            await self.hold.wait()
        if self.faults:
            self.faults -= 1
            raise Unavailable("away")
        self.heard.append(what)

    async def call(self, method: str, *params: str | int) -> Any:
        await self._hear(method, *map(str, params))

    async def reload_accounts(self) -> None:
        await self._hear("reload")


async def test_it_reads_again_before_it_forgets() -> None:
    kamailio = Kamailio()
    await Edge(kamailio).tell(reload=True, gone=["a@x", "b@x", "a@x"])
    assert kamailio.heard == [("reload",), ("ul.rm", "location", "a@x"), ("ul.rm", "location", "b@x")]


async def test_nothing_to_say_is_not_said() -> None:
    kamailio = Kamailio(faults=1)
    await Edge(kamailio).tell()
    assert kamailio.faults == 1


async def test_it_is_told_again_until_it_answers() -> None:
    kamailio = Kamailio(faults=3)
    await Edge(kamailio, retry_delay=0.001).tell(reload=True, gone=["a@x"])
    assert kamailio.heard == [("reload",), ("ul.rm", "location", "a@x")]


async def test_a_request_does_not_wait_for_ever_and_the_change_is_told_later() -> None:
    kamailio = Kamailio()
    kamailio.hold = asyncio.Event()
    edge = Edge(kamailio, patience=0.01)
    await edge.tell(reload=True)
    assert kamailio.heard == []
    await edge.tell(gone=["a@x"])
    kamailio.hold.set()
    await edge.tell(gone=["b@x"])
    assert kamailio.heard == [("reload",), ("ul.rm", "location", "a@x"), ("ul.rm", "location", "b@x")]


async def test_a_change_during_a_reload_is_read_by_another_one() -> None:
    kamailio = Kamailio()
    kamailio.hold = asyncio.Event()
    edge = Edge(kamailio, patience=0.01)
    await edge.tell(reload=True)
    await edge.tell(reload=True)
    kamailio.hold.set()
    await edge.tell(reload=True)
    assert len(kamailio.heard) >= 2


async def test_it_can_be_stopped() -> None:
    kamailio = Kamailio(faults=1_000_000)
    edge = Edge(kamailio, patience=0.01, retry_delay=0.001)
    await edge.tell(reload=True)
    await edge.close()
    left = kamailio.faults
    await asyncio.sleep(0.01)
    assert kamailio.faults == left
