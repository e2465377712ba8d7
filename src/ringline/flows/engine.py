"""The flow engine: a pure step function over a snapshot. It knows no telephone, no clock and no database.

``step(actions, snapshot, result)`` takes what the last action said and returns the action to run next,
``None`` at the end. The order of execution is VoIPBIN's: ``next_id`` overrides the sequence, targets are looked
up from the innermost frame outwards, an exhausted frame pops back to the action after the one that pushed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from ringline.flows.snapshot import Frame, RawAction, Snapshot

ZERO_ID: Final = "00000000-0000-0000-0000-000000000000"
START_ID: Final = "00000000-0000-0000-0000-000000000001"
FINISH_ID: Final = "00000000-0000-0000-0000-000000000002"
NEXT_ID: Final = "00000000-0000-0000-0000-000000000003"

MAX_STREAK: Final = 1000
"""Actions in a row that wait for nothing; one more and the flow is stopped (VoIPBIN's loop guard)."""
MAX_EXECUTED: Final = 50_000
"""Actions of one flow in all: an hour at one every 72 ms. What runs longer than that is no conversation."""
MAX_DEPTH: Final = 100
"""Frames on the stack; a flow that fetches itself ends here."""
MAX_FRAME_BYTES: Final = 512 * 1024
"""Of the pushed lists on the stack together, as JSON: they are stored whenever the flow takes a step."""


class FlowError(Exception):
    """The flow cannot go on. ``reason`` is a code for the activeflow's record, ``message`` a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Next:
    """Go on with the action that follows. ``waited``: the action let time pass (so it bounds a loop)."""

    waited: bool = False


@dataclass(frozen=True, slots=True)
class Jump:
    """Go on with the action that has this id."""

    target_id: str


@dataclass(frozen=True, slots=True)
class Push:
    """Run these actions first, then go on after the one that pushed them."""

    actions: list[RawAction]


@dataclass(frozen=True, slots=True)
class Finish:
    """End the flow here, whatever follows."""


Result = Next | Jump | Push | Finish
"""What an action answers when it has run."""


def step(actions: list[RawAction], snapshot: Snapshot, result: Result | None) -> RawAction | None:
    """Move on and return the action to run, ``None`` when the flow is complete.

    ``actions`` is the flow's own list; ``result`` is ``None`` on the first step. Changes the snapshot in place.
    Raises ``FlowError`` for a jump to nowhere, a loop that waits for nothing, too many actions in all, and a
    stack too deep.
    """
    if isinstance(result, Finish):
        snapshot.frames.clear()
    elif isinstance(result, Jump):
        _jump(actions, snapshot, result.target_id)
    elif isinstance(result, Push):
        _follow(actions, snapshot)
        _push(snapshot, result.actions)
    elif result is not None:
        _follow(actions, snapshot)
    action = _take(actions, snapshot)
    _count(snapshot, action, waited=isinstance(result, Next) and result.waited)
    return action


def upcoming(actions: list[RawAction], snapshot: Snapshot) -> RawAction | None:
    """The action that most likely follows the current one, for preparing its media ahead of time."""
    if snapshot.current is None or not snapshot.frames:
        return actions[0] if actions and snapshot.executed == 0 else None
    target = _next_id(snapshot.current)
    if target is not None:
        found = _find(actions, snapshot, target)
        return None if found is None else _actions_of(actions, snapshot.frames[found[0]])[found[1]]
    for depth, frame in enumerate(reversed(snapshot.frames)):
        index = frame.cursor + (1 if depth == 0 else 0)
        listed = _actions_of(actions, frame)
        if index < len(listed):
            return listed[index]
    return None


def known(actions: list[RawAction], snapshot: Snapshot, target_id: str) -> bool:
    """Whether a jump to this id is possible from where the flow stands."""
    return target_id in (START_ID, FINISH_ID, NEXT_ID) or _find(actions, snapshot, target_id) is not None


def _actions_of(base: list[RawAction], frame: Frame) -> list[RawAction]:
    return base if frame.actions is None else frame.actions


def _next_id(action: RawAction) -> str | None:
    target = action.get("next_id") or ZERO_ID
    return None if target in (ZERO_ID, NEXT_ID) else str(target)


def _follow(actions: list[RawAction], snapshot: Snapshot) -> None:
    """Move the cursor past the current action, by ``next_id`` where it has one."""
    target = _next_id(snapshot.current) if snapshot.current is not None else None
    if target is not None:
        _jump(actions, snapshot, target)
    elif snapshot.frames:
        snapshot.frames[-1].cursor += 1


def _jump(actions: list[RawAction], snapshot: Snapshot, target_id: str) -> None:
    if target_id == FINISH_ID:
        snapshot.frames.clear()
        return
    if target_id == NEXT_ID:
        if snapshot.frames:
            snapshot.frames[-1].cursor += 1
        return
    if target_id == START_ID:
        snapshot.frames[1:] = []
        snapshot.frames[0].cursor = 0
        return
    found = _find(actions, snapshot, target_id)
    if found is None:
        raise FlowError("TARGET_NOT_FOUND", f"no action has the id {target_id}")
    depth, index = found
    snapshot.frames[depth + 1 :] = []
    snapshot.frames[depth].cursor = index


def _find(actions: list[RawAction], snapshot: Snapshot, target_id: str) -> tuple[int, int] | None:
    """Frame and position of an action, from the innermost frame outwards."""
    for depth in range(len(snapshot.frames) - 1, -1, -1):
        for index, action in enumerate(_actions_of(actions, snapshot.frames[depth])):
            if action["id"] == target_id:
                return depth, index
    return None


def _push(snapshot: Snapshot, actions: list[RawAction]) -> None:
    if len(snapshot.frames) >= MAX_DEPTH:
        raise FlowError("TOO_DEEP", f"flows are nested deeper than {MAX_DEPTH}")
    size = len(orjson.dumps(actions))
    if size + sum(frame.size for frame in snapshot.frames) > MAX_FRAME_BYTES:
        raise FlowError(
            "SNAPSHOT_TOO_LARGE",
            f"the lists of actions that wait within each other have more than {MAX_FRAME_BYTES} bytes as JSON",
        )
    snapshot.frames.append(Frame(0, actions, size))


def _take(actions: list[RawAction], snapshot: Snapshot) -> RawAction | None:
    snapshot.progress = {}
    while snapshot.frames:
        frame = snapshot.frames[-1]
        listed = _actions_of(actions, frame)
        if frame.cursor < len(listed):
            snapshot.current = listed[frame.cursor]
            return snapshot.current
        snapshot.frames.pop()
    snapshot.current = None
    return None


def _count(snapshot: Snapshot, action: RawAction | None, *, waited: bool) -> None:
    snapshot.streak = 0 if waited else snapshot.streak + 1
    if action is None:
        return
    snapshot.executed += 1
    if snapshot.executed > MAX_EXECUTED:
        raise FlowError("ACTION_LIMIT", f"more than {MAX_EXECUTED} actions ran")
    if snapshot.streak > MAX_STREAK:
        raise FlowError("LOOP_LIMIT", f"{MAX_STREAK} actions ran without waiting for anything")
