"""What can be wrong with a request about numbers."""

from __future__ import annotations

from ringline.billing.tiers import LimitReached
from ringline.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    PaymentRequired,
    Unavailable,
)


class NumberNotFound(NotFound):
    """404: no such number."""

    default_reason = "NUMBER_NOT_FOUND"


class NumberOwned(AlreadyExists):
    """409: the customer has this number already; the message names its id."""

    default_reason = "NUMBER_ALREADY_OWNED"


class NumberNotAvailable(AlreadyExists):
    """409: somebody has this number, or nobody sells it."""

    default_reason = "NUMBER_NOT_AVAILABLE"


class NumberStateInvalid(FailedPrecondition):
    """409: the number is not in a state in which this can be done."""

    default_reason = "NUMBER_STATE_INVALID"


class PurchaseRejected(FailedPrecondition):
    """409: the vendor did not sell the number; nothing was bought."""

    default_reason = "NUMBER_PURCHASE_REJECTED"


class NumberLimitReached(LimitReached):
    """429: the customer's plan allows no more virtual numbers. Waiting does not help."""

    default_reason = "NUMBER_LIMIT_REACHED"


class NumberUnpaid(PaymentRequired):
    """402: the balance does not cover a number or its month."""


class VendorsUnavailable(Unavailable):
    """503: those who sell numbers cannot be asked now."""

    default_reason = "NUMBER_VENDOR_UNAVAILABLE"
