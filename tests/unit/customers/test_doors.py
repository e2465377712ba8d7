"""Addresses that knock, and those that guess."""

from __future__ import annotations

import secrets

from ringline.customers.doors import KNOCKS_AT_ONCE, TRICKLE_AT_ONCE, WRONG_AT_ONCE, AuthDoors


class Watch:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


async def test_knocks_are_counted_for_each_address() -> None:
    watch = Watch()
    doors = AuthDoors(now=watch)
    assert [await doors.knock("192.0.2.1") for _ in range(KNOCKS_AT_ONCE)] == [0] * KNOCKS_AT_ONCE
    assert 0 < await doors.knock("192.0.2.1") <= 0.1
    assert await doors.knock("192.0.2.2") == 0
    watch.time += 0.1
    assert await doors.knock("192.0.2.1") == 0


def _guess(doors: AuthDoors, count: int) -> int:
    """How many of so many wrong credentials were looked at."""
    seen = 0
    for _ in range(count):
        token = secrets.token_hex(8)
        if not doors.distrusted("192.0.2.1", token):
            doors.wrong("192.0.2.1", token)
            seen += 1
    return seen


def test_guesses_are_looked_at_now_and_then_only() -> None:
    watch = Watch()
    doors = AuthDoors(now=watch)
    assert _guess(doors, 10_000) <= WRONG_AT_ONCE + TRICKLE_AT_ONCE + 1
    watch.time += 1.0
    assert _guess(doors, 1000) <= 6


def test_right_credentials_behind_the_same_address_are_served_on() -> None:
    watch = Watch()
    doors = AuthDoors(now=watch)
    doors.right("192.0.2.1", "mine")
    _guess(doors, 10_000)
    assert all(doors.distrusted("192.0.2.1", "mine") == 0 for _ in range(1000))
    assert doors.distrusted("192.0.2.2", "anything") == 0
    # one that is new there waits for a turn of its own
    assert 0 < doors.distrusted("192.0.2.1", "new") <= 0.2
    watch.time += 0.2
    assert doors.distrusted("192.0.2.1", "new") == 0
    doors.right("192.0.2.1", "new")
    assert doors.distrusted("192.0.2.1", "new") == 0
    # a right one that is known from elsewhere only is new here
    doors.right("192.0.2.9", "stolen")
    _guess(doors, 100)
    assert doors.distrusted("192.0.2.1", "stolen") > 0


def test_who_repeats_a_wrong_one_guesses_nothing() -> None:
    doors = AuthDoors(now=Watch())
    for _ in range(10_000):
        assert doors.distrusted("192.0.2.1", "ended") == 0
        doors.wrong("192.0.2.1", "ended")
    assert doors.distrusted("192.0.2.1", "new") == 0
    _guess(doors, 1000)
    assert doors.distrusted("192.0.2.1", "ended") == 0


def test_distrust_ends() -> None:
    watch = Watch()
    doors = AuthDoors(now=watch)
    _guess(doors, 1000)
    assert doors.distrusted("192.0.2.1", "x") > 0
    watch.time += 60
    assert doors.distrusted("192.0.2.1", "x") == 0
    assert not doors._distrusted


def test_several_processes_share_what_is_looked_at_of_an_address() -> None:
    watch = Watch()
    doors = AuthDoors(now=watch)
    _guess(doors, 10_000)
    doors.processes = 5
    watch.time += 2.0
    assert _guess(doors, 1000) == TRICKLE_AT_ONCE / 5
    watch.time += 1.0
    assert _guess(doors, 1000) == 1
    # of however many there are each looks at some
    doors.processes = 100
    watch.time += 2.0
    assert _guess(doors, 1000) == 1
