"""The virtual numbers that exist, so that free ones are found without looking at each (``vendors.virtual.Taken``)."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

_FEW: Final = 32


class TakenNumbers:
    """Integers in a set and, from the first question on, in order. Changing one costs next to nothing."""

    def __init__(self) -> None:
        self._members: set[int] = set()
        self._ordered: list[int] = []
        self._added: set[int] = set()
        self._removed: set[int] = set()

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, number: object, /) -> bool:
        return number in self._members

    def add(self, number: int) -> None:
        """It exists now. Idempotent."""
        if number not in self._members:
            self._members.add(number)
            if number in self._removed:
                self._removed.discard(number)
            else:
                self._added.add(number)

    def discard(self, number: int) -> None:
        """It does not exist any more. Idempotent."""
        if number in self._members:
            self._members.discard(number)
            if number in self._added:
                self._added.discard(number)
            else:
                self._removed.add(number)

    def next_free(self, number: int, /) -> int:
        """The first from this one on that does not exist."""
        if number not in self._members:
            return number
        self._settle()
        ordered = self._ordered
        first = bisect_left(ordered, number)
        # In a run each value is its place plus a constant; behind it the difference is larger.
        length = bisect_left(
            range(len(ordered) - first), True, key=lambda step: ordered[first + step] - step > number
        )
        return number + length

    def _settle(self) -> None:
        if len(self._added) + len(self._removed) <= _FEW:
            for number in self._added:
                insort(self._ordered, number)
            for number in self._removed:
                del self._ordered[bisect_left(self._ordered, number)]
        else:
            kept = [number for number in self._ordered if number not in self._removed]
            self._ordered = sorted([*kept, *sorted(self._added)])
        self._added.clear()
        self._removed.clear()
