"""What traces report of themselves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from ringline.metrics import registry

messages = Counter(
    "ringline_sip_trace_messages", "Copies of SIP messages that were taken in.", registry=registry
)
dropped = Counter(
    "ringline_sip_trace_dropped",
    "Copies that were not kept: not ours (key), no Call-ID (malformed), more than a dialog may have (dialog), more"
    " than there is room for (room), traces that PostgreSQL had no time for (behind).",
    ["reason"],
    registry=registry,
)
stored = Counter("ringline_sip_traces_stored", "Traces handed to PostgreSQL.", registry=registry)
held = Gauge("ringline_sip_trace_held_bytes", "Bytes of messages in memory.", registry=registry)
