"""How far the running action has come: what lets it go on in another process instead of beginning anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4, uuid5

from ringline.calls.leg import Playing
from ringline.clock import Clock
from ringline.flows.snapshot import Snapshot


class Progress:
    """The current action's notes in the snapshot.

    An action that is run again after a restart finds ``resumed`` true and its notes as it left them. It must then
    not do twice what it has done: ids are chosen here before they are used, deadlines count from the first start.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        clock: Clock,
        store: Callable[[], None],
        *,
        resumed: bool = False,
        seed: UUID | None = None,
    ) -> None:
        """``store`` is called after every change, to have the snapshot written. ``seed`` is the activeflow's id."""
        self.resumed = resumed
        self._snapshot = snapshot
        self._clock = clock
        self._store = store
        self._seed = seed or uuid4()

    def get(self, name: str, default: Any = None) -> Any:
        """A note of this action, as JSON."""
        return self._snapshot.progress.get(name, default)

    def keep(self, **notes: Any) -> None:
        """Note something (JSON) and have it stored."""
        self._snapshot.progress.update(notes)
        self._store()

    def id(self, name: str = "id") -> UUID:
        """An id that stays the same for this action of this flow however often it is run, stored or not."""
        return uuid5(self._seed, f"{self._snapshot.executed} {name}")

    def playing(self, name: str = "play") -> Playing:
        """What a leg is to play next: noted as begun now, or, when it was before, since when it plays."""
        key = f"{name}_at"
        began = self.get(key) if self.resumed else None
        now = self._clock.now().timestamp()
        if began is None:
            self.keep(**{key: round(now, 3)})
        return Playing(self.id(name), None if began is None else max(0.0, now - began))

    def left(self, seconds: float) -> float:
        """What is left of a time that began with the action, in seconds; never negative."""
        return max(0.0, self._snapshot.began + seconds - self._clock.now().timestamp())
