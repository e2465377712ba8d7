"""What workers read and write: many rows with each statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.webhooks.deliveries.tables import webhook_deliveries

LEASE: Final = timedelta(seconds=15)
"""How long an endpoint stays with a worker of which nothing is heard."""
ATTEMPTS_KEPT: Final = 50
"""Of a delivery: the last so many are shown."""

_IDS = sa.bindparam("ids", type_=ARRAY(sa.Uuid))
_WORKER = sa.bindparam("worker", type_=sa.Uuid)
_LEASE = sa.bindparam("lease", type_=sa.Interval, value=LEASE)

_FIELDS = (
    "delivery.id, delivery.webhook_id, delivery.published, delivery.resource, delivery.resource_id,"
    " delivery.type, delivery.tries, delivery.tm_next, delivery.tm_expire, delivery.event_id,"
    " delivery.customer_id, event.sequence, event.activeflow_id, event.tm_create, event.data::text AS data"
)

_BEHIND = sa.text(
    f"""
    SELECT {_FIELDS}
    FROM unnest(CAST(:ids AS uuid[]), CAST(:cursors AS bigint[]), CAST(:rooms AS int[])) AS wanted (id, cursor, room)
    CROSS JOIN LATERAL (
        SELECT * FROM webhook_deliveries AS one
        WHERE one.webhook_id = wanted.id AND one.status = 'pending' AND one.published > wanted.cursor
        ORDER BY one.published LIMIT wanted.room
    ) AS delivery
    LEFT JOIN events AS event ON event.id = delivery.event_id
    ORDER BY delivery.published
    """  # noqa: S608 - names of our own
).bindparams(
    _IDS,
    sa.bindparam("cursors", type_=ARRAY(sa.BigInteger)),
    sa.bindparam("rooms", type_=ARRAY(sa.Integer)),
)

_LANES = sa.text(
    f"""
    SELECT {_FIELDS}
    FROM unnest(CAST(:ids AS uuid[]), CAST(:resource_ids AS uuid[])) AS wanted (id, resource_id)
    CROSS JOIN LATERAL (
        SELECT * FROM webhook_deliveries AS one
        WHERE one.webhook_id = wanted.id AND one.resource_id = wanted.resource_id AND one.status = 'pending'
        ORDER BY one.published LIMIT :room
    ) AS delivery
    LEFT JOIN events AS event ON event.id = delivery.event_id
    ORDER BY delivery.published
    """  # noqa: S608 - names of our own
).bindparams(_IDS, sa.bindparam("resource_ids", type_=ARRAY(sa.Uuid)), sa.bindparam("room", type_=sa.Integer))

# A plan is kept, and one made while there were few rows would read all of them each time.
_BY_INDEX = sa.text("SELECT set_config('enable_seqscan', 'off', true)")
# One that was given up meanwhile (its endpoint was disabled) has arrived all the same if it has, and has failed for
# its own reason if it has one; it is not tried again.
_WINS = (
    "known.status = 'pending' OR given.status = 'delivered'"
    " OR (known.status = 'failed' AND given.status = 'failed')"
)
_OUTCOMES = sa.text(
    f"""
    UPDATE webhook_deliveries AS known SET
        status = CASE WHEN {_WINS} THEN given.status ELSE known.status END,
        reason = CASE WHEN {_WINS} THEN given.reason ELSE known.reason END,
        tm_next = CASE WHEN {_WINS} THEN given.tm_next ELSE known.tm_next END,
        tries = given.tries, attempt_count = known.attempt_count + 1, tm_update = given.tm,
        attempts = CASE WHEN jsonb_array_length(known.attempts) >= {ATTEMPTS_KEPT} THEN known.attempts - 0
            ELSE known.attempts END || given.attempt
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (id uuid, status text, reason text, tries int,
        tm_next timestamptz, tm timestamptz, attempt jsonb)
    WHERE known.id = given.id
    """  # noqa: S608 - names of our own
).bindparams(sa.bindparam("rows", type_=sa.Text))

_ACQUIRE = sa.text(
    """
    INSERT INTO webhook_leases AS known (webhook_id, worker, tm_expire)
    SELECT id, :worker, now() + CAST(:lease AS interval) FROM unnest(CAST(:ids AS uuid[])) AS wanted (id) ORDER BY id
    ON CONFLICT (webhook_id) DO UPDATE SET worker = excluded.worker, tm_expire = excluded.tm_expire
        WHERE known.tm_expire < now() OR known.worker = excluded.worker
    RETURNING webhook_id
    """
).bindparams(_IDS, _WORKER, _LEASE)
_RENEW = sa.text(
    "UPDATE webhook_leases SET tm_expire = now() + CAST(:lease AS interval) WHERE worker = :worker"
    " RETURNING webhook_id"
).bindparams(_WORKER, _LEASE)
_RELEASE = sa.text(
    "DELETE FROM webhook_leases WHERE worker = :worker AND webhook_id = ANY(CAST(:ids AS uuid[]))"
).bindparams(_IDS, _WORKER)

# from one endpoint to the next by the index, however much waits for each
_WAITING = sa.text(
    """
    WITH RECURSIVE found AS (
        (SELECT webhook_id FROM webhook_deliveries WHERE status = 'pending' ORDER BY webhook_id LIMIT 1)
        UNION ALL
        SELECT (SELECT webhook_id FROM webhook_deliveries
            WHERE status = 'pending' AND webhook_id > found.webhook_id ORDER BY webhook_id LIMIT 1)
        FROM found WHERE found.webhook_id IS NOT NULL
    )
    SELECT found.webhook_id FROM found LEFT JOIN webhook_leases AS lease
        ON lease.webhook_id = found.webhook_id AND lease.tm_expire >= now()
    WHERE found.webhook_id IS NOT NULL AND lease.webhook_id IS NULL
    """
)

_ENDPOINTS = sa.text(
    "SELECT id, customer_id, uri, method, salt, former_salt, tm_former_expire, tm_failing,"
    " enabled AND tm_delete IS NULL AND uri <> '' AS usable, tm_delete IS NOT NULL AS deleted"
    " FROM webhooks WHERE id = ANY(CAST(:ids AS uuid[]))"
).bindparams(_IDS)

_GIVE_UP = sa.text(
    """
    UPDATE webhook_deliveries SET status = 'failed', reason = :reason, tm_update = now(), tm_next = NULL
    WHERE id IN (
        SELECT id FROM webhook_deliveries
        WHERE webhook_id = ANY(CAST(:ids AS uuid[])) AND status = 'pending'
            AND tm_expire < now() - CAST(:after AS interval)
            AND NOT (:unusable AND EXISTS (
                SELECT FROM webhooks AS webhook WHERE webhook.id = webhook_deliveries.webhook_id
                    AND webhook.enabled AND webhook.tm_delete IS NULL AND webhook.uri <> ''
            ))
        LIMIT :most
    )
    """
).bindparams(
    _IDS,
    sa.bindparam("after", type_=sa.Interval),
    sa.bindparam("most", type_=sa.Integer),
    sa.bindparam("unusable", type_=sa.Boolean),
)

_LOSE = sa.text(
    "UPDATE webhook_deliveries SET status = 'failed', reason = 'lost', tm_update = now(), tm_next = NULL"
    " WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'pending'"
).bindparams(_IDS)
_FAILING = sa.text(
    "UPDATE webhooks SET tm_failing = now() WHERE id = :id AND tm_failing IS NULL RETURNING tm_failing"
).bindparams(sa.bindparam("id", type_=sa.Uuid))
_WELL = sa.text("UPDATE webhooks SET tm_failing = NULL WHERE id = :id AND tm_failing IS NOT NULL").bindparams(
    sa.bindparam("id", type_=sa.Uuid)
)
_SWEEP = sa.text(
    """
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries WHERE id < CAST(:before AS uuid) AND status <> 'pending' LIMIT :most
    )
    """
).bindparams(sa.bindparam("before", type_=sa.Uuid), sa.bindparam("most", type_=sa.Integer))
_UNUSED = (
    "own.type = 'activeflow' AND own.tm_create < :before"
    " AND NOT EXISTS (SELECT FROM webhook_deliveries AS delivery WHERE delivery.webhook_id = own.id)"
)
_HOLD_OWN = sa.text(
    f"SELECT own.id FROM webhooks AS own WHERE {_UNUSED} LIMIT :most FOR UPDATE SKIP LOCKED"  # noqa: S608
)
# looked at again once they are held: whoever has published something for them meanwhile was there before
_SWEEP_OWN = sa.text(
    f"DELETE FROM webhooks AS own WHERE own.id = ANY(CAST(:ids AS uuid[])) AND {_UNUSED}"  # noqa: S608
).bindparams(_IDS)
NEVER: Final = timedelta(days=-36_500)
"""As ``after`` of ``give_up``: whatever its age."""


async def behind(
    connection: AsyncConnection, wanted: Mapping[UUID, tuple[int, int]]
) -> Sequence[sa.Row[Any]]:
    """Of each endpoint what waits behind a place, so many at most: ``{id: (cursor, room)}``."""
    given = {
        "ids": list(wanted),
        "cursors": [cursor for cursor, _ in wanted.values()],
        "rooms": [room for _, room in wanted.values()],
    }
    return (await connection.execute(_BEHIND, given)).all()


async def lanes(
    connection: AsyncConnection, wanted: Sequence[tuple[UUID, UUID]], room: int
) -> Sequence[sa.Row[Any]]:
    """What waits for these pairs of endpoint and resource, ``room`` of each at most."""
    given = {"ids": [one for one, _ in wanted], "resource_ids": [one for _, one in wanted], "room": room}
    return (await connection.execute(_LANES, given)).all()


async def outcomes(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """How attempts went, in a transaction. No two rows may be of one delivery."""
    await connection.execute(_BY_INDEX)
    await connection.execute(_OUTCOMES, {"rows": orjson.dumps(rows, default=str).decode()})


async def acquire(connection: AsyncConnection, worker: UUID, ids: Sequence[UUID]) -> set[UUID]:
    """Those endpoints that are this worker's now."""
    return set((await connection.execute(_ACQUIRE, {"worker": worker, "ids": list(ids)})).scalars())


