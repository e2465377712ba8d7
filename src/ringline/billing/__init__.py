"""Billing accounts and their balance."""

from ringline.billing.http import billing_routes
from ringline.billing.service import BillingService

__all__ = ["BillingService", "billing_routes"]
