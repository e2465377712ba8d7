"""All billing accounts in memory: whether a customer can pay for a call, without a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ringline.billing.rates import Rate
from ringline.billing.tables import billing_accounts
from ringline.billing.tiers import UNLIMITED
from ringline.storage import Database, Mirror


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left on an account: ``credit`` in micro-US-dollars, ``tokens`` in units of the plan.

    ``held_credit`` and ``held_token`` of it are promised to what goes on.
    """

    id: UUID
    plan: str
    credit: int
    tokens: int
    held_credit: int = 0
    held_token: int = 0

    @property
    def free_credit(self) -> int:
        """Credit that is promised to nothing."""
        return self.credit - self.held_credit

    @property
    def free_token(self) -> int:
        """Tokens that are promised to nothing."""
        return self.tokens - self.held_token

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left: neither tokens nor credit, and the plan is not without bounds."""
        return self.plan != UNLIMITED and self.free_token <= 0 and self.free_credit <= 0

    def covers(self, amount: int) -> bool:
        """Whether the credit pays for this many millionths of a US dollar."""
        return self.plan == UNLIMITED or self.free_credit >= amount

    def affords(self, rate: Rate, units: int) -> bool:
        """Whether tokens and credit together pay for this many units."""
        if self.plan == UNLIMITED:
            return True
        most = rate.affordable(self.free_token, self.free_credit)
        return most is None or most >= units


class BalanceDirectory(Mirror[Balance]):
    """The balances of all accounts that were not deleted."""

    def __init__(self, database: Database) -> None:
        columns = ("id", "plan_type", "balance_credit", "balance_token", "held_credit", "held_token")
        super().__init__(database, billing_accounts, _balance, columns=columns)

    def exhausted(self, account_id: UUID | None) -> bool:
        """Whether an account's balance is used up. A customer without an account is charged nothing."""
        found = None if account_id is None else self.by_id(account_id)
        return found is not None and found.exhausted

    def covers(self, account_id: UUID | None, amount: int) -> bool:
        """Whether an account pays for this (``Balance.covers``). A customer without an account is charged nothing."""
        found = None if account_id is None else self.by_id(account_id)
        return found is None or found.covers(amount)

    def affords(self, account_id: UUID | None, rate: Rate, units: int) -> bool:
        """Whether an account pays for this many units. A customer without an account is charged nothing."""
        found = None if account_id is None else self.by_id(account_id)
        return found is None or found.affords(rate, units)


def _balance(row: Any) -> Balance:
    return Balance(
        row.id, row.plan_type, row.balance_credit, row.balance_token, row.held_credit, row.held_token
    )
