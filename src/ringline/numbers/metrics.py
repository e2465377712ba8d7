"""What numbers report of themselves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from ringline.metrics import registry

orders = Counter(
    "ringline_number_orders",
    "What was asked of vendors of numbers, by what came of it: done, pending, failed, uncertain, retried, lost, "
    "contradicted (said after it had ended), unknown (a report of an order that is not ours).",
    ["vendor", "kind", "outcome"],
    registry=registry,
)
orders_open = Gauge(
    "ringline_number_orders_open", "Orders that have not ended.", ["vendor", "kind"], registry=registry
)
orders_oldest = Gauge(
    "ringline_number_orders_oldest_seconds", "Age of the oldest order that has not ended.", registry=registry
)
renewals = Counter(
    "ringline_number_renewals", "Months of numbers: renewed or unpaid.", ["outcome"], registry=registry
)
