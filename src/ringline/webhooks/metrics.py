"""What webhooks report of themselves."""

from __future__ import annotations

from prometheus_client import Counter

from ringline.metrics import registry

deliveries = Counter(
    "ringline_webhooks",
    "Webhooks of flows that ended: delivered, failed, or refused because too many waited.",
    ["result"],
    registry=registry,
)
