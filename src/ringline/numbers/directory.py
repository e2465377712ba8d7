"""All numbers in memory: which customer and flow a call to a number is for, without a query."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from ringline.numbers.available.taken import TakenNumbers
from ringline.numbers.tables import numbers
from ringline.sip import e164
from ringline.storage import Database, Mirror

_LONG_AGO = datetime.fromtimestamp(0, UTC)


class Number(NamedTuple):
    """What calls need to know of a number. There may be very many: a tuple is made soonest."""

    id: UUID
    customer_id: UUID
    number: str
    type: str
    status: str
    call_flow_id: UUID | None
    message_flow_id: UUID | None
    name: str
    tm_create: datetime = _LONG_AGO
    provider_name: str = ""


_ENDING = 6
"""Digits by which numbers are looked up that come without a country: every national number is longer."""


class NumberDirectory(Mirror[Number]):
    """All numbers that were not deleted."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, numbers, Number._make, key=attrgetter("number"), columns=Number._fields)
        self._normal: defaultdict[UUID, dict[UUID, Number]] = defaultdict(dict)
        self._oldest: dict[UUID, Number | None] = {}
        # one alone stands for itself: most endings are one number's
        self._by_ending: dict[str, Number | list[Number]] = {}
        self.virtual = TakenNumbers()
        """The virtual ones, by the nine digits behind ``+899``."""

    def by_number(self, number: str) -> Number | None:
        """The number of this E.164 text, whoever owns it."""
        return self.by_key(number)

    def by_national(self, dialled: str) -> Number | None:
        """The one number that digits without a country stand for; ``None`` where several countries' could be meant.

        A trunk prefix (the ``0`` of ``030 901820``) may lead. Virtual numbers have no national form.
        """
        known = self._by_ending.get(dialled[-_ENDING:], [])
        alike = known if isinstance(known, list) else [known]
        found = [number for number in alike if e164.is_national(number.number, dialled)]
        return found[0] if len(found) == 1 else None

    def owned(self, customer_id: UUID, number: str) -> Number | None:
        """The number of this E.164 text, if it is the customer's."""
        found = self.by_key(number)
        return found if found is not None and found.customer_id == customer_id else None

    def oldest(self, customer_id: UUID) -> Number | None:
        """The normal number that the customer has had for the longest time."""
        if customer_id not in self._oldest:
            owned = self._normal.get(customer_id, {}).values()
            self._oldest[customer_id] = min(owned, key=lambda one: (one.tm_create, one.number), default=None)
        return self._oldest[customer_id]

    def _put(self, entry: Number) -> None:
        super()._put(entry)
        if entry.type == "normal":
            self._normal[entry.customer_id][entry.id] = entry
            ending = entry.number[-_ENDING:]
            known = self._by_ending.get(ending)
            if known is None:
                self._by_ending[ending] = entry
            elif isinstance(known, list):
                known.append(entry)
            else:
                self._by_ending[ending] = [known, entry]
        elif e164.is_virtual(entry.number):
            self.virtual.add(int(entry.number.removeprefix(e164.VIRTUAL_PREFIX)))
        self._oldest.pop(entry.customer_id, None)

    def _drop(self, row_id: UUID) -> None:
        known = self.by_id(row_id)
        super()._drop(row_id)
        if known is not None:
            self._oldest.pop(known.customer_id, None)
            owned = self._normal.get(known.customer_id, {})
            owned.pop(row_id, None)
            if not owned:
                self._normal.pop(known.customer_id, None)
            if known.type == "virtual" and e164.is_virtual(known.number):
                self.virtual.discard(int(known.number.removeprefix(e164.VIRTUAL_PREFIX)))
            self._forget_ending(known)

    def _forget_ending(self, number: Number) -> None:
        ending = number.number[-_ENDING:]
        alike = self._by_ending.get(ending)
        if isinstance(alike, list):
            alike[:] = [one for one in alike if one.id != number.id]
            if alike:
                return
        elif alike is None or alike.id != number.id:
            return
        del self._by_ending[ending]
