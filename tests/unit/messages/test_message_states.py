"""States of texts: reports come late, twice and in any order."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringline.messages.states import FOLLOWING, Reason, Status, may_follow, overall


def after(reports: list[Status], reason: str = "") -> Status:
    now = Status.SENDING
    for report in reports:
        if may_follow(now, reason if now is Status.FAILED else "", report):
            now = report
    return now


def test_every_state_is_in_the_table_and_final_ones_are_final() -> None:
    assert set(FOLLOWING) == set(Status)
    assert not FOLLOWING[Status.DELIVERED] | FOLLOWING[Status.FAILED]


@pytest.mark.parametrize("order", list(permutations([Status.SENDING, Status.SENT, Status.DELIVERED])))
def test_a_delivered_text_is_delivered_in_whatever_order_it_is_said(order: tuple[Status, ...]) -> None:
    assert after([*order, *order]) is Status.DELIVERED


@given(st.lists(st.sampled_from(Status), max_size=8))
def test_the_first_final_report_stands(reports: list[Status]) -> None:
    final = [report for report in reports if report in (Status.DELIVERED, Status.FAILED)]
    if final:
        assert after(reports) is final[0]
    else:
        assert after(reports) is (Status.SENT if Status.SENT in reports else Status.SENDING)


def test_who_knows_is_believed_where_nobody_knew() -> None:
    unknown = Reason.UNKNOWN_OUTCOME
    assert may_follow(Status.FAILED, unknown, Status.DELIVERED)
    assert may_follow(Status.FAILED, unknown, Status.FAILED)
    assert not may_follow(Status.FAILED, unknown, Status.SENDING)
    assert not may_follow(Status.FAILED, Reason.REFUSED, Status.DELIVERED)


@pytest.mark.parametrize(
    ("statuses", "amount_to"),
    [
        (["sending", "failed", "delivered"], "sending"),
        (["sent", "failed"], "sent"),
        (["failed", "delivered"], "delivered"),
        (["failed", "failed"], "failed"),
    ],
)
def test_what_targets_amount_to(statuses: list[str], amount_to: str) -> None:
    assert overall(map(Status, statuses)) == amount_to
