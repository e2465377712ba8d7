"""Rows as triggers saw them become what ``GET`` shows, before anybody is told.

Most resources are announced by triggers of PostgreSQL (migration 0033): in the transaction of each change, also of
one that a script or another service makes. They know rows, not the API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
import structlog
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.events.store import events
from ringline.storage import bulk

log = structlog.get_logger(__name__)

View = Callable[[dict[str, Any]], BaseModel]
"""Makes of a row's columns (as JSON) what the API answers."""

_RENDERED = sa.text(
    "UPDATE events SET data = given.data, raw = false"
    " FROM json_populate_recordset(NULL::events, CAST(:rows0 AS json)) AS given WHERE events.id = given.id"
).bindparams(sa.bindparam("rows0", type_=sa.Text))


class Rendering:
    """``views`` by resource. What no view can show is told as the row is: nothing that happened is kept back."""

    def __init__(self, views: Mapping[str, View]) -> None:
        self._views = views

    async def render(self, connection: AsyncConnection, first: int, last: int) -> None:
        """Render the raw ones among the events that were published under these numbers."""
        statement = sa.select(events.c.id, events.c.type, events.c.resource, events.c.data).where(
            events.c.published.between(first, last), events.c.raw
        )
        rendered = [
            {"id": row.id, "data": self._shown(row.type, row.resource, row.data)}
            for row in await connection.execute(statement)
        ]
        await bulk.run(connection, _RENDERED, rendered)

    def _shown(self, name: str, resource: str, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._views[resource](row).model_dump(mode="json")
        except Exception as error:  # noqa: BLE001 - whatever it is, all other events wait behind this one
            log.error("event_not_rendered", type=name, resource_id=str(row.get("id")), error=repr(error))
            return row
