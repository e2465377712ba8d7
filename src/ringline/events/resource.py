"""Announcing resources that are changed in plain transactions: one line where the row is changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.events.models import ZERO, Event
from ringline.events.outbox import emit

View = Callable[[Any], BaseModel]


class Told:
    """A kind of resource that is told of. ``view`` makes of a row what ``GET`` answers."""

    def __init__(self, resource: str, view: View) -> None:
        self.resource = resource
        self._view = view

    async def updated(self, connection: AsyncConnection, *rows: Any) -> None:
        """Announce rows that were changed."""
        await self.tell(connection, "updated", *rows)

    async def deleted(self, connection: AsyncConnection, *rows: Any) -> None:
        """Announce rows that were taken out of sight."""
        await self.tell(connection, "deleted", *rows)

    async def tell(self, connection: AsyncConnection, what: str, *rows: Any) -> None:
        """Announce that something (``created``, ``renewed`` ...) happened to these rows, as they are now."""
        await emit(connection, [self.event(what, row) for row in rows])

    def event(self, what: str, row: Any) -> Event:
        """The event, for who announces several kinds at once."""
        return Event(
            type=f"{self.resource}_{what}",
            customer_id=_uuid(row.customer_id),
            resource=self.resource,
            resource_id=_uuid(row.id),
            activeflow_id=_uuid(getattr(row, "activeflow_id", ZERO) or ZERO),
            data=self._view(row).model_dump(mode="json"),
            tm_create=datetime.now(UTC),
        )


def _uuid(value: Any) -> UUID:
    # asyncpg has a UUID class of its own
    return UUID(int=value.int)
