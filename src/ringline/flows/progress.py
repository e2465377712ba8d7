"""How far the running action has come: what lets it go on in another process instead of beginning anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from ringline.clock import Clock
from ringline.flows.snapshot import Snapshot


class Progress:
    """The current action's notes in the snapshot.

    An action that is run again after a restart finds ``resumed`` true and its notes as it left them. It must then
    not do twice what it has done: ids are chosen here before they are used, deadlines count from the first start.
    """

    def __init__(
        self, snapshot: Snapshot, clock: Clock, store: Callable[[], None], *, resumed: bool = False
    ) -> None:
        """``store`` is called after every change, to have the snapshot written."""
        self.resumed = resumed
        self._snapshot = snapshot
        self._clock = clock
        self._store = store

    def get(self, name: str, default: Any = None) -> Any:
        """A note of this action, as JSON."""
        return self._snapshot.progress.get(name, default)

    def keep(self, **notes: Any) -> None:
        """Note something (JSON) and have it stored."""
        self._snapshot.progress.update(notes)
        self._store()

    def id(self, name: str = "id") -> UUID:
        """An id that stays the same for this action however often it is run: chosen and stored before it is used."""
        known = self.get(name)
        if known is None:
            known = str(uuid4())
            self.keep(**{name: known})
        return UUID(known)

    def left(self, seconds: float) -> float:
        """What is left of a time that began with the action, in seconds; never negative."""
        return max(0.0, self._snapshot.began + seconds - self._clock.now().timestamp())

    @property
    def elapsed(self) -> float:
        """Seconds since the action began, the time without a controller included."""
        return max(0.0, self._clock.now().timestamp() - self._snapshot.began)
