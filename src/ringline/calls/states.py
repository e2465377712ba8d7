"""The states of a call as data: what may follow what, and which reason an end has.

Source: VoIPBIN's call model (``shared/spec/voipbin-api.md`` sections 5.1 and 5.2).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from ringline.sip.cause import Cause


class Status(StrEnum):
    """Where a call stands; it only ever moves forward."""

    DIALING = "dialing"
    RINGING = "ringing"
    PROGRESSING = "progressing"
    TERMINATING = "terminating"
    CANCELING = "canceling"
    HANGUP = "hangup"


MuteDirection = Literal["", "in", "out", "both"]
"""What of a call is muted: what the other side says (``in``), what it hears (``out``), both, or nothing."""


class Direction(StrEnum):
    """As seen from Ringline: an ``outgoing`` call is one that it places."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class HangupBy(StrEnum):
    """Who ended the call; empty while it lasts."""

    NONE = ""
    REMOTE = "remote"
    LOCAL = "local"


class HangupReason(StrEnum):
    """Why the call ended; empty while it lasts."""

    NONE = ""
    NORMAL = "normal"
    FAILED = "failed"
    BUSY = "busy"
    CANCEL = "cancel"
    TIMEOUT = "timeout"
    NOANSWER = "noanswer"
    DIALOUT = "dialout"
    AMD = "amd"


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.DIALING: frozenset(
        {Status.RINGING, Status.PROGRESSING, Status.CANCELING, Status.TERMINATING, Status.HANGUP}
    ),
    Status.RINGING: frozenset({Status.PROGRESSING, Status.CANCELING, Status.TERMINATING, Status.HANGUP}),
    Status.PROGRESSING: frozenset({Status.TERMINATING, Status.HANGUP}),
    Status.CANCELING: frozenset({Status.HANGUP}),
    Status.TERMINATING: frozenset({Status.HANGUP}),
    Status.HANGUP: frozenset(),
}

ENDING: Final = frozenset({Status.TERMINATING, Status.CANCELING, Status.HANGUP})
"""States in which nothing new may be started on a call."""

UNANSWERED: Final = frozenset({Status.DIALING, Status.RINGING})

_OUTGOING_UNANSWERED: Final[dict[int, HangupReason]] = {
    Cause.NO_ANSWER: HangupReason.NOANSWER,
    Cause.CALL_REJECTED: HangupReason.NOANSWER,
    Cause.USER_BUSY: HangupReason.BUSY,
    Cause.NORMAL_CLEARING: HangupReason.NORMAL,
    Cause.ANSWERED_ELSEWHERE: HangupReason.NORMAL,
    Cause.UNKNOWN: HangupReason.DIALOUT,
}

_INCOMING_UNANSWERED: Final[dict[int, HangupReason]] = {
    Cause.NO_ANSWER: HangupReason.NOANSWER,
    Cause.USER_BUSY: HangupReason.BUSY,
}


def may_follow(present: Status, following: Status) -> bool:
    """Whether a call in ``present`` may go to ``following``."""
    return following in TRANSITIONS[present]


def local_ending(direction: Direction, present: Status) -> Status:
    """The state that a hang-up of ours leads to: an outgoing call that nobody answered is canceled."""
    if direction is Direction.OUTGOING and present in UNANSWERED:
        return Status.CANCELING
    return Status.TERMINATING


def hangup_by(last: Status) -> HangupBy:
    """Who ended a call whose last state before ``hangup`` was ``last``."""
    return HangupBy.LOCAL if last in {Status.TERMINATING, Status.CANCELING} else HangupBy.REMOTE


def hangup_reason(direction: Direction, last: Status, cause: int) -> HangupReason:
    """Why a call ended, from its last state and the release cause (Q.850 or one of ours)."""
    if cause == Cause.CALL_DURATION_TIMEOUT and last in {Status.PROGRESSING, Status.TERMINATING}:
        return HangupReason.TIMEOUT
    if last is Status.CANCELING:
        return HangupReason.CANCEL
    if last is Status.TERMINATING:
        return HangupReason.AMD if cause == Cause.CALL_AMD else HangupReason.NORMAL
    if last in UNANSWERED:
        if direction is Direction.OUTGOING:
            return _OUTGOING_UNANSWERED.get(cause, HangupReason.FAILED)
        return _INCOMING_UNANSWERED.get(cause, HangupReason.NORMAL)
    return HangupReason.NORMAL


SIP_CAUSE_OF_REASON: Final[dict[HangupReason, Cause]] = {
    HangupReason.NONE: Cause.NORMAL_CLEARING,
    HangupReason.NORMAL: Cause.NORMAL_CLEARING,
    HangupReason.FAILED: Cause.NORMAL_CIRCUIT_CONGESTION,
    HangupReason.BUSY: Cause.USER_BUSY,
    HangupReason.CANCEL: Cause.NORMAL_CLEARING,
    HangupReason.TIMEOUT: Cause.NORMAL_CLEARING,
    HangupReason.NOANSWER: Cause.NO_ANSWER,
    HangupReason.DIALOUT: Cause.NO_ANSWER,
    HangupReason.AMD: Cause.NORMAL_CLEARING,
}
"""What the other side is told when a flow hangs up with a reason (``hangup`` action, relayed causes)."""
