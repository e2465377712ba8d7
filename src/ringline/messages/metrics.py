"""What texts report of themselves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from ringline.metrics import registry

texts = Counter(
    "ringline_messages",
    "Texts by direction and what became of them: a state or the reason of a failure (outbound, once for each target"
    " and state), received, duplicate or why they were dropped (inbound).",
    ["direction", "outcome"],
    registry=registry,
)
reports = Counter(
    "ringline_message_reports",
    "Delivery reports of vendors: applied, late (changed nothing), unknown.",
    ["outcome"],
    registry=registry,
)
waiting = Gauge(
    "ringline_messages_waiting", "Targets that wait for their vendor, or for its word.", registry=registry
)
flows = Counter(
    "ringline_message_flows", "Flows of inbound texts: started, failed.", ["outcome"], registry=registry
)
