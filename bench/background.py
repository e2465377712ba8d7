"""How busy the machine is with other things than the bench: without it no number here means anything."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench import usage

MAX_OTHERS = 0.12
"""Share of all cores that other programs may take; more and nothing is judged."""
MAX_STOLEN = 0.05


@dataclass(frozen=True, slots=True)
class Load:
    """Shares of all cores together (0 to 1) over a while, and the load averages at its end."""

    others: float
    stolen: float
    interrupts: float
    averages: tuple[float, float, float]

    def complaint(self) -> str:
        """Why this machine is too busy to judge by, ``""`` when it is not."""
        if self.others > MAX_OTHERS:
            return (
                f"other programs use {self.others:.0%} of the machine's CPU"
                f" (more than {MAX_OTHERS:.0%} spoils the measurement)"
            )
        if self.stolen > MAX_STOLEN:
            return f"the hypervisor takes {self.stolen:.0%} of the CPU (more than {MAX_STOLEN:.0%} spoils it)"
        return ""


class Watch:
    """Watches from its creation on. ``ours`` names the processes whose trees belong to the bench."""

    def __init__(self, ours: Callable[[], Iterable[int]]) -> None:
        self._ours = ours
        self._mark = self._look()

    def load(self) -> Load:
        """The load since the last call, or since the beginning."""
        before, self._mark = self._mark, self._look()
        machine = self._mark[0].since(before[0])
        others = self._mark[1] - before[1]
        total = machine.total or 1.0
        return Load(
            others=max(others, 0.0) / total,
            stolen=machine.stolen / total,
            interrupts=machine.interrupts / total,
            averages=os.getloadavg(),
        )

    def _look(self) -> tuple[usage.Machine, float]:
        processes = usage.Processes()
        ours = sum(processes.cpu(pid) for pid in self._ours())
        return usage.machine(), processes.everything() - ours


async def measure(seconds: float, ours: Callable[[], Iterable[int]]) -> Load:
    """Watch for a while and do nothing."""
    watch = Watch(ours)
    await asyncio.sleep(seconds)
    return watch.load()


def combined(loads: Iterable[tuple[float, Load]]) -> Load | None:
    """The load over several periods, each with its length in seconds; ``None`` for no time at all."""
    parts = list(loads)
    total = sum(seconds for seconds, _ in parts)
    if not total:
        return None

    def mean(name: str) -> float:
        return float(sum(seconds * getattr(load, name) for seconds, load in parts) / total)

    return Load(mean("others"), mean("stolen"), mean("interrupts"), parts[-1][1].averages)
