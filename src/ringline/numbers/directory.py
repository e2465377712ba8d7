"""All numbers in memory: which customer and flow a call to a number is for, without a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ringline.numbers.tables import numbers
from ringline.storage import Database, Mirror


@dataclass(frozen=True, slots=True)
class Number:
    """What calls need to know of a number."""

    id: UUID
    customer_id: UUID
    number: str
    type: str
    status: str
    call_flow_id: UUID | None
    message_flow_id: UUID | None
    name: str


class NumberDirectory(Mirror[Number]):
    """All numbers that were not deleted."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, numbers, _number, key=lambda number: number.number)

    def by_number(self, number: str) -> Number | None:
        """The number of this E.164 text, whoever owns it."""
        return self.by_key(number)

    def owned(self, customer_id: UUID, number: str) -> Number | None:
        """The number of this E.164 text, if it is the customer's."""
        found = self.by_key(number)
        return found if found is not None and found.customer_id == customer_id else None


def _number(row: Any) -> Number:
    return Number(
        id=row.id,
        customer_id=row.customer_id,
        number=row.number,
        type=row.type,
        status=row.status,
        call_flow_id=row.call_flow_id,
        message_flow_id=row.message_flow_id,
        name=row.name,
    )
