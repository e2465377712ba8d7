"""The tables of call states, held against VoIPBIN's own (spec sections 5.1 and 5.2)."""

from __future__ import annotations

import datetime
from uuid import uuid4

import pytest

from ringline.calls.call import Call
from ringline.calls.states import (
    TRANSITIONS,
    Direction,
    HangupBy,
    HangupReason,
    Status,
    hangup_by,
    hangup_reason,
    local_ending,
    may_follow,
)
from ringline.sip.address import Address
from ringline.sip.cause import Cause

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ALLOWED = {
    "dialing": {"ringing", "progressing", "canceling", "terminating", "hangup"},
    "ringing": {"progressing", "canceling", "terminating", "hangup"},
    "progressing": {"terminating", "hangup"},
    "canceling": {"hangup"},
    "terminating": {"hangup"},
    "hangup": set(),
}


def make_call(direction: Direction = Direction.OUTGOING, status: Status = Status.DIALING) -> Call:
    address = Address(type="tel", target="+15551234567")
    return Call(uuid4(), uuid4(), direction, address, address, "call-x", status, NOW)


def test_transitions_are_those_of_the_specification() -> None:
    assert {key.value: {status.value for status in value} for key, value in TRANSITIONS.items()} == ALLOWED


@pytest.mark.parametrize("present", list(Status))
@pytest.mark.parametrize("following", list(Status))
def test_advance_obeys_the_table(present: Status, following: Status) -> None:
    call = make_call(status=present)
    moved = call.advance(following, NOW)
    assert moved == may_follow(present, following)
    assert call.status is (following if moved else present)


@pytest.mark.parametrize(
    ("direction", "last", "cause", "reason"),
    [
        ("outgoing", "ringing", 19, "noanswer"),
        ("outgoing", "dialing", 21, "noanswer"),
        ("outgoing", "ringing", 17, "busy"),
        ("outgoing", "ringing", 16, "normal"),
        ("outgoing", "ringing", 26, "normal"),
        ("outgoing", "ringing", 0, "dialout"),
        ("outgoing", "dialing", 1, "failed"),
        ("outgoing", "dialing", 34, "failed"),
        ("outgoing", "progressing", 16, "normal"),
        ("outgoing", "progressing", Cause.CALL_DURATION_TIMEOUT, "timeout"),
        ("outgoing", "terminating", Cause.CALL_DURATION_TIMEOUT, "timeout"),
        ("outgoing", "terminating", Cause.CALL_AMD, "amd"),
        ("outgoing", "terminating", 16, "normal"),
        ("outgoing", "canceling", 17, "cancel"),
        ("incoming", "ringing", 19, "noanswer"),
        ("incoming", "ringing", 17, "busy"),
        ("incoming", "ringing", 34, "normal"),
        ("incoming", "progressing", 0, "normal"),
    ],
)
def test_hangup_reason(direction: str, last: str, cause: int, reason: str) -> None:
    assert hangup_reason(Direction(direction), Status(last), cause) == reason


def test_who_hung_up() -> None:
    assert {status: hangup_by(status) for status in Status if status is not Status.HANGUP} == {
        Status.DIALING: HangupBy.REMOTE,
        Status.RINGING: HangupBy.REMOTE,
        Status.PROGRESSING: HangupBy.REMOTE,
        Status.TERMINATING: HangupBy.LOCAL,
        Status.CANCELING: HangupBy.LOCAL,
    }


def test_an_unanswered_outgoing_call_is_canceled_and_any_other_terminated() -> None:
    assert local_ending(Direction.OUTGOING, Status.RINGING) is Status.CANCELING
    assert local_ending(Direction.OUTGOING, Status.PROGRESSING) is Status.TERMINATING
    assert local_ending(Direction.INCOMING, Status.RINGING) is Status.TERMINATING


def test_the_final_record_is_made_once() -> None:
    call = make_call(status=Status.RINGING)
    assert call.end(Cause.USER_BUSY, NOW, sip_code=486)
    assert not call.end(Cause.NORMAL_CLEARING, NOW + datetime.timedelta(seconds=1))
    assert (call.hangup_reason, call.hangup_by, call.hangup_sip_code) == (
        HangupReason.BUSY,
        HangupBy.REMOTE,
        486,
    )
    assert call.tm_hangup == NOW
    assert call.tm_progressing is None


def test_our_own_dial_timer_shows_dialout_whatever_cause_asterisk_gives() -> None:
    call = make_call(status=Status.RINGING)
    call.end_cause = int(Cause.UNKNOWN)
    call.end(Cause.NO_ANSWER, NOW)
    assert call.hangup_reason is HangupReason.DIALOUT


def test_a_call_lost_with_its_media_server_failed_and_nobody_hung_it_up() -> None:
    call = make_call(status=Status.PROGRESSING)
    assert call.end_broken(NOW, "the media server lost the call")
    assert (call.hangup_reason, call.hangup_by) == (HangupReason.FAILED, HangupBy.LOCAL)
    assert call.hangup_detail == "the media server lost the call"


def test_failures_are_bounded() -> None:
    from ringline.calls.call import MAX_FAILURES, ActionFailure

    call = make_call()
    for _ in range(MAX_FAILURES + 5):
        call.note_failure(ActionFailure(uuid4(), "talk", "SPEECH_FAILED", "no engine", NOW))
    assert len(call.failures) == MAX_FAILURES
