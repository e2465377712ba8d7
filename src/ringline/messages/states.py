"""The states of a text on its way to one handset, as a table, and what they amount to for the whole message."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """As VoIPBIN names them."""

    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a text failed; the detail beside it says more."""

    NONE = ""
    OPTED_OUT = "opted_out"
    UNKNOWN_NUMBER = "unknown_number"
    CUSTOMER_NOT_ACTIVE = "customer_not_active"
    NUMBER_NOT_ACTIVE = "number_not_active"
    NOT_REACHABLE = "not_reachable"
    NO_PROVIDER = "no_provider"
    REFUSED = "refused"
    UNDELIVERED = "undelivered"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    UNKNOWN_OUTCOME = "unknown_outcome"


FOLLOWING: Final[dict[Status, frozenset[Status]]] = {
    Status.SENDING: frozenset({Status.SENT, Status.DELIVERED, Status.FAILED}),
    Status.SENT: frozenset({Status.DELIVERED, Status.FAILED}),
    Status.DELIVERED: frozenset(),
    Status.FAILED: frozenset(),
}
"""What may come after each. Reports arrive late, twice and in any order: the rest changes nothing."""


def may_follow(old: Status, reason: str, new: Status) -> bool:
    """Whether a report changes anything. Where nobody knew what became of a text, whoever knows is believed."""
    if old is Status.FAILED and reason == Reason.UNKNOWN_OUTCOME:
        return new is not Status.SENDING
    return new in FOLLOWING[old]


def overall(statuses: Iterable[Status]) -> Status:
    """The state of a message: on its way as long as any target is, failed when all targets have."""
    found = set(statuses)
    for status in (Status.SENDING, Status.SENT, Status.DELIVERED):
        if status in found:
            return status
    return Status.FAILED
