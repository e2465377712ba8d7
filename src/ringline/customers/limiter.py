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

    def take(self, key: Hashable, count: int = 1) -> float:
        """Take so many. Returns 0, or the seconds to wait when they are not there."""
        now = self._now()
        left = self._left(key, now)
        wait = 0.0 if left >= count else (count - left) / self._rate
        self._buckets[key] = (left if wait else left - count, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return wait

    def wait(self, key: Hashable) -> float:
        """The same without taking one."""
        left = self._left(key, self._now())
        return 0.0 if left >= 1 else (1 - left) / self._rate

    def _left(self, key: Hashable, now: float) -> float:
        left, since = self._buckets.get(key, (self._burst, now))
        return min(self._burst, left + (now - since) * self._rate)

    def forget(self, key: Hashable) -> None:
        """Give the key its full burst back."""
        self._buckets.pop(key, None)
