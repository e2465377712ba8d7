"""Where a flow stands: all that is needed to go on with it, in another process too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

RawAction = dict[str, Any]
"""An action as JSON: ``id``, ``next_id``, ``type``, ``option``; checked when it was posted."""


@dataclass(slots=True)
class Frame:
    """A list of actions in execution. ``actions`` is ``None`` for the flow's own list, kept beside."""

    cursor: int = 0
    actions: list[RawAction] | None = None


@dataclass(slots=True)
class Snapshot:
    """The engine's whole state.

    ``frames`` is a stack: what ``fetch``, ``connect`` and their like push runs first. ``loops`` counts the
    jumps of each ``goto`` by its action id. ``streak`` counts actions since the flow last waited for anything.
    ``began`` is when the current action began (seconds since 1970), ``progress`` what it has noted of its work so
    far: JSON, thrown away when the next one is taken.
    """

    frames: list[Frame] = field(default_factory=lambda: [Frame()])
    variables: dict[str, str] = field(default_factory=dict)
    loops: dict[str, int] = field(default_factory=dict)
    current: RawAction | None = None
    executed: int = 0
    streak: int = 0
    began: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "frames": [[frame.cursor, frame.actions] for frame in self.frames],
            "variables": self.variables,
            "loops": self.loops,
            "current": self.current,
            "executed": self.executed,
            "streak": self.streak,
            "began": self.began,
            "progress": self.progress,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Snapshot:
        return cls(
            frames=[Frame(cursor, actions) for cursor, actions in data["frames"]],
            variables=dict(data["variables"]),
            loops=dict(data["loops"]),
            current=data["current"],
            executed=data["executed"],
            streak=data["streak"],
            began=data.get("began", 0.0),
            progress=dict(data.get("progress", {})),
        )
