"""The states of ports, as data."""

from __future__ import annotations

from typing import get_args

import pytest

from ringline.numbers.ports.documents import file_name
from ringline.numbers.ports.models import PortStatus
from ringline.numbers.ports.states import CHANGEABLE, TRANSITIONS, Status, ended, may_follow
from ringline.vendors.models import PortState


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert {status.value for status in Status} == set(get_args(PortStatus)) == set(get_args(PortState))


def test_nothing_follows_the_ends_and_itself() -> None:
    assert [status for status in Status if ended(status)] == [Status.PORTED, Status.CANCELLED]
    assert not any(may_follow(status, status) for status in Status)


def test_nothing_goes_back_to_a_draft() -> None:
    assert not any(Status.DRAFT in following for following in TRANSITIONS.values())
    assert [status for status in Status if may_follow(status, Status.SUBMITTED)] == [*sorted(CHANGEABLE)]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("letter.pdf", "letter.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\l.pdf", "l.pdf"),
        ('a"b\r\nX: y.pdf', "abX y.pdf"),
        ("...", ""),
        ("x" * 300 + ".pdf", "x" * 96 + ".pdf"),
    ],
)
def test_names_are_only_names(given: str, kept: str) -> None:
    assert file_name(given) == kept
