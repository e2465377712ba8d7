"""What is counted of WebSockets."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from ringline.metrics import registry

open_sockets = Gauge("ringline_event_sockets", "WebSockets that are open.", registry=registry)
sent = Counter("ringline_event_socket_frames_total", "Events put on WebSockets.", registry=registry)
closed = Counter(
    "ringline_event_sockets_closed_total",
    "WebSockets that ended, by close code.",
    ("code",),
    registry=registry,
)
