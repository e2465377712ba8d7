"""An echo: who is in the bridge, and what is left of it however it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ringline import ari
from ringline.calls.bridges import Bridges
from ringline.calls.echo import Echoes
from ringline.calls.leg import LegError, LegGone

from .desk import Desk


class Hall(Desk):
    def __init__(self) -> None:
        super().__init__()
        client: Any = self.client
        self.bridges = Bridges()
        self.board.echoes = Echoes(client, self.board, self.bridges, application="ringline")
        self.one = self.answered()
        self.client.sent.clear()

    def begin(self, seconds: float) -> asyncio.Task[None]:
        return asyncio.create_task(self.leg(self.one).echo(seconds))

    @property
    def partner(self) -> str:
        return next(uri.rpartition("/")[2] for uri in self.client.requests("POST") if "channels/echo-" in uri)

    def partner_event(self, kind: str) -> None:
        self.client.emit(kind, channel={"id": self.partner}, args=["echo"])

    def in_bridge(self) -> list[str]:
        return [query["channel"] for _, uri, query, _ in self.client.sent if query and "/addChannel" in uri]

    def nothing_left(self) -> None:
        assert self.board.auxiliary == {}
        made = [
            uri for uri in self.client.requests("POST") if uri.startswith("bridges/") and "Channel" not in uri
        ]
        assert [uri for uri in self.client.requests("DELETE") if uri.startswith("bridges/")] == made
        assert f"channels/{self.partner}" in self.client.requests("DELETE")
        assert not self.bridges.known_bridge(made[0].removeprefix("bridges/"))


async def test_the_party_is_bridged_with_the_echo_for_its_time() -> None:
    hall = Hall()
    task = hall.begin(0.2)
    await asyncio.sleep(0.01)
    hall.partner_event("StasisStart")
    assert hall.in_bridge() == [hall.one.channel_id, hall.partner]
    await asyncio.sleep(0.01)
    assert len(hall.bridges.joined_bridges()) == 1
    far = f"{hall.partner}-far"
    assert hall.board.known_channel(far), "or it would be hung up as a stranger's"
    hall.client.emit("ChannelDestroyed", channel={"id": far}, cause=16)
    await task
    hall.nothing_left()
    assert any(uri.endswith("/removeChannel") for uri in hall.client.requests("POST"))


@pytest.mark.parametrize("joined", [False, True])
async def test_the_party_hangs_up(joined: bool) -> None:
    hall = Hall()
    task = hall.begin(60)
    await asyncio.sleep(0.01)
    if joined:
        hall.partner_event("StasisStart")
        await asyncio.sleep(0.01)
    hall.destroyed(hall.one, 16)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    hall.nothing_left()


@pytest.mark.parametrize("event", ["StasisEnd", "ChannelDestroyed"])
@pytest.mark.parametrize("joined", [False, True])
async def test_the_far_end_is_lost(event: str, joined: bool) -> None:
    hall = Hall()
    task = hall.begin(60)
    await asyncio.sleep(0.01)
    if joined:
        hall.partner_event("StasisStart")
        await asyncio.sleep(0.01)
    hall.partner_event(event)
    with pytest.raises(LegError):
        await task
    hall.nothing_left()


async def test_the_bridge_is_lost() -> None:
    hall = Hall()
    task = hall.begin(60)
    await asyncio.sleep(0.01)
    hall.partner_event("StasisStart")
    await asyncio.sleep(0.01)
    (name,) = hall.bridges.joined_bridges()
    hall.bridges.bridge_lost(name)
    with pytest.raises(LegError):
        await task
    hall.nothing_left()


async def test_asterisk_refuses_because_the_party_has_left() -> None:
    hall = Hall()
    hall.client.answers["POST"] = ari.NotFound("Channel not found", status=404)
    task = hall.begin(60)
    await asyncio.sleep(0.01)
    hall.leg(hall.one).leaving = True
    with pytest.raises(LegGone):
        await task
    hall.nothing_left()
