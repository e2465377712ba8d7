"""What things cost: the longest prefix in time, units, and who pays them with what."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringline.billing.rates import BUILT_IN, KINDS, Rate, Rates, Rounding

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def rate(prefix: str, credit: int, start: datetime = NOW, end: datetime | None = None) -> Rate:
    return Rate(
        kind="call_pstn_outgoing",
        prefix=prefix,
        credit_per_unit=credit,
        unit_seconds=60,
        tm_start=start,
        tm_end=end,
        id=uuid4(),
    )


def cost(rates: Rates, number: str, at: datetime = NOW) -> int:
    return rates.find("call_pstn_outgoing", number, at).credit_per_unit


def test_the_longest_prefix_wins_then_the_newest_that_holds() -> None:
    rates = Rates(
        [
            rate("", 1),
            rate("44", 2, NOW - DAY),
            rate("44", 3, NOW),
            rate("44", 4, NOW + DAY),
            rate("4420", 5, NOW - DAY, NOW + DAY),
            rate("44207", 6, NOW + DAY),
        ]
    )
    assert cost(rates, "+12025550123") == 1
    assert cost(rates, "+441") == 3
    assert cost(rates, "+441", NOW - timedelta(microseconds=1)) == 2
    assert cost(rates, "+442071838750") == 5, "a longer one that does not hold yet gives way to a shorter one"
    assert cost(rates, "+442071838750", NOW + DAY) == 6
    assert cost(rates, "+442011", NOW + DAY) == 4, "the longer one has ended"
    assert cost(rates, "+44", NOW - 2 * DAY) == BUILT_IN["call_pstn_outgoing"].credit_per_unit
    assert cost(rates, "") == 1


def test_nothing_is_free_because_nobody_set_a_price() -> None:
    assert Rates().find("call_pstn_outgoing", "+1", NOW) is BUILT_IN["call_pstn_outgoing"]
    assert set(BUILT_IN) == set(KINDS)
    with pytest.raises(KeyError):
        Rates().find("cal", "+1", NOW)


def test_a_rate_is_replaced_by_its_id_and_forgotten() -> None:
    one, other = rate("49", 7), rate("4930", 8)
    rates = Rates([one, other])
    rates.put(Rate(kind=one.kind, prefix="49", credit_per_unit=9, tm_start=NOW, tm_end=NOW + DAY, id=one.id))
    assert (len(rates), cost(rates, "+4930"), cost(rates, "+4940")) == (2, 8, 9)
    rates.drop(other.id)
    rates.drop(other.id)
    assert (len(rates), cost(rates, "+4930")) == (1, 9)
    assert rates.exact("call_pstn_outgoing", "49", NOW + DAY) is None


@given(
    st.lists(
        st.tuples(
            st.text("12", max_size=4),
            st.integers(0, 5),
            st.one_of(st.none(), st.integers(1, 5)),
        ),
        max_size=25,
        unique_by=lambda one: one[:2],
    ),
    st.text("12", max_size=6),
    st.integers(0, 7),
)
def test_finding_agrees_with_looking_at_all(
    given_rates: list[tuple[str, int, int | None]], number: str, at: int
) -> None:
    made = [
        rate(prefix, index + 1, NOW + start * DAY, None if lasts is None else NOW + (start + lasts) * DAY)
        for index, (prefix, start, lasts) in enumerate(given_rates)
    ]
    moment = NOW + at * DAY
    fitting = [
        one
        for one in made
        if number.startswith(one.prefix)
        and one.tm_start <= moment
        and (one.tm_end is None or moment < one.tm_end)
    ]
    expected = max(fitting, key=lambda one: (len(one.prefix), one.tm_start), default=None)
    random.Random(at).shuffle(made)
    found = Rates(made).find("call_pstn_outgoing", f"+{number}", moment)
    assert found == (expected or BUILT_IN["call_pstn_outgoing"])


@pytest.mark.parametrize(
    ("rounding", "minimum", "used", "units"),
    [
        ("up", 1, 0, 0),
        ("up", 1, -5, 0),
        ("up", 1, 1, 1),
        ("up", 1, 60, 1),
        ("up", 1, 61, 2),
        ("up", 3, 61, 3),
        ("nearest", 0, 29, 0),
        ("nearest", 0, 30, 1),
        ("nearest", 1, 89, 1),
        ("down", 0, 119, 1),
        ("down", 1, 1, 1),
    ],
)
def test_units_of_a_minute(rounding: Rounding, minimum: int, used: int, units: int) -> None:
    one = Rate(kind="call_vn", unit_seconds=60, minimum_units=minimum, rounding=rounding)
    assert one.units(used) == units


def test_pieces_are_counted_as_they_are() -> None:
    assert BUILT_IN["sms"].units(7) == 7
    assert BUILT_IN["sms"].seconds(7) == 0
    assert BUILT_IN["call_vn"].seconds(7) == 420


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 40), st.integers(-5, 40), st.integers(-5, 100))
def test_what_an_account_affords_is_what_it_pays(
    per_token: int, per_credit: int, wanted: int, tokens: int, credit: int
) -> None:
    one = Rate(kind="call_vn", token_per_unit=per_token, credit_per_unit=per_credit, unit_seconds=60)
    most = one.affordable(tokens, credit)
    units = wanted if most is None else min(wanted, most)
    token, paid = one.price(units, tokens)
    assert 0 <= token <= max(tokens, 0) and 0 <= paid <= max(credit, 0)
    if most is not None:
        token, paid = one.price(most + 1, tokens)
        assert token > tokens or paid > credit, "one more is too much"


def test_looking_up_takes_microseconds_among_a_hundred_thousand() -> None:
    chance = random.Random(7)
    prefixes = {str(chance.randrange(10**9))[: chance.randrange(1, 9)] for _ in range(160_000)}
    rates = Rates(rate(prefix, 5) for prefix in list(prefixes)[:100_000])
    numbers = [f"+{chance.randrange(10**10, 10**12)}" for _ in range(1_000)]
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for number in numbers:
            rates.find("call_pstn_outgoing", number, NOW)
        best = min(best, time.perf_counter() - begun)
    print(f"{len(rates)} rates, {best * 1000:.2f} µs for each number")
    # bounded by lengths, not by rates: to look at all of them takes milliseconds
    assert best / len(numbers) < 200e-6
