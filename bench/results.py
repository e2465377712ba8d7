"""What was measured, and how it stands beside the goals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bench.api import MENU_ACTIONS, PROMPT_ACTIONS
from bench.asking import Asked
from bench.background import Load
from bench.caller import Outcome
from bench.delivering import Delivered
from bench.holding import Held
from bench.percentiles import Percentiles, of
from bench.placing import Placed
from bench.stored import Stored

SERVICES = ("controller", "asterisk", "kamailio", "postgres", "redis")
GOAL_RATIO = 0.70
GOAL_CPU = 1.5
GOAL_PLACE_MS = 30.0
GOAL_HELD_KB = 20.0
GOAL_ACTION_MS = 0.3

Cpu = Mapping[str, float]
"""CPU seconds by service."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One run at one rate, and what it cost."""

    outcome: Outcome
    cpu: Cpu

    def per_1000(self, service: str) -> float:
        """CPU seconds for 1000 calls."""
        return self.cpu.get(service, 0.0) / self.outcome.calls * 1000


@dataclass(slots=True)
class Way:
    """One way of handling the call."""

    key: str
    label: str
    steady: list[Probe] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    best_rate: int = 0
    settled: bool = False

    def setup(self) -> Percentiles | None:
        return of([value for probe in self.steady for value in probe.outcome.setup_ms])

    def per_1000(self, service: str) -> float:
        """CPU seconds for 1000 calls at the steady rate."""
        calls = sum(probe.outcome.calls for probe in self.steady)
        return sum(probe.cpu.get(service, 0.0) for probe in self.steady) / calls * 1000 if calls else 0.0

    def at_best(self, service: str) -> float | None:
        """CPU seconds for 1000 calls at the highest rate that worked."""
        for probe in self.probes:
            if probe.outcome.rate == self.best_rate and probe.outcome.works:
                return probe.per_1000(service)
        return None

    @property
    def calls(self) -> int:
        return sum(probe.outcome.calls for probe in (*self.steady, *self.probes))


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the verdict."""

    text: str
    limit: str
    measured: str
    met: bool | None
    """``None``: not measured."""


@dataclass(slots=True)
class Results:
    """Everything that one run found out."""

    plan: str
    began: datetime
    cores: int
    processor: str
    quiet: Load
    during: Load | None = None
    busy: str = ""
    """Why the machine was too busy to judge by."""
    forced: bool = False
    ways: dict[str, Way] = field(default_factory=dict)
    others: dict[str, Way] = field(default_factory=dict)
    """Calls of other kinds, each compared with its own yardstick."""
    phones: dict[str, Way] = field(default_factory=dict)
    """Calls that phones place, all of them through Kamailio."""
    steady_rate: int = 0
    placed: Placed | None = None
    held: Held | None = None
    asked: list[Asked] = field(default_factory=list)
    """The first is the bare handler."""
    stored: Stored | None = None
    delivered: Delivered | None = None
    ringline_calls: int = 0
    records: int = 0
    seconds: float = 0.0

    @property
    def judged(self) -> bool:
        return bool(self.ways) and (self.forced or not self.busy)

    def ratio(self, key: str = "ringline") -> float | None:
        """A way's highest rate over the dialplan's."""
        plain, way = self.ways.get("plain"), self.ways.get(key)
        if plain is None or way is None or not plain.best_rate or not way.best_rate:
            return None
        return way.best_rate / plain.best_rate

    def action_ms(self) -> float | None:
        """Controller CPU of one more action in a flow, its snapshot written: the menu against the prompt call."""
        menu, prompt = self.others.get("menu"), self.ways.get("ringline")
        if menu is None or prompt is None or not menu.steady or not prompt.steady:
            return None
        # CPU seconds for 1000 calls are milliseconds for one
        more = menu.per_1000("controller") - prompt.per_1000("controller")
        return more / (MENU_ACTIONS - PROMPT_ACTIONS)

    def edge_adds(self) -> tuple[float, float] | None:
        """Kamailio before the prompt call: milliseconds more until the answer (medians), and of its own CPU."""
        direct, edge = self.ways.get("ringline"), self.ways.get("edge")
        if direct is None or edge is None or not edge.steady:
            return None
        before, behind = direct.setup(), edge.setup()
        if before is None or behind is None:
            return None
        return behind.p50 - before.p50, edge.per_1000("kamailio")

    def goals(self) -> list[Goal]:
        plain = self.ways.get("plain")
        # of a dialplan that could do more than was tried, no share can be told
        ratio = self.ratio() if plain is not None and plain.settled else None
        way = self.ways.get("ringline")
        cpu = way.per_1000("controller") if way is not None and way.steady else None
        best = way.at_best("controller") if way is not None else None
        place = of(self.placed.to_invite_ms) if self.placed else None
        rate = self.placed.rate if self.placed else 50
        complete = self.placed is not None and not self.placed.refused and not self.placed.lost
        held = self.held
        return [
            _goal(
                "highest rate, against the plain dialplan",
                f"at least {GOAL_RATIO:.2f}",
                ratio,
                "{:.2f}",
                GOAL_RATIO,
                least=True,
            ),
            _goal(
                f"controller's CPU for 1000 calls, at {self.steady_rate} calls/s",
                f"at most {GOAL_CPU} s",
                cpu,
                "{:.2f} s" + (f" ({best:.2f} s at the highest rate)" if best is not None else ""),
                GOAL_CPU,
            ),
            _goal(
                f"`POST /v1.0/calls` to INVITE on the wire, p99 at {rate} calls/s",
                f"at most {GOAL_PLACE_MS:.0f} ms",
                place.p99 if place else None,
                "{:.1f} ms" if complete else "{:.1f} ms, calls lost",
                GOAL_PLACE_MS if complete else -1.0,
            ),
            _goal(
                f"controller's memory per held call, {held.calls if held else 0} held",
                f"under {GOAL_HELD_KB:.0f} KB",
                held.per_call_kb if held else None,
                "{:.1f} KB",
                GOAL_HELD_KB,
            ),
            _goal(
                f"controller's CPU for one more action, at {self.steady_rate} calls/s",
                f"under {GOAL_ACTION_MS} ms",
                self.action_ms(),
                "{:.2f} ms",
                GOAL_ACTION_MS,
            ),
        ]


def _goal(
    text: str, limit: str, value: float | None, style: str, bound: float, *, least: bool = False
) -> Goal:
    if value is None:
        return Goal(text, limit, "-", None)
    return Goal(text, limit, style.format(value), value >= bound if least else value <= bound)
