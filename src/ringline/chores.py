"""What is done again and again beside the calls: gauges, sweeps, and what could not be told at once."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from ringline import telemetry
from ringline.calls import metrics
from ringline.calls.states import Status
from ringline.customers import (
    logout,
    signing,
)
from ringline.housekeeping import Chore

if TYPE_CHECKING:
    from ringline.app import Controller


def call_chores(parts: Controller) -> list[Chore]:
    """Of whoever drives an Asterisk."""

    async def read_gauges() -> None:
        telemetry.ari_connected.set(1 if parts.ari.connected else 0)
        telemetry.queue_depth.labels("ari_requests").set(parts.ari.in_flight)
        telemetry.queue_depth.labels("ari_events").set(parts.ari.queued)
        metrics.journal_depth.set(parts.journal.depth)
        telemetry.queue_depth.labels("webhooks").set(parts.webhooks.depth)
        telemetry.read_media(parts.media)
        counted = Counter(call.status for call in parts.switchboard.calls())
        for status in Status:
            if status is not Status.HANGUP:
                metrics.calls_live.labels(status.value).set(counted[status])

    async def part_missing() -> None:
        parts.conferences.rooms.sweep({call.id: call for call in parts.switchboard.calls()})

    recordings = parts.recording_upkeep()
    return [
        Chore("gauges", 1.0, read_gauges),
        Chore("recordings-room", 10.0, recordings.look),
        Chore("recordings-check", 30.0, recordings.check),
        Chore("sip-traces", 5.0, parts.traces.look),
        Chore("conferences", 5.0, part_missing),
        *parts.people.call_chores(),
    ]


def work_chores(parts: Controller) -> list[Chore]:
    """Of whoever does what is to be done once in an installation; done twice it does no harm."""

    async def read_edge() -> None:
        for event, count in (await parts.kamailio.statistics()).items():
            telemetry.edge_events.labels(event).set(count)
        await parts.tell_edge()
        providers = await parts.routing.providers()
        telemetry.read_providers(zip(providers, await parts.provider_health.of(*providers), strict=True))

    async def sweep() -> None:
        await parts.idempotency.sweep()
        await logout.sweep(parts.database)
        await signing.sweep(parts.database)

    async def rotate() -> None:
        if days := parts.settings.jwt_rotation_days:
            await signing.rotate(parts.database, only_after=timedelta(days=days))

    return [
        Chore("recordings-sweep", 600.0, parts.recording_upkeep().sweep),
        Chore("edge", 10.0, read_edge),
        Chore("sip-traces-sweep", 600.0, parts.traces.sweep),
        Chore("sweep", 3600.0, sweep),
        Chore("signing-keys", 600.0, rotate),
        *parts.numbering.chores(),
        *parts.accounting.chores(),
        *parts.charging.chores(),
        *parts.announcing.chores(),
        *parts.people.chores(),
    ]
