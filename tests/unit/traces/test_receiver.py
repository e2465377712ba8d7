"""Datagrams are read in bursts, none is lost, and whoever asks sees what has come until then."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ringline.traces.receiver import AT_ONCE, PAUSE_SECONDS, Receiver


class Mailbox:
    """Notes what comes and in how many turns of the event loop."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.receiver = Receiver(0, self.taken.append)
        self.receiver.open()
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect(("127.0.0.1", self.receiver.port))

    def close(self) -> None:
        self.receiver.close()
        self.sender.close()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.taken) < count:
                await asyncio.sleep(PAUSE_SECONDS / 4)


async def test_everything_comes_in_order_at_any_pace() -> None:
    box = Mailbox()
    sent = [str(number).encode() for number in range(60)]
    for number, one in enumerate(sent):
        box.sender.send(one)
        if number % 7 == 0:
            await asyncio.sleep(PAUSE_SECONDS * (number % 3))
    await box.until(len(sent))
    assert box.taken == sent
    # after a silence it wakes up again
    await asyncio.sleep(3 * PAUSE_SECONDS)
    box.sender.send(b"late")
    await box.until(len(sent) + 1)
    box.close()


async def test_a_message_that_follows_another_waits_for_the_burst_unless_somebody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ringline.traces.receiver.PAUSE_SECONDS", 30.0)
    box = Mailbox()
    box.sender.send(b"1")
    await asyncio.sleep(PAUSE_SECONDS / 10)
    box.sender.send(b"2")
    assert box.taken == []
    box.receiver.look()
    assert box.taken == [b"1", b"2"]
    box.close()


async def test_more_than_fits_into_a_turn() -> None:
    box = Mailbox()
    total = 0
    # the kernel's room is bounded: what is sent at once must fit into it
    for _ in range(4):
        for _ in range(AT_ONCE // 4 + 5):
            box.sender.send(b"x")
            total += 1
        await asyncio.sleep(0)
    await box.until(total)
    assert len(box.taken) == total
    box.close()


async def test_what_came_before_the_end_is_taken() -> None:
    box = Mailbox()
    box.sender.send(b"last")
    box.close()
    assert box.taken == [b"last"]
    box.receiver.close()
    assert not box.receiver.is_open
    assert box.receiver.port == 0


async def test_a_port_that_is_taken_is_said_and_can_be_had_later() -> None:
    first = Mailbox()
    second = Receiver(first.receiver.port, first.taken.append)
    with pytest.raises(OSError):
        second.open()
    assert not second.is_open
    first.close()
    second.open()
    assert second.is_open
    second.close()
