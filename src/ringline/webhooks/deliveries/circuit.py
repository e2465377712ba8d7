"""A circuit for each endpoint: where nothing arrives, little is tried."""

from __future__ import annotations

import random
from typing import Final
from uuid import UUID

FAILURES: Final = 10
"""Failures in a row that open it ..."""
RESOURCES: Final = 3
"""... if they are of so many resources: what fails with one only may be the endpoint's trouble with that one."""
FIRST_PAUSE, LAST_PAUSE = 5.0, 300.0
FEW, MANY = 4, 16
"""Requests at once: to an endpoint that has not answered well last time, and to one that has."""


class Circuit:
    """Closed: everything is sent. Open: one probe at a time, after pauses that grow to five minutes."""

    def __init__(self) -> None:
        self.failures = 0
        self._well = False
        self._failing: set[UUID] = set()
        self._probes = 0
        self.closed_until = 0.0
        """While open: when the next probe may leave (the event loop's time)."""

    @property
    def open(self) -> bool:
        return self._probes > 0

    @property
    def places(self) -> int:
        """Requests that may be under way at once."""
        if self.open:
            return 1
        return MANY if self._well else FEW

    def may_send(self, running: int, now: float) -> bool:
        """Whether one more request may leave."""
        return running < self.places and (not self.open or now >= self.closed_until)

    def probe(self, now: float) -> None:
        """Somebody expects that something arrives: the next probe need not wait."""
        self.closed_until = min(self.closed_until, now)

    def succeeded(self) -> bool:
        """Something has arrived; whether the circuit was open."""
        was_open = self.open
        self.failures = self._probes = 0
        self._well = True
        self._failing.clear()
        return was_open

    def failed(self, resource_id: UUID, now: float) -> None:
        """Something has not arrived."""
        self.failures += 1
        self._well = False
        if len(self._failing) < RESOURCES:
            self._failing.add(resource_id)
        if self.failures >= FAILURES and len(self._failing) >= RESOURCES:
            # those that were under way as it opened are no probes
            if not self.open or now >= self.closed_until:
                self._probes += 1
            pause = min(FIRST_PAUSE * 2 ** min(self._probes - 1, 10), LAST_PAUSE)
            self.closed_until = now + pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
