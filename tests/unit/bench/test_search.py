"""The search for the highest rate against machines whose capacity is known."""

from __future__ import annotations

import pytest
from bench.search import PRECISION, Search


def run(capacity: int, *, start: int, max_probes: int = 20) -> tuple[Search, list[int]]:
    search, tried = Search(start=start, max_probes=max_probes), []
    while (rate := search.next_rate()) is not None:
        tried.append(rate)
        search.record(rate, works=rate <= capacity)
    return search, tried


@pytest.mark.parametrize("start", [20, 100, 270, 300, 900])
def test_it_finds_the_capacity_from_anywhere(start: int) -> None:
    search, _ = run(271, start=start)
    assert search.settled
    assert 271 / (PRECISION + 0.01) <= search.best <= 271


def test_it_stops_when_the_budget_is_used_up() -> None:
    search, tried = run(10_000, start=10, max_probes=3)
    assert len(tried) == 3
    assert search.best == tried[-1]
    assert not search.settled


def test_nothing_works() -> None:
    search, tried = run(0, start=40)
    assert search.best == 0
    assert min(tried) >= 5


def test_one_bad_moment_does_not_decide() -> None:
    search = Search(start=100, max_probes=20)
    search.record(100, works=False)
    assert search.next_rate() == 100
    search.record(100, works=True)
    assert search.best == 100
    assert not search.settled
    assert search.next_rate() == 125


def test_second_chances_run_out() -> None:
    search = Search(start=100, max_probes=20)
    for _ in range(2):
        rate = search.next_rate()
        assert rate is not None
        search.record(rate, works=False)
        assert search.next_rate() == rate
        search.record(rate, works=False)
    rate = search.next_rate()
    assert rate is not None
    search.record(rate, works=False)
    assert search.next_rate() != rate
