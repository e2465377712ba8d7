"""What may be done with numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from ringline.errors import NotFound
from ringline.http import page_statement, utc_now
from ringline.numbers.directory import NumberDirectory
from ringline.numbers.models import NumberFlows, NumberQuery
from ringline.numbers.tables import numbers
from ringline.storage import Database
from ringline.storage.rows import change, live, one

FlowExists = Callable[[UUID, UUID], Awaitable[bool]]
"""``(customer_id, flow_id)`` to whether the customer has this flow."""


class NumberNotFound(NotFound):
    """404: no such number."""

    default_reason = "NUMBER_NOT_FOUND"


class NumberService:
    """A customer's numbers."""

    def __init__(self, database: Database, directory: NumberDirectory, flow_exists: FlowExists) -> None:
        self._database = database
        self._directory = directory
        self._flow_exists = flow_exists

    async def page(self, customer_id: UUID, query: NumberQuery) -> list[Row[Any]]:
        statement = live(numbers, customer_id)
        for name in ("status", "type", "number"):
            if (wanted := getattr(query, name)) is not None:
                statement = statement.where(numbers.c[name] == wanted)
        async with self._database.connect() as connection:
            return list((await connection.execute(page_statement(statement, numbers, query))).all())

    async def get(self, customer_id: UUID, number_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            return _found(await one(connection, numbers, customer_id, number_id))

    async def update(self, customer_id: UUID, number_id: UUID, wanted: NumberFlows) -> Row[Any]:
        """Change what ``wanted`` names. Raises ``NumberNotFound``, and ``FLOW_NOT_FOUND`` for a flow."""
        values = wanted.model_dump(include=wanted.model_fields_set)
        for field in ("call_flow_id", "message_flow_id"):
            flow_id = values.get(field)
            if flow_id is not None and not await self._flow_exists(customer_id, flow_id):
                message = f"there is no flow {flow_id}; GET /v1.0/flows lists yours"
                raise NotFound(
                    f"`{field}`: {message}.",
                    reason="FLOW_NOT_FOUND",
                    details=[{"field": field, "message": message}],
                )
        values["tm_update"] = utc_now()
        async with self._database.begin() as connection:
            row = _found(await change(connection, numbers, customer_id, number_id, values))
        await self._directory.refresh(number_id)
        return row


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise NumberNotFound("There is no such number; GET /v1.0/numbers lists yours.")
    return row
