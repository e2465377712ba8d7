"""What can be wrong with a request about money."""

from __future__ import annotations

from uuid import UUID

from ringline.billing.rates import DOLLAR
from ringline.errors import FailedPrecondition, InvalidArgument, NotFound, PaymentRequired


class BillingAccountNotFound(NotFound):
    """404: no such billing account."""

    default_reason = "BILLING_ACCOUNT_NOT_FOUND"


class BillingNotFound(NotFound):
    """404: no such entry in the ledger."""

    default_reason = "BILLING_NOT_FOUND"


class AmountInvalid(InvalidArgument):
    """400: an amount that no account can hold."""


class BalanceTooSmall(FailedPrecondition):
    """409: more is to be taken off an account than there is on it that nothing else was promised."""

    default_reason = "BALANCE_TOO_SMALL"


class InsufficientBalance(PaymentRequired):
    """402: the account does not pay for it; ``details[0]`` has what is needed and what there is."""

    def __init__(self, what: str, needed: int, available: int) -> None:
        """Amounts in micro-US-dollars."""
        super().__init__(
            f"{what} costs {_exact(needed)}, and the balance that is not promised to anything else is "
            f"{_exact(available)}; add credit and try again (GET /v1.0/billing_account).",
            details=[{"needed_credit": needed, "available_credit": available}],
        )


def no_account(account_id: UUID) -> BillingAccountNotFound:
    """The error for an account that is not there."""
    return BillingAccountNotFound(
        f"There is no billing account {account_id}; GET /v1.0/billing_accounts lists yours."
    )


def _exact(amount: int) -> str:
    """``$5.00``, or as many places as it takes: ``$0.006``."""
    sign, amount = ("-" if amount < 0 else ""), abs(amount)
    places = f"{amount % DOLLAR:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${amount // DOLLAR}.{places}"
