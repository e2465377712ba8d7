"""How long to wait before trying again."""

from __future__ import annotations

import random


class Backoff:
    """Exponential waiting times with jitter: ``first`` seconds, doubled each time, at most ``longest``.

    Each time is spread over its upper half, so that several clients do not come back in step.
    """

    def __init__(self, first: float = 0.1, longest: float = 3.0) -> None:
        self.first = first
        self.longest = longest
        self._attempts = 0

    def next(self) -> float:
        """Seconds to wait now."""
        ceiling: float = min(self.longest, self.first * 2 ** min(self._attempts, 30))
        self._attempts += 1
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - spreading load, not keeping secrets

    def reset(self) -> None:
        """It went well: start from the beginning next time."""
        self._attempts = 0
