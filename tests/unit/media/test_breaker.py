"""A breaker opens, probes one at a time, and closes again."""

from __future__ import annotations

from ringline.media.breaker import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def broken() -> tuple[Breaker, Clock]:
    clock = Clock()
    breaker = Breaker(clock=clock)
    for _ in range(2):
        assert breaker.admits()
        breaker.failed()
    return breaker, clock


def test_one_failure_does_not_open_it_and_a_success_forgets_it() -> None:
    breaker = Breaker(clock=Clock())
    breaker.failed()
    assert breaker.admits()
    breaker.succeeded()
    breaker.failed()
    assert breaker.admits()
    assert not breaker.is_open


def test_open_it_admits_nobody_then_one_probe() -> None:
    breaker, clock = broken()
    assert breaker.is_open
    assert not breaker.admits()
    clock.now += FIRST_PAUSE_SECONDS
    assert breaker.admits()
    assert not breaker.admits()
    breaker.succeeded()
    assert breaker.admits()
    assert breaker.admits()


def test_each_failed_probe_doubles_the_pause_up_to_a_limit() -> None:
    breaker, clock = broken()
    pause = FIRST_PAUSE_SECONDS
    for _ in range(8):
        clock.now += pause - 0.001
        assert not breaker.admits()
        clock.now += 0.001
        assert breaker.admits()
        breaker.failed()
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
    assert pause == LONGEST_PAUSE_SECONDS


def test_many_that_fail_together_count_as_one() -> None:
    breaker, clock = broken()
    for _ in range(30):
        breaker.failed()
    clock.now += FIRST_PAUSE_SECONDS
    assert breaker.admits()


def test_an_undecided_probe_lets_the_next_one_try() -> None:
    breaker, clock = broken()
    clock.now += FIRST_PAUSE_SECONDS
    assert breaker.admits()
    breaker.undecided()
    assert breaker.admits()
