"""The one registry that ``/metrics`` shows. Each room defines its own metrics on it."""

from __future__ import annotations

import asyncio

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

registry = CollectorRegistry()
ProcessCollector(registry=registry)
PlatformCollector(registry=registry)
GCCollector(registry=registry)


def _tasks() -> float:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # asked from outside an event loop
        return 0


Gauge("ringline_tasks", "Tasks of the event loop; one that grows is a leak.", registry=registry).set_function(
    _tasks
)


def render() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(registry)
