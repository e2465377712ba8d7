"""How many calls last, by whose they are: kept beside the live calls, so it is right whenever those are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from ringline.calls.call import ZERO, Call


class Tally:
    """Counts of live calls by customer, and by the phone's or trunk's account that placed them."""

    def __init__(self) -> None:
        self._customers: Counter[UUID] = Counter()
        self._accounts: Counter[UUID] = Counter()

    def add(self, call: Call) -> None:
        self._customers[call.customer_id] += 1
        if call.account_id != ZERO:
            self._accounts[call.account_id] += 1

    def remove(self, call: Call) -> None:
        """Of a call that was added."""
        _lower(self._customers, call.customer_id)
        if call.account_id != ZERO:
            _lower(self._accounts, call.account_id)

    def of_customer(self, customer_id: UUID) -> int:
        """Live calls of a customer, incoming and outgoing."""
        return self._customers[customer_id]

    def of_account(self, account_id: UUID) -> int:
        """Live calls that an extension or a trunk placed."""
        return self._accounts[account_id]

    def all(self) -> Iterable[tuple[UUID, int]]:
        """Of everybody who has any, customers and accounts."""
        yield from self._customers.items()
        yield from self._accounts.items()


def _lower(counts: Counter[UUID], key: UUID) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