async def renew(connection: AsyncConnection, worker: UUID) -> set[UUID]:
    """Go on having what is this worker's: all of it."""
    return set((await connection.execute(_RENEW, {"worker": worker})).scalars())


async def release(connection: AsyncConnection, worker: UUID, ids: Sequence[UUID]) -> None:
    """Give endpoints back."""
    await connection.execute(_RELEASE, {"worker": worker, "ids": list(ids)})


async def waiting(connection: AsyncConnection) -> list[UUID]:
    """Endpoints for which something waits and to which nobody sees."""
    return list((await connection.execute(_WAITING)).scalars())


async def endpoints(connection: AsyncConnection, ids: Sequence[UUID]) -> Sequence[sa.Row[Any]]:
    """What a worker needs to know of these."""
    return (await connection.execute(_ENDPOINTS, {"ids": list(ids)})).all()


async def give_up(
    connection: AsyncConnection,
    ids: Sequence[UUID],
    reason: str,
    *,
    after: timedelta,
    most: int = 5000,
    unusable: bool = False,
) -> int:
    """Give up what waits for these and should have arrived so long ago; how many there were, ``most`` at most.

    ``unusable``: only of endpoints to which nothing may be sent now.
    """
    given = {"ids": list(ids), "reason": reason, "after": after, "most": most, "unusable": unusable}
    return int((await connection.execute(_GIVE_UP, given)).rowcount)


