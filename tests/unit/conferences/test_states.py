"""The states of conferences and of stays in them, as data."""

from __future__ import annotations

from uuid import uuid4

import pytest

from ringline.clock import SystemClock
from ringline.conferences.records import Conference, Conferencecall
from ringline.conferences.states import CONFERENCE, CONFERENCECALL, ConferencecallStatus, ConferenceStatus

NOW = SystemClock().now()
CONFERENCE_STEPS = {
    ("starting", "progressing"),
    ("starting", "terminating"),
    ("starting", "terminated"),
    ("progressing", "terminating"),
    ("progressing", "terminated"),
    ("terminating", "terminated"),
}
CONFERENCECALL_STEPS = {
    ("joining", "progressing"),
    ("joining", "terminating"),
    ("joining", "terminated"),
    ("progressing", "terminating"),
    ("progressing", "terminated"),
    ("terminating", "terminated"),
}


def conference(status: ConferenceStatus) -> Conference:
    return Conference(uuid4(), uuid4(), "conference", status, NOW)


def stay(status: ConferencecallStatus) -> Conferencecall:
    return Conferencecall(uuid4(), uuid4(), uuid4(), uuid4(), NOW, status=status)


def test_the_tables_are_whole() -> None:
    assert set(CONFERENCE) == set(ConferenceStatus)
    assert set(CONFERENCECALL) == set(ConferencecallStatus)
    assert {(old.value, new.value) for old, following in CONFERENCE.items() for new in following} == (
        CONFERENCE_STEPS
    )
    assert {(old.value, new.value) for old, following in CONFERENCECALL.items() for new in following} == (
        CONFERENCECALL_STEPS
    )


@pytest.mark.parametrize("old", ConferenceStatus)
@pytest.mark.parametrize("new", ConferenceStatus)
def test_a_conference_only_goes_forward(old: ConferenceStatus, new: ConferenceStatus) -> None:
    one = conference(old)
    moved = one.advance(new, NOW)
    assert moved is ((old.value, new.value) in CONFERENCE_STEPS)
    assert one.status is (new if moved else old)
    assert (one.tm_end is not None) is (moved and new is ConferenceStatus.TERMINATED)
    assert one.ending is (one.status in (ConferenceStatus.TERMINATING, ConferenceStatus.TERMINATED))


@pytest.mark.parametrize("old", ConferencecallStatus)
@pytest.mark.parametrize("new", ConferencecallStatus)
def test_a_stay_only_goes_forward(old: ConferencecallStatus, new: ConferencecallStatus) -> None:
    one = stay(old)
    moved = one.advance(new, NOW)
    assert moved is ((old.value, new.value) in CONFERENCECALL_STEPS)
    assert one.status is (new if moved else old)
    assert (one.tm_progressing is not None) is (moved and new is ConferencecallStatus.PROGRESSING)
    assert (one.tm_terminated is not None) is (moved and new is ConferencecallStatus.TERMINATED)
    assert (one.tm_update is not None) is moved
    assert one.row()["status"] == one.status.value
