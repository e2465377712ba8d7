"""What is announced of records that live in memory and are written behind (``storage.behind``).

A record's steps are read off the record itself, and the ids of their events follow from it. So a successor announces
every step that a record shows, and what was stored before is not stored again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID, uuid5

import orjson
from pydantic import BaseModel

from ringline.events.models import ZERO, new_id
from ringline.events.store import ENSURE
from ringline.events.waiting import EventRow, WaitingEvents

REMEMBERED = 50_000


class Record(Protocol):
    """What can be told of."""

    @property
    def id(self) -> UUID: ...

    @property
    def customer_id(self) -> UUID: ...


R = TypeVar("R", bound=Record)
Steps = Callable[[R], Iterable[tuple[str, datetime | None]]]


class Telling(Generic[R]):
    """Announces the steps of records of one kind, and changes beside them.

    ``view`` is what ``GET`` answers. ``steps`` names what a record shows of its way, in order, with the moments; one
    without a moment has not come. ``types``: the event of a step where it is not the step's own name. ``final`` are
    steps after which a record is not kept in mind. ``updates``: whether changes without a step are told.
    """

    def __init__(
        self,
        resource: str,
        view: Callable[[R], BaseModel],
        steps: Steps[R],
        *,
        final: Iterable[str] = (),
        types: Mapping[str, str] | None = None,
        updates: bool = True,
    ) -> None:
        self._resource = resource
        self._view = view
        self._steps = steps
        self._final = frozenset(final)
        self._types = types or {}
        self._updates = updates
        self._told: dict[UUID, tuple[set[str], int]] = {}
        self._waiting = WaitingEvents()
        self.ensure = ENSURE

    def all(self, record: R) -> list[EventRow]:
        """The events of all steps that a stored record shows: to be stored with its last change (``emit_rows``)."""
        self._told.pop(record.id, None)
        events = self.due(record)
        self._told.pop(record.id, None)
        return events

    def note(self, record: R) -> None:
        """The record may have taken a step: what is to be announced waits for its row (``storage.behind``)."""
        if events := self.due(record):
            self._waiting.add(record.id, events)

    def take(self, records: Sequence[R]) -> tuple[list[EventRow], dict[UUID, int]]:
        """The events to be stored with these records, and how many there are of each."""
        for record in records:
            if events := self.updated(record):
                self._waiting.add(record.id, events)
        counts = self._waiting.counts(record.id for record in records)
        return self._waiting.of(counts), counts

    def stored(self, counts: dict[UUID, int]) -> None:
        """They are stored; others may have come meanwhile."""
        self._waiting.stored(counts)

    def drop(self, record_id: UUID) -> int:
        """Forget those of a record; how many they were."""
        return self._waiting.drop([record_id])

    def due(self, record: R) -> list[EventRow]:
        """The events of steps that were not announced yet; from then on they are taken as announced."""
        told = self._told.get(record.id, (set(), 0))[0]
        steps = [
            (name, moment, key)
            for name, moment in self._steps(record)
            if moment is not None and (key := f"{name} {moment.isoformat()}") not in told
        ]
        if not steps:
            return []
        shown, last = self._shown(record), steps[-1][0]
        events = [
            self._event(
                record, name, moment, _as_of(shown, name) if name != last else shown, uuid5(record.id, key)
            )
            for name, moment, key in steps
        ]
        if last in self._final:
            self._told.pop(record.id, None)
        else:
            self._remember(record.id, told | {key for _, _, key in steps}, shown)
        return events

    def updated(self, record: R) -> list[EventRow]:
        """The event of a record that changed without a step, where that is to be seen."""
        told, before = self._told.get(record.id, (None, 0))
        if not self._updates or told is None:
            return []
        shown = self._shown(record)
        if hash(orjson.dumps(shown)) == before:
            return []
        self._remember(record.id, told, shown)
        moment: datetime | None = getattr(record, "tm_update", None)
        return [self._event(record, "updated", moment or datetime.now().astimezone(), shown, new_id())]

    def _remember(self, record_id: UUID, told: set[str], shown: dict[str, Any]) -> None:
        self._told[record_id] = told, hash(orjson.dumps(shown))
        if len(self._told) > REMEMBERED:
            # whose steps come again then are stored once all the same
            self._told.pop(next(iter(self._told)))

    def _shown(self, record: R) -> dict[str, Any]:
        return self._view(record).model_dump(mode="json")

    def _event(
        self, record: R, name: str, moment: datetime, data: dict[str, Any], event_id: UUID
    ) -> EventRow:
        return {
            "id": event_id,
            "customer_id": record.customer_id,
            "type": f"{self._resource}_{self._types.get(name, name)}",
            "resource": self._resource,
            "resource_id": record.id,
            "activeflow_id": getattr(record, "activeflow_id", ZERO),
            "data": data,
            "tm_create": moment,
        }


def _as_of(shown: dict[str, Any], name: str) -> dict[str, Any]:
    """What was missed is told with the record as it stands, but for the status that it is about."""
    return {**shown, "status": name} if "status" in shown and name != "created" else shown