async def lose(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Give these deliveries up: their events are no longer stored."""
    await connection.execute(_LOSE, {"ids": list(ids)})


async def failing(connection: AsyncConnection, webhook_id: UUID) -> datetime | None:
    """Remember since when nothing arrives there."""
    found: datetime | None = (await connection.execute(_FAILING, {"id": webhook_id})).scalar()
    return found


async def well(connection: AsyncConnection, webhook_id: UUID) -> None:
    """Something has arrived there."""
    await connection.execute(_WELL, {"id": webhook_id})


def under_way(event_id: sa.ColumnElement[UUID]) -> sa.ColumnElement[bool]:
    """Whether deliveries of the event are on their way: what they send is in the event."""
    table = webhook_deliveries.c
    return (
        sa.exists()
        .where(table.event_id == event_id, table.status == "pending")
        .correlate_except(webhook_deliveries)
    )


async def sweep(connection: AsyncConnection, before: datetime, most: int = 5000) -> int:
    """Delete deliveries older than that which are over; how many there were, ``most`` at most."""
    # ids begin with the time in milliseconds (UUID version 7)
    first = UUID(int=int(before.timestamp() * 1000) << 80)
    return int((await connection.execute(_SWEEP, {"before": first, "most": most})).rowcount)


async def sweep_own(connection: AsyncConnection, before: datetime, most: int = 5000) -> int:
    """Delete endpoints of flows in execution that have not been needed since, in a transaction; how many were looked
    at, ``most`` at most.
    """
    held = (await connection.execute(_HOLD_OWN, {"before": before, "most": most})).scalars().all()
    if held:
        await connection.execute(_SWEEP_OWN, {"before": before, "ids": held})
    return len(held)
