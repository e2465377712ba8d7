"""What deliveries report of themselves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from ringline.metrics import registry

attempts = Counter(
    "ringline_webhook_attempts",
    "Attempts to deliver an event: delivered, failed (to be tried again), given_up.",
    ["result"],
    registry=registry,
)
latency = Histogram(
    "ringline_webhook_seconds",
    "Seconds from an event to its arrival at an endpoint, for those that arrived at the first attempt.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0),
    registry=registry,
)
in_memory = Gauge(
    "ringline_webhook_deliveries", "Deliveries in the memory of this process.", registry=registry
)
endpoints = Gauge("ringline_webhook_endpoints", "Endpoints this process sees to.", registry=registry)
open_circuits = Gauge(
    "ringline_webhook_circuits_open",
    "Endpoints where nothing arrives and little is tried.",
    registry=registry,
)
