"""The one registry that ``/metrics`` shows. Each room defines its own metrics on it."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
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


def render() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(registry)
