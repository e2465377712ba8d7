"""How often somebody may try."""

from __future__ import annotations

from ringline.customers.limiter import Limiter


class Watch:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_burst_then_a_rate() -> None:
    watch = Watch()
    limiter = Limiter(rate=2, burst=3, now=watch)
    assert [limiter.take("a") for _ in range(3)] == [0, 0, 0]
    assert limiter.take("a") == 0.5
    assert limiter.take("b") == 0
    watch.time += 0.5
    assert limiter.take("a") == 0
    assert limiter.take("a") > 0
    watch.time += 100
    assert [limiter.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_waiting_costs_nothing() -> None:
    watch = Watch()
    limiter = Limiter(rate=1, burst=1, now=watch)
    limiter.take("a")
    waits = [limiter.take("a") for _ in range(10)]
    assert waits == [1.0] * 10


def test_forgiving_gives_the_burst_back() -> None:
    limiter = Limiter(rate=1, burst=1, now=Watch())
    limiter.take("a")
    limiter.forget("a")
    limiter.forget("never seen")
    assert limiter.take("a") == 0


def test_memory_is_bounded() -> None:
    limiter = Limiter(rate=1, burst=1, most_keys=10, now=Watch())
    for number in range(1000):
        limiter.take(number)
    assert len(limiter._buckets) == 10
    assert limiter.take(999) > 0
