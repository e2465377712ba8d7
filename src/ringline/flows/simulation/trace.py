"""What happened while a flow was tried, one entry for each thing, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from ringline.calls.simulated import Heard
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.engine import FlowError
from ringline.flows.snapshot import RawAction

MAX_STEPS: Final = 2000
"""Actions that a tried flow may run; a call's own limits are higher."""
MAX_ENTRIES: Final = 5000
MAX_TEXT: Final = 400


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: ``at`` in virtual seconds, ``action`` where it stands in the flow (``actions[3]``)."""

    at: float
    event: str
    action: str
    type: str
    detail: str
    text: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Tracer:
    """Listens to the runner and to the leg (``flows.runner.Observer``)."""

    def __init__(
        self,
        activeflow: Activeflow,
        elapsed: Callable[[], float],
        emit: Callable[[Entry], None] | None = None,
    ) -> None:
        self.entries: list[Entry] = []
        self.cut = False
        self._elapsed = elapsed
        self._emit = emit
        self._places = {action["id"]: index for index, action in enumerate(activeflow.actions)}
        self._executed = 0
        self._current: RawAction | None = None
        self._before: RawAction | None = None
        self._variables = dict(activeflow.snapshot.variables)
        self._flow = activeflow

    def flow_changed(self, activeflow: Activeflow) -> None:
        snapshot = activeflow.snapshot
        if activeflow.status is ActiveflowStatus.ENDED or snapshot.executed == self._executed:
            return
        self._executed = snapshot.executed
        if snapshot.executed > MAX_STEPS:
            raise FlowError("SIMULATION_LIMIT", f"a simulation ends after {MAX_STEPS} actions")
        following, self._current = self._current, snapshot.current
        if self._current is None:
            return
        if following is not None and not self._follows(following, self._current):
            self._add("goes_on", self._place(self._current), self._onwards(self._current), of=following)
        self._add("action", self._current["type"], "")

    def action_done(self, kind: str, result: str, seconds: float) -> None:
        for name, value in self._flow.snapshot.variables.items():
            if self._variables.get(name) != value:
                self._add("variable", name, f'{name} = "{value}"')
        self._variables = dict(self._flow.snapshot.variables)
        if result == "skipped":
            self._add("skipped", kind, "is skipped: there is no call")
        if result == "failed" and self._flow.snapshot.history:
            *_, reason, message = self._flow.snapshot.history[-1]
            self._add("failed", reason, f"fails: {reason}: {message}")

    def heard(self, heard: Heard) -> None:
        """Something was noted on the leg."""
        self._add(heard.what, heard.detail, _sentence(heard.what, heard.detail))

    def _follows(self, before: RawAction, after: RawAction) -> bool:
        """Whether the second stands right behind the first, so that nothing need be said."""
        first, second = self._places.get(before["id"]), self._places.get(after["id"])
        return first is not None and second == first + 1

    def _onwards(self, action: RawAction) -> str:
        place = self._place(action)
        if not place:
            return f"goes on with {action['type']}, which was fetched"
        return f"goes on at {place} ({action['type']})"

    def _place(self, action: RawAction | None) -> str:
        index = None if action is None else self._places.get(action["id"])
        return "" if index is None else f"actions[{index}]"

    def _add(self, event: str, detail: str, text: str, of: RawAction | None = None) -> None:
        if len(self.entries) >= MAX_ENTRIES:
            self.cut = True
            return
        action = of or self._current
        entry = Entry(
            round(self._elapsed(), 3),
            event,
            self._place(action),
            "" if action is None else action["type"],
            detail[:MAX_TEXT],
            text[:MAX_TEXT],
        )
        self.entries.append(entry)
        if self._emit is not None:
            self._emit(entry)


_SENTENCES: Final = {
    "stopped": "a key ends it",
    "waits": "waits {}",
    "received": "receives {}",
    "digits": "presses {}",
    "connect": "rings {}",
    "connected": "somebody answers",
    "disconnected": "the conversation is over",
    "call": "places a call to {}",
    "message_send": "texts {}",
    "request": "requests {}",
    "hangup": "hangs up ({})",
    "answer": "answers",
}
_ENDS: Final = {"remote": "the other side hangs up", "timeout": "hangs up: a call lasts no longer"}


def _sentence(what: str, detail: str) -> str:
    """What people read of a note on the leg."""
    if what in ("play", "play_behind"):
        kind, _, rest = detail.partition(":")
        said = {"speech": f'says "{rest}"', "file": f"plays {rest}"}.get(kind, "beeps")
        return f"{said} meanwhile" if what == "play_behind" else said
    if what == "hangup" and detail in _ENDS:
        return _ENDS[detail]
    shown = detail or "nothing" if what == "received" else detail
    return _SENTENCES.get(what, f"{what.replace('_', ' ')} {{}}").replace("{}", shown).strip()
