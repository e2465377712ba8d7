"""A circuit breaker: what has just failed is not tried again for a while, then by one request at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 30.0
FAILURES = 2


class Breaker:
    """Opens after ``FAILURES`` failures in a row; each failed probe doubles the pause. ``clock`` is
    monotonic.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._open_until = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES

    def admits(self) -> bool:
        """Whether to try now. Who is admitted reports `succeeded`, `failed` or `undecided`."""
        if not self.is_open:
            return True
        if self._probing or self._clock() < self._open_until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._probing = False

    def failed(self) -> None:
        probed, self._probing = self._probing, False
        self._failures += 1
        # What was under way as it opened fails, too, and is no further reason.
        if self._failures == FAILURES or probed:
            self._open_until = self._clock() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def undecided(self) -> None:
        """The try told nothing about what it tried."""
        self._probing = False
