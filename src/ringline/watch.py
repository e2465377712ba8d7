"""What Asterisk's Manager Interface tells, turned into metrics, log lines and a nudge to reconcile."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from prometheus_client import Counter, Gauge, Histogram

from ringline.ari.ami import AmiMonitor, Boot, Quality, SecurityEvent
from ringline.metrics import registry
from ringline.settings import Settings

log = structlog.get_logger(__name__)

restarts = Counter(
    "ringline_asterisk_restarts", "Times Asterisk came back as a new process.", registry=registry
)
booted = Gauge("ringline_asterisk_booted", "1 while Asterisk is fully booted (AMI).", registry=registry)
refusals = Counter(
    "ringline_asterisk_security_events",
    "Refused log-ins and requests at Asterisk.",
    ["kind"],
    registry=registry,
)
round_trip_seconds = Histogram(
    "ringline_rtp_round_trip_seconds",
    "Round-trip time of the audio, from RTCP reports.",
    buckets=(0.01, 0.03, 0.1, 0.3, 1),
    registry=registry,
)
loss_ratio = Histogram(
    "ringline_rtp_loss_ratio",
    "Audio packets lost since the report before, from RTCP reports.",
    buckets=(0.001, 0.01, 0.03, 0.1, 0.3),
    registry=registry,
)


def monitor(settings: Settings, on_restart: Callable[[], None]) -> AmiMonitor:
    """An AMI connection that counts, logs, and says when Asterisk came back as a new process."""

    def boot(event: Boot) -> None:
        booted.set(1)
        if event.restarted:
            restarts.inc()
            log.warning("asterisk_restarted", started=event.started)
            on_restart()

    def lost(reason: str) -> None:
        booted.set(0)

    def security(event: SecurityEvent) -> None:
        refusals.labels(event.kind).inc()
        log.warning("asterisk_refused", kind=event.kind, service=event.service, remote=event.remote_address)

    def quality(report: Quality) -> None:
        if report.round_trip_ms is not None:
            round_trip_seconds.observe(report.round_trip_ms / 1000)
        if report.fraction_lost is not None:
            loss_ratio.observe(report.fraction_lost)

    return AmiMonitor(
        settings.ami_host,
        settings.ami_port,
        settings.ami_username,
        settings.ami_password.get_secret_value(),
        on_boot=boot,
        on_lost=lost,
        on_security=security,
        on_quality=quality,
    )
