"""Limits that were set for single customers, in memory, and what they amount to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ringline.limits.requests import Rate
from ringline.limits.store import customer_limits
from ringline.storage import Database, Mirror


@dataclass(frozen=True, slots=True)
class SetLimits:
    """What was set for one customer; 0 is the installation's."""

    id: UUID
    customer_id: UUID
    requests_per_second: int
    requests_burst: int
    waiting_calls: int


@dataclass(frozen=True, slots=True)
class Defaults:
    """The installation's, for customers of whom nobody says more; a rate of 0 is no limit."""

    requests: Rate
    credential_requests: Rate
    waiting_calls: int


class LimitDirectory(Mirror[SetLimits]):
    """Of all customers for whom anything was set."""

    def __init__(self, database: Database, defaults: Defaults) -> None:
        super().__init__(database, customer_limits, _set, key=lambda one: one.customer_id)
        self._defaults = defaults

    def requests(self, customer_id: UUID) -> Rate:
        """How many requests all credentials of a customer may send together."""
        return self._rate(customer_id, self._defaults.requests)

    def credential_requests(self, customer_id: UUID) -> Rate:
        """How many each of them may send: as many as the customer, where that was set."""
        return self._rate(customer_id, self._defaults.credential_requests)

    def waiting_calls(self, customer_id: UUID) -> int:
        """How many calls may wait for their turn."""
        found = self.by_key(customer_id)
        return (found and found.waiting_calls) or self._defaults.waiting_calls

    def _rate(self, customer_id: UUID, default: Rate) -> Rate:
        found = self.by_key(customer_id)
        if found is None or not (found.requests_per_second or found.requests_burst):
            return default
        per_second = found.requests_per_second or default.per_second
        return Rate(per_second, found.requests_burst or 2 * per_second)


def _set(row: Any) -> SetLimits:
    return SetLimits(row.id, row.customer_id, row.requests_per_second, row.requests_burst, row.waiting_calls)
