"""What recordings report of themselves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from ringline.metrics import registry

active = Gauge("ringline_recordings_active", "Recordings under way.", registry=registry)
ended = Counter(
    "ringline_recordings_ended", "Recordings that have ended, by why.", ["reason"], registry=registry
)
