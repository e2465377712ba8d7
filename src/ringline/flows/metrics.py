"""What flows report of themselves."""

from __future__ import annotations

from functools import cache

from prometheus_client import Histogram

from ringline.metrics import registry

action_seconds = Histogram(
    "ringline_action_seconds",
    "How long actions took, by type and result.",
    ["type", "result"],
    buckets=(0.001, 0.01, 0.1, 1, 5, 15, 60, 300),
    registry=registry,
)


@cache
def seconds_of(kind: str, result: str) -> Histogram:
    """The histogram of one type of action with one result."""
    return action_seconds.labels(kind, result)
