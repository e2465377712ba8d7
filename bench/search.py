"""The search for the highest rate at which (almost) no call fails: pure, so that it can be tested."""

from __future__ import annotations

from dataclasses import dataclass, field

CLIMB = 1.25
PRECISION = 1.06
MIN_RATE = 5
SECOND_CHANCES = 2


@dataclass(slots=True)
class Search:
    """Climbs or descends in steps until it has a rate that works and one that does not, then halves the gap.

    A rate that failed is tried once more where the budget allows: on a machine that others use as well, one bad
    moment must not decide.
    """

    start: int
    max_probes: int
    best: int = 0
    worst: int = 0
    """The lowest rate that failed, 0 when none has."""
    probes: int = 0
    _retry: int = 0
    _second_chances: int = field(default=SECOND_CHANCES)

    def next_rate(self) -> int | None:
        """The rate to try, ``None`` when the search is over."""
        if self.probes >= self.max_probes:
            return None
        if self._retry:
            return self._retry
        if not self.best and not self.worst:
            return max(self.start, MIN_RATE)
        if not self.worst:
            return round(self.best * CLIMB)
        if not self.best:
            lower = round(self.worst / CLIMB)
            return lower if lower >= MIN_RATE else None
        if self.worst <= self.best * PRECISION:
            return None
        middle = round((self.best * self.worst) ** 0.5)
        return middle if self.best < middle < self.worst else None

    def record(self, rate: int, *, works: bool) -> None:
        """What became of the rate that ``next_rate`` named."""
        self.probes += 1
        if works:
            self._retry = 0
            self.best = max(self.best, rate)
            if self.worst and self.worst <= rate:
                self.worst = 0
            return
        if not self._retry and self._second_chances:
            self._retry = rate
            self._second_chances -= 1
            return
        self._retry = 0
        self.worst = min(self.worst or rate, rate)

    @property
    def settled(self) -> bool:
        """Whether both sides of the answer were seen; if not, the machine can do more than ``best``."""
        return self.worst > 0
