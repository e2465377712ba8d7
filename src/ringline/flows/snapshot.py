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

    def kept(self, actions: list[RawAction]) -> tuple[dict[str, Any], list[list[RawAction]]]:
        """As ``as_json``, the lists of actions apart: in a frame stands the place of its list, 0 for the flow's own.

        The current action is left out where the innermost frame says which one it is.
        """
        lists = [actions]
        frames = []
        for frame in self.frames:
            if frame.actions is not None:
                lists.append(frame.actions)
            place = 0 if frame.actions is None else len(lists) - 1
            frames.append([frame.cursor, place, frame.size])
        told = self._at(lists[frames[-1][1]], frames[-1][0]) is self.current if frames else False
        return {
            **self.as_json(),
            "frames": frames,
            "current": None if told else self.current,
            "told": told,
        }, lists

    @classmethod
    def from_kept(cls, data: dict[str, Any], lists: list[list[RawAction]]) -> Snapshot:
        """The snapshot of ``kept``."""
        frames = [(cursor, lists[place] if place else None, size) for cursor, place, size in data["frames"]]
        made = cls.from_json({**data, "frames": frames})
        if data["told"]:
            inner = made.frames[-1]
            made.current = (lists[0] if inner.actions is None else inner.actions)[inner.cursor]
        return made

    @staticmethod
    def _at(listed: list[RawAction], cursor: int) -> RawAction | None:
        return listed[cursor] if 0 <= cursor < len(listed) else None
