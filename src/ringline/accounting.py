"""Money put together: billing accounts and what they are charged for.

A part of ``ringline.app``, which makes one, starts it with the rest and closes it with the rest.
"""

from __future__ import annotations

import structlog

from ringline.billing import (
    BalanceDirectory,
    BillingService,
    Payments,
    RateBook,
    RateService,
    Topups,
    accounts,
    billing_routes,
    metrics,
    rate_routes,
    topup_routes,
)
from ringline.cdrs.http import cdr_routes
from ringline.housekeeping import Chore
from ringline.http import Route, utc_now
from ringline.settings import Settings
from ringline.storage import Database

log = structlog.get_logger(__name__)


class Accounting:
    """Everything about money."""

    def __init__(
        self, settings: Settings, database: Database, balances: BalanceDirectory, rates: RateBook
    ) -> None:
        self._database = database
        self.balances = balances
        self.rates = rates
        self.service = BillingService(database)
        self.topups = Topups(database)
        self.payments = Payments(self.topups, settings.payment_hook_secret.get_secret_value().split())

    def routes(self) -> list[Route]:
        """The operations of billing."""
        return [
            *billing_routes(self.service),
            *topup_routes(self.topups, self.payments),
            *rate_routes(RateService(self._database, self.rates)),
            *cdr_routes(self._database),
        ]

    def chores(self) -> list[Chore]:
        """What is done now and then: in every process, for whatever of it is done once is so by itself."""
        return [
            Chore("monthly-tokens", 300.0, self._allow),
            Chore("billing-check", 600.0, self._check),
        ]

    async def start(self) -> None:
        """Take up what a former process left undone."""

    async def close(self) -> None:
        """Stop everything. Idempotent."""

    async def _allow(self) -> None:
        await accounts.allow_all(self._database, utc_now())

    async def _check(self) -> None:
        metrics.rates_known.set(len(self.rates))
        wrong = await accounts.differences(self._database, summed=False)
        metrics.accounts_wrong.set(len(wrong))
        for account in wrong[:10]:
            log.error("balance_is_not_the_ledgers", **{name: str(value) for name, value in account.items()})
