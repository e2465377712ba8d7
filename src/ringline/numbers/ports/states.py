"""The states of a port as data: what may follow what."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """How far a port is.

    ``exception``: the customer must mend something. ``foc-confirmed``: the old carrier has agreed to a date (firm
    order commitment).
    """

    DRAFT = "draft"
    SUBMITTED = "submitted"
    IN_PROCESS = "in-process"
    EXCEPTION = "exception"
    FOC_CONFIRMED = "foc-confirmed"
    PORTED = "ported"
    CANCELLED = "cancelled"


# vendors skip states, and a date that was agreed to may fall through
_UNDER_WAY: Final = frozenset({Status.IN_PROCESS, Status.EXCEPTION, Status.FOC_CONFIRMED})
_ENDS: Final = frozenset({Status.PORTED, Status.CANCELLED})

TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.DRAFT: frozenset({Status.SUBMITTED, Status.CANCELLED}),
    Status.SUBMITTED: _UNDER_WAY | _ENDS,
    Status.IN_PROCESS: (_UNDER_WAY | _ENDS) - {Status.IN_PROCESS},
    Status.EXCEPTION: (_UNDER_WAY | _ENDS | {Status.SUBMITTED}) - {Status.EXCEPTION},
    Status.FOC_CONFIRMED: (_UNDER_WAY | _ENDS) - {Status.FOC_CONFIRMED},
    Status.PORTED: frozenset(),
    Status.CANCELLED: frozenset(),
}

CHANGEABLE: Final = frozenset({Status.DRAFT, Status.EXCEPTION})
"""In these a port waits for its customer."""


def may_follow(present: Status, following: Status) -> bool:
    """Whether a port in ``present`` may go to ``following``."""
    return following in TRANSITIONS[present]


def ended(status: Status) -> bool:
    """Whether nothing follows."""
    return not TRANSITIONS[status]


class NumberStatus(StrEnum):
    """What became of one number of a port."""

    WAITING = "waiting"
    PORTED = "ported"
    FAILED = "failed"
