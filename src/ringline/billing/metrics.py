"""What billing shows of itself."""

from __future__ import annotations

from prometheus_client import Gauge

from ringline.metrics import registry

accounts_wrong = Gauge(
    "ringline_billing_accounts_wrong",
    "Accounts whose balance is not that of their ledger; `ringline doctor` names them.",
    registry=registry,
)
rates_known = Gauge("ringline_billing_rates", "Rates in memory.", registry=registry)
