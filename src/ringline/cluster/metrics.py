"""What processes that work together report of that."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from ringline.metrics import registry

carried = Counter(
    "ringline_carried_requests",
    "Requests of other processes: done, not_mine (another one has what they are about), late (not carried out).",
    ["outcome"],
    registry=registry,
)
asked_seconds = Histogram(
    "ringline_asking_seconds",
    "From a request that is handed to a controller to its answer.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
    registry=registry,
)
unanswered = Counter(
    "ringline_asking_unanswered",
    "Requests whose controller was lost before it answered: repeated (safely), given_up.",
    ["outcome"],
    registry=registry,
)
units_held = Gauge("ringline_units_held", "Asterisks that this process drives.", registry=registry)
adoptions = Counter(
    "ringline_units_taken", "Asterisks that this process has begun to drive.", registry=registry
)
