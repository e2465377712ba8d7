"""The chart beside the report: rates, set-up times, CPU."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.results import GOAL_RATIO, Results, Way

COLOURS = {"plain": "#8a8f98", "ringline": "#1f6feb", "edge": "#7aa7f0"}
PARTS = (("controller", "#1f6feb"), ("asterisk", "#8a8f98"), ("kamailio", "#e3933b"), ("postgres", "#5b9a68"))


def draw(results: Results, path: Path) -> None:
    """Write the chart as SVG."""
    # the same figures make the same file: no random ids, no date
    with mpl.rc_context(
        {"svg.hashsalt": "ringline", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(9.5, 2.7), layout="constrained")
        rates, times, cpu = figure.subplots(1, 3)
        ways = list(results.ways.values())
        _rates(rates, ways)
        _times(times, ways, results.steady_rate)
        _cpu(cpu, ways, results.steady_rate)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _labels(axes: Axes, ways: list[Way]) -> None:
    axes.set_xticks(range(len(ways)), [way.label.replace(" ", "\n", 1) for way in ways])


def _rates(axes: Axes, ways: list[Way]) -> None:
    bars = axes.bar(
        range(len(ways)), [way.best_rate for way in ways], color=[COLOURS[way.key] for way in ways], width=0.6
    )
    axes.bar_label(bars)
    plain = next((way.best_rate for way in ways if way.key == "plain"), 0)
    if plain:
        axes.axhline(plain * GOAL_RATIO, color="#c0392b", linewidth=1, linestyle="--")
        axes.annotate(
            f"goal: {GOAL_RATIO:.2f} of the dialplan",
            (2.4, plain * GOAL_RATIO),
            ha="right",
            va="bottom",
            color="#c0392b",
        )
    axes.set_title("highest rate, calls/s")
    _labels(axes, ways)


def _times(axes: Axes, ways: list[Way], rate: int) -> None:
    for place, name in enumerate(("p50", "p95", "p99")):
        values = [getattr(found, name) if (found := way.setup()) else 0.0 for way in ways]
        bars = axes.bar(
            [index + (place - 1) * 0.26 for index in range(len(ways))],
            values,
            width=0.24,
            color=[COLOURS[way.key] for way in ways],
            alpha=(1.0, 0.75, 0.5)[place],
        )
        axes.bar_label(bars, fmt="%.1f", fontsize=6)
    axes.set_title(f"INVITE to 200 at {rate}/s, ms: p50, p95, p99")
    _labels(axes, ways)


def _cpu(axes: Axes, ways: list[Way], rate: int) -> None:
    floor = [0.0] * len(ways)
    for service, colour in PARTS:
        values = [_part(way, service) for way in ways]
        axes.bar(range(len(ways)), values, bottom=floor, color=colour, width=0.6, label=service)
        floor = [low + value for low, value in zip(floor, values, strict=True)]
    axes.set_title(f"CPU seconds for 1000 calls at {rate}/s")
    axes.legend(fontsize=6, frameon=False, loc="upper left")
    _labels(axes, ways)


def _part(way: Way, service: str) -> float:
    """The dialplan's calls touch nothing but Asterisk; what the rest does meanwhile is not theirs."""
    if way.key == "plain" and service != "asterisk":
        return 0.0
    if service == "kamailio" and way.key != "edge":
        return 0.0
    return way.per_1000(service)
