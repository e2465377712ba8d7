"""What a million stored calls cost the controller: memory, its start, and lists over them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from bench import usage
from bench.api import SOURCE_NUMBER, Api
from bench.instance import Instance

PAGES = 20
_FILL = sa.text(
    """
    INSERT INTO calls (id, customer_id, flow_id, type, source, destination, status, direction, hangup_by,
        hangup_reason, tm_create, tm_ringing, tm_progressing, tm_hangup, tm_update)
    SELECT gen_random_uuid(), numbers.customer_id, gen_random_uuid(), 'flow',
        jsonb_build_object('type', 'tel', 'target', numbers.number, 'target_name', '', 'name', '', 'detail', ''),
        jsonb_build_object('type', 'tel', 'target', '+1999' || lpad(index::text, 7, '0'), 'target_name', '',
            'name', '', 'detail', ''),
        'hangup', 'outgoing', 'remote', 'normal', moment, moment, moment, moment, moment
    FROM generate_series(1, :count) AS index, numbers,
        LATERAL (SELECT now() - interval '1 day' - index * interval '1 second' AS moment) AS moments
    WHERE numbers.number = :number
    """
)


@dataclass(frozen=True, slots=True)
class Stored:
    """``calls`` were added. Memory of the controller in KiB: before, after lists over them, after a new start."""

    calls: int
    before_kb: int
    after_kb: int
    fresh_kb: int
    ready_seconds: float
    """From the restart of the controller's container until it says that it is ready."""
    page_ms: float
    """A page of a hundred, the middle of the first ``PAGES`` ones."""


async def store(api: Api, instance: Instance, count: int) -> Stored:
    """Add ended calls straight to the database, list some of them, and start the controller again."""
    before = usage.memory_kb(instance.controller_pid())
    await api.execute(_FILL, {"count": count, "number": SOURCE_NUMBER})
    await api.execute(sa.text("ANALYZE calls"), {})
    times: list[float] = []
    token = ""
    for _ in range(PAGES):
        began = time.monotonic()
        page = await api.ask("GET", f"/v1.0/calls?page_size=100&page_token={token}")
        times.append((time.monotonic() - began) * 1000)
        token = page["next_page_token"]
    after = usage.memory_kb(instance.controller_pid())
    began = time.monotonic()
    await instance.restart("controller")
    await api.ready()
    ready = time.monotonic() - began
    fresh = usage.memory_kb(instance.controller_pid())
    return Stored(count, before, after, fresh, ready, sorted(times)[len(times) // 2])
