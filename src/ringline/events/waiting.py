"""Events that wait to be stored with the records that they are about (``calls.journal``, ``storage.behind``)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any
from uuid import UUID

EventRow = dict[str, Any]
"""An event as ``store.ENSURE`` takes it (``outbox.row``); ``data`` may be an ``orjson.Fragment``."""


class WaitingEvents:
    """Events by the id of their record, in the order in which they came.

    They are dropped only once they are stored: a writer that fails, or does not hear whether it has failed, gives the
    same ones again.
    """

    def __init__(self) -> None:
        self._rows: dict[UUID, list[tuple[int, EventRow]]] = {}
        self._numbers = count()
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def add(self, record_id: UUID, rows: Iterable[EventRow]) -> None:
        """Remember events of a record."""
        mine = self._rows.setdefault(record_id, [])
        before = len(mine)
        mine += [(next(self._numbers), row) for row in rows]
        self._total += len(mine) - before

    def of(self, record_ids: Iterable[UUID]) -> list[EventRow]:
        """The events of these records, in the order in which they came."""
        found = [numbered for record_id in record_ids for numbered in self._rows.get(record_id, ())]
        found.sort(key=_number)
        return [row for _, row in found]

    def counts(self, record_ids: Iterable[UUID]) -> dict[UUID, int]:
        """How many there are of each record that has any: what ``stored`` is told afterwards."""
        return {record_id: len(self._rows[record_id]) for record_id in record_ids if record_id in self._rows}

    def stored(self, counts: dict[UUID, int]) -> None:
        """So many of each record, the oldest, are stored; others may have come meanwhile."""
        for record_id, many in counts.items():
            rows = self._rows.get(record_id, [])
            self._total -= len(rows[:many])
            del rows[:many]
            if not rows:
                self._rows.pop(record_id, None)

    def drop(self, record_ids: Iterable[UUID]) -> int:
        """Forget all events of these records; how many they were."""
        counts = self.counts(record_ids)
        self.stored(counts)
        return sum(counts.values())


def _number(numbered: tuple[int, EventRow]) -> int:
    return numbered[0]
