"""What events report of themselves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from ringline.metrics import registry

published = Counter(
    "ringline_events", "Events that were published by this process, by type.", ["type"], registry=registry
)
waiting = Gauge(
    "ringline_events_waiting",
    "Events that are stored and not published; counted up to 10,000.",
    registry=registry,
)
lag_seconds = Gauge(
    "ringline_events_lag_seconds",
    "Age of the oldest event that is not published; 0 when none waits.",
    registry=registry,
)
publishing = Gauge(
    "ringline_events_publishing", "1 in the process that publishes events, 0 in others.", registry=registry
)
