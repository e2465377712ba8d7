"""Announcing: what happened is stored with what changed, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.events.models import Event
from ringline.events.store import ENSURE, INSERT
from ringline.events.waiting import EventRow
from ringline.storage import bulk

_ENSURE = bulk.together(last=ENSURE)


async def emit(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Announce events in the transaction of ``connection``, of one resource in the order given.

    To be called last: until the commit, other transactions that announce something of the same resources wait.
    """
    if events:
        await bulk.run(connection, INSERT, [row(event) for event in events])


async def emit_rows(connection: AsyncConnection, rows: Sequence[EventRow]) -> None:
    """As ``emit``, for rows; those whose ids are stored already are left out."""
    if rows:
        await bulk.run(connection, _ENSURE, rows)


def row(event: Event) -> EventRow:
    """The event as ``store.INSERT`` takes it."""
    return {
        "id": event.id,
        "customer_id": event.customer_id,
        "type": event.type,
        "resource": event.resource,
        "resource_id": event.resource_id,
        "activeflow_id": event.activeflow_id,
        "data": event.data,
        "tm_create": event.tm_create,
    }
