"""Metrics of the parts that know nothing of Ringline's registry: the ARI client and the media library."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram

from ringline.metrics import registry
from ringline.routing.health import Health
from ringline.routing.models import Provider

ari_request_seconds = Histogram(
    "ringline_ari_request_seconds",
    "From a request to Asterisk to its answer.",
    ["method", "resource"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
    registry=registry,
)
ari_requests_failed = Counter(
    "ringline_ari_requests_failed",
    "Requests that Asterisk refused or did not answer (status 0).",
    ["resource", "status"],
    registry=registry,
)
ari_events_dropped = Counter(
    "ringline_ari_events_dropped",
    "Events that a handler did not get because its queue was full.",
    ["event"],
    registry=registry,
)
ari_reconnects = Counter(
    "ringline_ari_reconnects", "Connections to Asterisk that came back.", registry=registry
)
ari_connected = Gauge("ringline_ari_connected", "1 while Asterisk's events arrive.", registry=registry)
queue_depth = Gauge(
    "ringline_queue_depth", "What waits in each queue of the controller.", ["queue"], registry=registry
)
edge_events = Gauge(
    "ringline_edge_events",
    "What Kamailio counted since its start: strangers, failovers, calls without a route, ...",
    ["event"],
    registry=registry,
)
_PROVIDER = ["provider", "provider_id"]
provider_up = Gauge(
    "ringline_provider_up",
    "1 for a provider that answers OPTIONS, 0 for one that does not; none without a health check.",
    _PROVIDER,
    registry=registry,
)
provider_latency = Gauge(
    "ringline_provider_latency_seconds", "How long its last answer took.", _PROVIDER, registry=registry
)
provider_failovers = Gauge(
    "ringline_provider_failovers",
    "Calls that went on from this provider to the next one since Kamailio's start.",
    _PROVIDER,
    registry=registry,
)
provider_registered = Gauge(
    "ringline_provider_registered",
    "1 while we are registered with a provider that wants it, else 0.",
    _PROVIDER,
    registry=registry,
)
media_seconds = Histogram(
    "ringline_media_seconds",
    "How long speech and files took to make.",
    ["kind", "source", "result"],
    buckets=(0.001, 0.01, 0.1, 0.3, 1, 3, 10, 30),
    registry=registry,
)
media_jobs = Gauge(
    "ringline_media_jobs",
    "Jobs of speech and files that wait or are being done.",
    ["program"],
    registry=registry,
)
speech_engine_ready = Gauge(
    "ringline_speech_engine_ready",
    "1 for an engine that speaks, 0 for one that loads, rests after failures or could not start.",
    ["engine"],
    registry=registry,
)
loop_lag_seconds = Gauge(
    "ringline_loop_lag_seconds", "How late the event loop woke up when last looked.", registry=registry
)


class AriTelemetry:
    """``ringline.ari.Observer``. Children are kept: looking labels up costs more than counting."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], Histogram] = {}

    def request_done(self, method: str, resource: str, status: int, seconds: float) -> None:
        key = (method, resource)
        child = self._seconds.get(key)
        if child is None:
            child = self._seconds[key] = ari_request_seconds.labels(method, resource)
        child.observe(seconds)
        if status == 0 or status >= 400:
            ari_requests_failed.labels(resource, str(status)).inc()

    def event_dropped(self, event_type: str, queue: str) -> None:
        ari_events_dropped.labels(event_type).inc()

    def reconnected(self, application: str) -> None:
        ari_reconnects.inc()


class MediaState(Protocol):
    """What a media library tells of itself (``ringline.media.MediaLibrary``)."""

    def queues(self) -> dict[str, int]: ...

    def health(self) -> dict[str, str]: ...


def read_media(media: MediaState) -> None:
    """Show how much the media library has to do and which of its engines speak."""
    for program, jobs in media.queues().items():
        media_jobs.labels(program).set(jobs)
    for engine, state in media.health().items():
        speech_engine_ready.labels(engine).set(1 if state == "ready" else 0)


class MediaTelemetry:
    """``ringline.media.MediaObserver``."""

    def media_done(self, kind: str, source: str, result: str, seconds: float) -> None:
        media_seconds.labels(kind, source, result).observe(seconds)


def read_providers(found: Iterable[tuple[Provider, Health]]) -> None:
    """Show how providers are, by name and id (names need not differ); those that are gone are not shown any more."""
    for gauge in (provider_up, provider_latency, provider_failovers, provider_registered):
        gauge.clear()
    for provider, health in found:
        if health.status != "unknown":
            provider_up.labels(provider.name, str(provider.id)).set(health.status == "up")
            provider_latency.labels(provider.name, str(provider.id)).set(health.latency_ms / 1000)
        provider_failovers.labels(provider.name, str(provider.id)).set(health.failovers)
        if provider.registration:
            provider_registered.labels(provider.name, str(provider.id)).set(
                health.registration.status == "registered"
            )
