"""Release causes: ITU-T Q.850 as Asterisk reports them, and two of our own.

The mapping from SIP is Asterisk's (``hangup_sip2cause`` in ``chan_pjsip``), measured in
``shared/facts/asterisk-kamailio.md``.
"""

from __future__ import annotations

from enum import IntEnum


class Cause(IntEnum):
    """Why a channel ended. Values below 128 are Q.850; those above are Ringline's and never leave it."""

    UNKNOWN = 0
    UNALLOCATED = 1
    NO_ROUTE_DESTINATION = 3
    NORMAL_CLEARING = 16
    USER_BUSY = 17
    NO_USER_RESPONSE = 18
    NO_ANSWER = 19
    SUBSCRIBER_ABSENT = 20
    CALL_REJECTED = 21
    NUMBER_CHANGED = 22
    REJECTED_BY_FEATURE = 24
    ANSWERED_ELSEWHERE = 26
    DESTINATION_OUT_OF_ORDER = 27
    INVALID_NUMBER_FORMAT = 28
    NORMAL_UNSPECIFIED = 31
    NORMAL_CIRCUIT_CONGESTION = 34
    NETWORK_OUT_OF_ORDER = 38
    NORMAL_TEMPORARY_FAILURE = 41
    SWITCH_CONGESTION = 42
    BEARER_CAPABILITY_NOT_AVAILABLE = 58
    RECOVERY_ON_TIMER_EXPIRE = 102
    INTERWORKING = 127
    CALL_DURATION_TIMEOUT = 1001
    CALL_AMD = 1002


_RELAYED_AS = {
    # Asterisk has no cause of its own for 603 and answers with it where it knows no better: 24 is a rejection, too
    603: Cause.REJECTED_BY_FEATURE,
    # it would answer 603 to what 504 became (102), and 500 to 607
    504: Cause.NORMAL_CIRCUIT_CONGESTION,
    607: Cause.CALL_REJECTED,
    608: Cause.CALL_REJECTED,
}


def relayed(cause: int, sip_code: int) -> int:
    """The cause to end a caller's unanswered leg with, so that Asterisk answers it as the far side did."""
    if cause == Cause.SWITCH_CONGESTION:
        # from us it means that a balance is used up; the same SIP code comes of this one
        cause = Cause.NORMAL_CIRCUIT_CONGESTION
    return int(_RELAYED_AS.get(sip_code, cause))


def known(code: int) -> int:
    """The code itself, or ``Cause.UNKNOWN`` for a number that cannot be a Q.850 cause."""
    return code if 0 <= code <= 127 else int(Cause.UNKNOWN)
