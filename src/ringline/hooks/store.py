"""The table of events that webhooks brought, and every query on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.hooks.codec import Encoded
from ringline.storage import metadata
from ringline.storage.types import Json, Timestamp, text_column

hook_events = sa.Table(
    "hook_events",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("vendor", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("payload", Json, nullable=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    text_column("reason"),
    sa.Column("tm_create", Timestamp, nullable=False),
    sa.Column("tm_due", Timestamp, nullable=False),
    sa.Column("tm_end", Timestamp, nullable=True),
)
"""``state`` is ``waiting``, ``done`` or ``given-up``. What is done keeps its id, against replays, and no payload.

``tm_due``: when it is tried next; while somebody tries, who says so again and again, when that is taken for lost.
"""
sa.Index("uq_hook_events_event", hook_events.c.vendor, hook_events.c.event_id, unique=True)
sa.Index(
    "ix_hook_events_due",
    hook_events.c.tm_due,
    hook_events.c.id,
    postgresql_where=sa.text("state = 'waiting'"),
)
sa.Index(
    "ix_hook_events_lane",
    hook_events.c.vendor,
    hook_events.c.lane,
    hook_events.c.id,
    postgresql_where=sa.text("state = 'waiting'"),
)
sa.Index("ix_hook_events_age", hook_events.c.tm_create)

SWEEP_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that somebody is to deal with now; ``attempts`` counts this one."""

    id: int
    vendor: str
    kind: str
    lane: str
    payload: Any
    attempts: int
    tm_create: datetime


def _parameters(**types: Any) -> list[sa.BindParameter[Any]]:
    return [sa.bindparam(name, type_=kind) for name, kind in types.items()]


_INSERT: Final = sa.text(
    "INSERT INTO hook_events (vendor, event_id, kind, lane, payload, state, attempts, tm_create, tm_due)"
    " SELECT vendor, event_id, kind, lane, payload, 'waiting', 0, :now, :now"
    " FROM jsonb_to_recordset(CAST(:rows AS jsonb))"
    " AS given(place int, vendor text, event_id text, kind text, lane text, payload jsonb)"
    " ORDER BY place"
    " ON CONFLICT (vendor, event_id) DO NOTHING RETURNING vendor, event_id"
).bindparams(*_parameters(now=Timestamp, rows=sa.Text))

# An event waits for those of its lane that came before it, unless they have failed for a while.
_CLAIM: Final = sa.text(
    "WITH due AS ("
    "SELECT id FROM hook_events AS one"
    " WHERE state = 'waiting' AND tm_due <= :now AND kind = ANY(:kinds) AND NOT EXISTS ("
    "SELECT 1 FROM hook_events AS earlier"
    " WHERE earlier.state = 'waiting' AND earlier.vendor = one.vendor AND earlier.lane = one.lane"
    " AND earlier.id < one.id AND earlier.tm_due > one.tm_due AND earlier.tm_create > :young)"
    " ORDER BY tm_due, id LIMIT :most FOR UPDATE SKIP LOCKED)"
    " UPDATE hook_events SET tm_due = :lost, attempts = attempts + 1"
    " FROM due WHERE hook_events.id = due.id"
    " RETURNING hook_events.id, vendor, kind, lane, payload, attempts, tm_create"
).bindparams(
    *_parameters(now=Timestamp, kinds=ARRAY(sa.Text), young=Timestamp, most=sa.Integer, lost=Timestamp)
)


async def insert(
    connection: AsyncConnection, events: Sequence[tuple[str, Encoded]], now: datetime
) -> set[tuple[str, str]]:
    """Store events, each with its vendor's name; what was stored before stays. Returns the new ``(vendor, id)``."""
    rows = [
        {
            "place": place,
            "vendor": vendor,
            "event_id": event.event_id,
            "kind": event.kind,
            "lane": event.lane,
            "payload": event.payload,
        }
        for place, (vendor, event) in enumerate(events)
    ]
    given = {"now": now, "rows": orjson.dumps(rows).decode()}
    return {(row.vendor, row.event_id) for row in await connection.execute(_INSERT, given)}


async def claim(
    connection: AsyncConnection,
    kinds: Collection[str],
    *,
    now: datetime,
    young: datetime,
    lost: datetime,
    most: int,
) -> list[Waiting]:
    """What is due, taken until ``lost``, in the order in which it came."""
    given = {"now": now, "kinds": list(kinds), "young": young, "most": most, "lost": lost}
    found = [Waiting(*row) for row in await connection.execute(_CLAIM, given)]
    return sorted(found, key=lambda one: one.id)


async def next_due(connection: AsyncConnection, kinds: Collection[str], now: datetime) -> datetime | None:
    """When something is due next that is not due yet."""
    statement = sa.select(sa.func.min(hook_events.c.tm_due)).where(
        hook_events.c.state == "waiting", hook_events.c.kind.in_(kinds), hook_events.c.tm_due > now
    )
    due: datetime | None = await connection.scalar(statement)
    return due


async def finish(connection: AsyncConnection, ids: Sequence[int], now: datetime) -> None:
    """They have been dealt with."""
    statement = sa.update(hook_events).where(
        hook_events.c.id == sa.func.any(sa.cast(ids, ARRAY(sa.BigInteger)))
    )
    await connection.execute(statement.values(state="done", payload=None, reason="", tm_end=now))


async def put_off(connection: AsyncConnection, ids: Sequence[int], due: datetime, reason: str = "") -> None:
    """They are tried (again) at ``due``."""
    statement = sa.update(hook_events).where(hook_events.c.id.in_(ids))
    await connection.execute(statement.values(tm_due=due, reason=reason))


async def give_up(connection: AsyncConnection, event_id: int, now: datetime, reason: str) -> None:
    """It is not tried again; its payload is kept for the operator."""
    statement = sa.update(hook_events).where(hook_events.c.id == event_id)
    await connection.execute(statement.values(state="given-up", reason=reason, tm_end=now))


async def renew(connection: AsyncConnection, ids: Sequence[int], until: datetime) -> None:
    """They stay taken until then."""
    statement = sa.update(hook_events).where(
        hook_events.c.id == sa.func.any(sa.cast(ids, ARRAY(sa.BigInteger))), hook_events.c.state == "waiting"
    )
    await connection.execute(statement.values(tm_due=until))


async def sweep(connection: AsyncConnection, *, done_before: datetime, given_up_before: datetime) -> int:
    """Delete what ended long ago, so many at a time. Returns how many."""
    old = (
        sa.select(hook_events.c.id)
        .where(
            sa.or_(
                sa.and_(hook_events.c.state == "done", hook_events.c.tm_create < done_before),
                sa.and_(hook_events.c.state == "given-up", hook_events.c.tm_create < given_up_before),
            )
        )
        .order_by(hook_events.c.tm_create)
        .limit(SWEEP_ROWS)
    )
    return (await connection.execute(sa.delete(hook_events).where(hook_events.c.id.in_(old)))).rowcount
