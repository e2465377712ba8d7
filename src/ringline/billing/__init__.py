"""Billing accounts, their balance, what things cost, and the ledger of all of it."""

from ringline.billing.directory import BalanceDirectory
from ringline.billing.http import billing_routes, topup_routes
from ringline.billing.payments import Payments
from ringline.billing.rate_book import RateBook
from ringline.billing.rate_http import rate_routes
from ringline.billing.rate_service import RateService
from ringline.billing.service import BillingService
from ringline.billing.topups import Topups

__all__ = [
    "BalanceDirectory",
    "BillingService",
    "Payments",
    "RateBook",
    "RateService",
    "Topups",
    "billing_routes",
    "rate_routes",
    "topup_routes",
]
