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


def known(code: int) -> int:
    """The code itself, or ``Cause.UNKNOWN`` for a number that cannot be a Q.850 cause."""
    return code if 0 <= code <= 127 else int(Cause.UNKNOWN)
