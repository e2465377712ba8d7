"""Virtual numbers by arithmetic: patterns against a search of all, free ones among many taken."""

from __future__ import annotations

import itertools
import random
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringline.numbers.available.taken import TakenNumbers
from ringline.vendors.models import Purchase, Search
from ringline.vendors.patterns import Template, ascending, templates
from ringline.vendors.virtual import FIRST, TOTAL, VirtualVendor, free

PATTERNS = st.text("012*", max_size=6)


def matches(digits: str, pattern: str) -> bool:
    """The meaning of a pattern, spelt out."""
    return any(
        all(want in ("*", have) for want, have in zip(pattern, digits[place:], strict=False))
        for place in range(len(digits) - len(pattern) + 1)
    )


@settings(deadline=None)
@given(st.text("0123456789*", min_size=1, max_size=6), st.data())
def test_a_template_is_in_order_and_knows_its_places(text: str, data: st.DataObject) -> None:
    template = Template(text)
    rank = data.draw(st.integers(0, template.size - 1))
    number = template.at(rank)
    assert matches(f"{number:0{len(text)}d}", text)
    assert template.rank_from(number) == rank
    if rank:
        assert template.at(rank - 1) < number
        assert template.rank_from(template.at(rank - 1) + 1) == rank
    assert template.rank_from(10 ** len(text)) == template.size


@settings(deadline=None, max_examples=40)
@given(st.text("12", max_size=2), PATTERNS, st.integers(0, 1_000))
def test_patterns_find_what_a_search_of_all_finds(prefix: str, pattern: str, start: int) -> None:
    every = [
        number
        for number in range(start, 1_000)
        if len(pattern) <= len(prefix) + 3 and matches(f"{prefix}{number:03d}", pattern)
    ]
    assert list(ascending(templates(prefix, 3, pattern), start)) == every


@settings(deadline=None)
@given(st.sets(st.integers(0, 300)), st.lists(st.tuples(st.booleans(), st.integers(0, 300))))
def test_taken_numbers(first: set[int], changes: list[tuple[bool, int]]) -> None:
    taken, model = TakenNumbers(), set(first)
    for number in first:
        taken.add(number)
    for add, number in changes:
        if add:
            taken.add(number)
            model.add(number)
        else:
            taken.discard(number)
            model.discard(number)
        if number % 7 == 0:
            following = next(one for one in itertools.count(number) if one not in model)
            assert taken.next_free(number) == following
    assert len(taken) == len(model)
    assert all((number in taken) == (number in model) for number in range(302))
    assert all(
        taken.next_free(number) == next(one for one in itertools.count(number) if one not in model)
        for number in range(0, 302, 5)
    )


def taken_of(*numbers: int) -> TakenNumbers:
    taken = TakenNumbers()
    for number in numbers:
        taken.add(number)
    return taken


def test_in_order_from_the_first_of_the_examples() -> None:
    assert free("", 3, taken_of()) == [FIRST, FIRST + 1, FIRST + 2]
    assert free("", 3, taken_of(FIRST, FIRST + 2)) == [FIRST + 1, FIRST + 3, FIRST + 4]


def test_the_lower_ones_come_last() -> None:
    assert free("00000000", 20, taken_of()) == [
        *range(200_000_000, 1_000_000_000, 100_000_000),
        *range(10),
        100_000_000,
    ]
    assert free("123456789", 5, taken_of()) == [123_456_789]
    assert free("123456789", 5, taken_of(123_456_789)) == []
    assert free("899123456789", 5, taken_of()) == [123_456_789]
    assert free("7770000", 5, taken_of())[0] == 107_770_000
    assert free("991234567890", 5, taken_of()) == []


@pytest.mark.parametrize("contains", ["", "777", "1234*", "55*55", "8992", "000000"])
@pytest.mark.parametrize("at_random", [False, True])
def test_what_is_proposed_matches_is_free_and_comes_once(contains: str, at_random: bool) -> None:
    taken = taken_of(*free(contains, 300, taken_of()))
    found = free(contains, 200, taken, at_random=at_random)
    assert len(found) == len(set(found)) == 200
    assert not any(number in taken for number in found)
    assert all(matches(f"899{number:09d}", contains) for number in found)


def test_chance_proposes_others_each_time() -> None:
    assert free("", 20, taken_of(), at_random=True) != free("", 20, taken_of(), at_random=True)
    assert sorted(free("12345678", 50, taken_of(), at_random=True)) == sorted(
        free("12345678", 50, taken_of())
    )


def _world(name: str) -> list[int]:
    match name:
        case "in a row":
            return list(range(FIRST, FIRST + 100_000))
        case "scattered":
            return random.Random(5).sample(range(TOTAL), 100_000)
        case "every second one":
            return list(range(FIRST, FIRST + 200_000, 2))
        case "the most wanted":
            return list(itertools.islice(ascending(templates("899", 9, "777"), FIRST), 100_000))
        case _:
            return [FIRST + n for n in range(100_100) if n % 1000]


@pytest.mark.parametrize(
    "world", ["in a row", "scattered", "every second one", "the most wanted", "rows of 999"]
)
def test_free_ones_are_found_fast_among_many_taken(world: str) -> None:
    """100,000 taken: p95 of the time that the event loop stands still for a proposal."""
    taken = taken_of(*_world(world))
    taken.next_free(FIRST)  # the first question sorts
    for contains in ("", "777", "1234*", "*7", "99999999"):
        spent = []
        for turn in range(20):
            started = time.thread_time()
            found = free(contains, 20, taken, at_random=turn % 2 == 1)
            spent.append(time.thread_time() - started)
            assert len(found) == len(set(found)) >= 15
            assert not any(number in taken for number in found)
            taken.add(found[0])
        p95 = sorted(spent)[18]
        print(world, contains, f"p95 {p95 * 1000:.1f} ms")
        assert p95 < 0.04, (contains, spent)


async def test_the_vendor() -> None:
    taken = taken_of(FIRST)
    vendor = VirtualVendor(taken)
    offers = await vendor.search(Search("", contains="", limit=2))
    assert [offer.number for offer in offers] == ["+899100000002", "+899100000003"]
    assert await vendor.find("+899100000001") is None
    assert await vendor.find("+899000000000") is not None
    for wrong in ("+89910000000", "+8991000000011", "899100000002", "+89910000000a", "+899１00000002"):
        assert await vendor.find(wrong) is None
    order = await vendor.buy(Purchase(uuid.uuid4(), "+899100000002"))
    assert (order.state, order.number_reference) == ("done", "+899100000002")
    assert await vendor.check()
