"""Which number a leg to the telephone network shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline.numbers import Number, resolve_source, source_problem

ME, OTHER = uuid4(), uuid4()


@dataclass(frozen=True)
class Owner:
    id: UUID
    default_outgoing_source_number_id: UUID | None = None


class Shelf:
    """Numbers in a list."""

    def __init__(self, *numbers: Number) -> None:
        self.numbers = numbers

    def by_id(self, row_id: UUID) -> Number | None:
        return next((number for number in self.numbers if number.id == row_id), None)

    def owned(self, customer_id: UUID, number: str) -> Number | None:
        return next(
            (one for one in self.numbers if (one.customer_id, one.number) == (customer_id, number)), None
        )


def _number(text: str, **changes: Any) -> Number:
    values = {"customer_id": ME, "type": "normal", "status": "active", **changes}
    return Number(id=uuid4(), number=text, call_flow_id=None, message_flow_id=None, name="", **values)


GOOD = _number("+15551234567")
SECOND = _number("+15552222222")
SUSPENDED = _number("+15550000001", status="suspended")
PENDING = _number("+15550000002", status="purchase-pending")
VIRTUAL = _number("+899100000001", type="virtual")
FOREIGN = _number("+15550000003", customer_id=OTHER)
SHELF = Shelf(GOOD, SECOND, SUSPENDED, PENDING, VIRTUAL, FOREIGN)
UNUSABLE = [SUSPENDED, PENDING, VIRTUAL, FOREIGN]


def test_the_given_number_comes_first() -> None:
    resolved = resolve_source(SHELF, Owner(ME, SECOND.id), GOOD.number)
    assert (resolved.number, resolved.chosen, resolved.problem, resolved.details) == (GOOD, "given", "", [])


@pytest.mark.parametrize("given", [*(number.number for number in UNUSABLE), "", "+15559999999", "test11"])
def test_then_the_default(given: str) -> None:
    resolved = resolve_source(SHELF, Owner(ME, SECOND.id), given)
    assert (resolved.number, resolved.chosen) == (SECOND, "default")


@pytest.mark.parametrize("default", [None, *(number.id for number in UNUSABLE), uuid4()])
@pytest.mark.parametrize("given", [*(number.number for number in UNUSABLE), "", "+15559999999"])
def test_then_none_with_what_to_do(given: str, default: UUID | None) -> None:
    resolved = resolve_source(SHELF, Owner(ME, default), given)
    assert (resolved.number, resolved.chosen) == (None, "none")
    assert "GET /v1.0/numbers" in resolved.problem
    assert "PUT /v1.0/customer" in resolved.problem
    assert resolved.details == [{"field": "source.target", "message": resolved.problem}]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (SUSPENDED.number, "+15550000001 is not active but suspended"),
        (VIRTUAL.number, "+899100000001 is a virtual number"),
        (FOREIGN.number, "'+15550000003' is not one of yours"),
        ("+15559999999", "'+15559999999' is not one of yours"),
        ("", "No source number is given"),
    ],
)
def test_the_reason_is_named(given: str, says: str) -> None:
    assert says in resolve_source(SHELF, Owner(ME), given).problem


def test_a_foreign_number_is_not_told_from_an_unknown_one() -> None:
    foreign = resolve_source(SHELF, Owner(ME), FOREIGN.number).problem
    unknown = resolve_source(SHELF, Owner(ME), "+15559999999").problem
    assert foreign.replace(FOREIGN.number, "") == unknown.replace("+15559999999", "")
    assert source_problem(SHELF, ME, FOREIGN.id) == source_problem(SHELF, ME, uuid4())


def test_a_long_source_is_not_repeated_in_full() -> None:
    assert len(resolve_source(SHELF, Owner(ME), "9" * 5000).problem) < 300


def test_the_default_of_a_customer() -> None:
    assert source_problem(SHELF, ME, GOOD.id) is None
    for number in UNUSABLE:
        assert "normal, active" in (source_problem(SHELF, ME, number.id) or "")
