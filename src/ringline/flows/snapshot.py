"""Where a flow stands: all that is needed to go on with it, in another process too."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

RawAction = dict[str, Any]
"""An action as JSON: ``id``, ``next_id``, ``type``, ``option``; checked when it was posted."""

MAX_HISTORY: Final = 100
"""Actions that ran and that are remembered."""


@dataclass(slots=True)
class Frame:
    """A list of actions in execution. ``actions`` is ``None`` for the flow's own list, kept beside.

    ``size``: bytes of the list as JSON, ``0`` for the flow's own.
    """

    cursor: int = 0
    actions: list[RawAction] | None = None
    size: int = 0


@dataclass(slots=True)
class Snapshot:
    """The engine's whole state.

    ``frames`` is a stack: what ``fetch``, ``connect`` and their like push runs first. ``loops`` counts the
    jumps of each ``goto`` by its action id. ``streak`` counts actions since the flow last waited for anything.
    ``began`` is when the current action began (seconds since 1970), ``progress`` what it has noted of its work so
    far: JSON, thrown away when the next one is taken. ``history`` holds the last ``MAX_HISTORY`` actions that ran, as
    ``done`` writes them. ``counts`` are of what a flow may do only so often, by name.
    """

    frames: list[Frame] = field(default_factory=lambda: [Frame()])
    variables: dict[str, str] = field(default_factory=dict)
    loops: dict[str, int] = field(default_factory=dict)
    current: RawAction | None = None
    executed: int = 0
    streak: int = 0
    began: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    history: deque[list[Any]] = field(default_factory=lambda: deque(maxlen=MAX_HISTORY))

    def done(self, raw: RawAction, seconds: float, result: str, reason: str = "", message: str = "") -> None:
        """Note that an action ran: id, type, when it began, how long it took, result, and why it failed."""
        self.history.append(
            [raw["id"], raw["type"], round(self.began, 3), round(seconds, 3), result, reason, message[:200]]
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "frames": [[frame.cursor, frame.actions, frame.size] for frame in self.frames],
            "variables": self.variables,
            "loops": self.loops,
            "current": self.current,
            "executed": self.executed,
            "streak": self.streak,
            "began": self.began,
            "progress": self.progress,
            "history": list(self.history),
            "counts": self.counts,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Snapshot:
        return cls(
            frames=[Frame(*frame) for frame in data["frames"]],
            variables=dict(data["variables"]),
            loops=dict(data["loops"]),
            current=data["current"],
            executed=data["executed"],
            streak=data["streak"],
            began=data.get("began", 0.0),
            progress=dict(data.get("progress", {})),
            history=deque(data.get("history", ()), maxlen=MAX_HISTORY),
            counts=dict(data.get("counts", {})),
        )
