"""What webhooks of vendors report of themselves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from ringline.metrics import registry

hooks = Counter(
    "ringline_vendor_hooks",
    "Webhooks of vendors: taken, duplicate (stored before), unknown (nothing in it that means something to us),"
    " refused (signature), unreadable (genuine, and a fault of ours), absent (the vendor is not set up here).",
    ["vendor", "outcome"],
    registry=registry,
)
events = Counter(
    "ringline_vendor_events",
    "Events of webhooks that somebody dealt with: done, failed (tried again), given_up (after a day).",
    ["vendor", "kind", "outcome"],
    registry=registry,
)
event_seconds = Histogram(
    "ringline_vendor_event_seconds",
    "From the moment at which an event was stored to the one at which it had been dealt with.",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600),
    registry=registry,
)
taken = Gauge(
    "ringline_vendor_events_taken",
    "Events that are being dealt with or wait for it in memory.",
    registry=registry,
)
