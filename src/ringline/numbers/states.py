"""The states of numbers and of what is ordered for them as data: what may follow what.

Source: the seed page ``number.txt``, States and Status.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Where a number stands."""

    PURCHASE_PENDING = "purchase-pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.PURCHASE_PENDING: frozenset({Status.ACTIVE, Status.DELETED}),
    Status.ACTIVE: frozenset({Status.SUSPENDED, Status.DELETED}),
    Status.SUSPENDED: frozenset({Status.ACTIVE, Status.DELETED}),
    Status.DELETED: frozenset(),
}


def may_follow(present: Status, following: Status) -> bool:
    """Whether a number in ``present`` may go to ``following``."""
    return following in TRANSITIONS[present]


OWNERS_CHOICE: Final = frozenset({Status.ACTIVE, Status.SUSPENDED})
"""Between these its owner moves a number; the rest is between us and the vendor."""


class Reason(StrEnum):
    """Why a number is in its state, where its owner did not ask for it (``status_reason`` begins with it)."""

    NONE = ""
    RENEWAL_UNPAID = "renewal_unpaid"
    PURCHASE_REJECTED = "purchase_rejected"
    EMERGENCY_REFUSED = "emergency_refused"


class OrderKind(StrEnum):
    """What a vendor is asked for; ``renew`` is between the customer and us."""

    BUY = "buy"
    CONFIGURE = "configure"
    RELEASE = "release"
    RENEW = "renew"


class OrderState(StrEnum):
    """How far an order is.

    ``intended``: the vendor was not asked. ``sent``: it may have been, and what it said is unknown. ``pending``: it
    has taken the order and has not carried it out.
    """

    INTENDED = "intended"
    SENT = "sent"
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


ORDER_TRANSITIONS: Final[dict[OrderState, frozenset[OrderState]]] = {
    # done and failed without a request of ours: a webhook of a purchase that nobody found, an order that is obsolete
    OrderState.INTENDED: frozenset({OrderState.SENT, OrderState.PENDING, OrderState.DONE, OrderState.FAILED}),
    # back to intended only when it is certain that nothing was done
    OrderState.SENT: frozenset({OrderState.INTENDED, OrderState.PENDING, OrderState.DONE, OrderState.FAILED}),
    OrderState.PENDING: frozenset({OrderState.INTENDED, OrderState.DONE, OrderState.FAILED}),
    OrderState.DONE: frozenset(),
    OrderState.FAILED: frozenset(),
}


def sources_of(following: OrderState) -> list[str]:
    """The states from which an order may go to ``following``."""
    return [state.value for state, targets in ORDER_TRANSITIONS.items() if following in targets]
