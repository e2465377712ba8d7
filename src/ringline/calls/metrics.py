"""What calls report of themselves. Few labels: a series per call would be a leak of its own."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from ringline.metrics import registry

_SETUP_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60)

calls_started = Counter("ringline_calls_started", "Calls that began.", ["direction"], registry=registry)
calls_ended = Counter(
    "ringline_calls_ended", "Calls that have their final record.", ["direction", "reason"], registry=registry
)
calls_refused = Counter(
    "ringline_calls_refused", "Incoming calls that were not taken, by why.", ["reason"], registry=registry
)
limits_reached = Counter(
    "ringline_limits_reached",
    "Requests to place calls that were refused because the customer has, or places, too many.",
    ["limit"],
    registry=registry,
)
calls_live = Gauge("ringline_calls_live", "Calls in each state now.", ["status"], registry=registry)
calls_overdue = Gauge(
    "ringline_calls_overdue", "Calls that should have ended and have not.", registry=registry
)
journal_depth = Gauge(
    "ringline_journal_depth", "Calls and flows waiting to be written to PostgreSQL.", registry=registry
)
setup_seconds = Histogram(
    "ringline_call_setup_seconds",
    "From the request for a call to its answer.",
    buckets=_SETUP_BUCKETS,
    registry=registry,
)
dial_seconds = Histogram(
    "ringline_call_dial_seconds",
    "From the request for a call to Asterisk having taken it.",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
    registry=registry,
)
connection_seconds = Histogram(
    "ringline_connection_setup_seconds",
    "From the answer of a connected leg to both parties being in one bridge.",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
    registry=registry,
)
calls_waiting = Gauge(
    "ringline_calls_waiting",
    "Calls that wait until their customer's pace lets them be placed.",
    registry=registry,
)
live_writes = Counter(
    "ringline_live_state_writes", "Writes of the state of live calls and flows to Redis.", registry=registry
)
recovered = Counter(
    "ringline_calls_recovered",
    "Calls of a former controller, by what became of them: they went on, or had ended in the meantime.",
    ["outcome"],
    registry=registry,
)
recovery_seconds = Gauge(
    "ringline_recovery_seconds",
    "At the last start: from the start of the process until all flows went on.",
    registry=registry,
)
records_dropped = Counter(
    "ringline_journal_records_dropped", "Calls and flows that PostgreSQL refused to store.", registry=registry
)


@cache
def started(direction: str) -> Counter:
    """The counter of calls in one direction; looking a label up costs more than counting."""
    return calls_started.labels(direction)


@cache
def ended(direction: str, reason: str) -> Counter:
    """The counter of calls that ended in one way."""
    return calls_ended.labels(direction, reason)
