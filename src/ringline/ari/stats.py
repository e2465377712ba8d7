"""What the client counts, and the hooks by which a program exports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class Stats:
    """Counters since the client was made. Reading them costs nothing; they never go down."""

    events: int = 0
    events_dropped: int = 0
    handlers_failed: int = 0
    requests: int = 0
    requests_failed: int = 0
    requests_timed_out: int = 0
    requests_lost: int = 0
    reconnects: int = 0
    replaced: int = 0


class Observer(Protocol):
    """Hooks for metrics. They are called inline: count and return."""

    def request_done(self, method: str, resource: str, status: int, seconds: float) -> None:
        """A request ended. ``resource`` is the first part of its URI; ``status`` 0 means no answer came."""

    def event_dropped(self, event_type: str, queue: str) -> None:
        """The queue of a channel was full and a handler did not get this event."""

    def reconnected(self, application: str) -> None:
        """A socket that had been lost is back."""


class NoObserver:
    """Observes nothing."""

    def request_done(self, method: str, resource: str, status: int, seconds: float) -> None:
        """Nothing."""

    def event_dropped(self, event_type: str, queue: str) -> None:
        """Nothing."""

    def reconnected(self, application: str) -> None:
        """Nothing."""
