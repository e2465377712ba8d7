"""What streams report of themselves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from ringline.metrics import registry

live = Gauge("ringline_streams_live", "Streams of audio to and from customers' servers.", registry=registry)
streams = Counter(
    "ringline_streams",
    "Streams by what became of them: started, failed to start, closed by the server, lost.",
    ["kind", "result"],
    registry=registry,
)
