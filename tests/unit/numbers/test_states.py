"""The states of numbers and orders, as data."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ringline.numbers.models import NumberAnswer
from ringline.numbers.months import month_after
from ringline.numbers.states import (
    ORDER_TRANSITIONS,
    OWNERS_CHOICE,
    TRANSITIONS,
    OrderState,
    Status,
    may_follow,
    sources_of,
)


def test_every_state_of_a_number_has_its_line_and_is_one_that_the_api_shows() -> None:
    assert set(TRANSITIONS) == set(Status)
    shown = NumberAnswer.model_json_schema(mode="serialization")["properties"]["status"]["enum"]
    assert set(shown) == {status.value for status in Status}


def test_a_number_that_was_given_back_stays_so() -> None:
    assert not any(may_follow(Status.DELETED, following) for following in Status)
    assert all(may_follow(status, Status.DELETED) for status in Status if status is not Status.DELETED)
    assert not any(may_follow(status, Status.PURCHASE_PENDING) for status in Status)


def test_an_owner_only_suspends_and_reactivates() -> None:
    for present in OWNERS_CHOICE:
        assert TRANSITIONS[present] & OWNERS_CHOICE == OWNERS_CHOICE - {present}


def test_orders_end_once() -> None:
    assert set(ORDER_TRANSITIONS) == set(OrderState)
    for over in (OrderState.DONE, OrderState.FAILED):
        assert not ORDER_TRANSITIONS[over]
        assert over not in sources_of(over)
    assert OrderState.SENT.value not in sources_of(OrderState.SENT)
    # what was asked for is never asked for again but by way of `intended`
    assert sources_of(OrderState.SENT) == [OrderState.INTENDED.value]


@pytest.mark.parametrize(
    ("before", "day", "after"),
    [
        ((2026, 1, 31), 31, (2026, 2, 28)),
        ((2028, 1, 31), 31, (2028, 2, 29)),
        ((2026, 2, 28), 31, (2026, 3, 31)),
        ((2026, 12, 15), 15, (2027, 1, 15)),
        ((2026, 11, 30), 30, (2026, 12, 30)),
    ],
)
def test_months_have_their_lengths(
    before: tuple[int, int, int], day: int, after: tuple[int, int, int]
) -> None:
    moment = datetime(*before, 10, 30, tzinfo=UTC)
    assert month_after(moment, day) == datetime(*after, 10, 30, tzinfo=UTC)
