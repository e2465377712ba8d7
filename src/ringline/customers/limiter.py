"""How often somebody may try."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Limiter:
    """A token bucket for each key: ``burst`` at once, then ``rate`` a second.

    At most ``most_keys`` are remembered; the one unused longest is forgotten first.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        most_keys: int = 10_000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._most = most_keys
        self._now = now
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable) -> float:
        """Take one. Returns 0, or the seconds to wait when there is none."""
        now = self._now()
        left, since = self._buckets.get(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        wait = 0.0 if left >= 1 else (1 - left) / self._rate
        self._buckets[key] = (left if wait else left - 1, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return wait

    def forget(self, key: Hashable) -> None:
        """Give the key its full burst back."""
        self._buckets.pop(key, None)
