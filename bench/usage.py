"""CPU time and memory of processes, read from ``/proc`` (proc(5))."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK_SECONDS = 1.0 / os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Machine:
    """CPU seconds of the whole machine since it started, all cores together."""

    processes: float
    """What processes used: user, nice and system."""
    interrupts: float
    """irq and softirq: on loopback, much of the network's work."""
    stolen: float
    """Taken by the hypervisor."""
    total: float

    def since(self, earlier: Machine) -> Machine:
        return Machine(
            self.processes - earlier.processes,
            self.interrupts - earlier.interrupts,
            self.stolen - earlier.stolen,
            self.total - earlier.total,
        )


def machine() -> Machine:
    """The first line of ``/proc/stat``."""
    return parse_machine((PROC / "stat").read_text().splitlines()[0])


def parse_machine(line: str) -> Machine:
    """``cpu user nice system idle iowait irq softirq steal ...`` in ticks."""
    ticks = [int(word) * TICK_SECONDS for word in line.split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = ticks
    return Machine(user + nice + system, irq + softirq, steal, sum(ticks))


def parse_stat(text: str) -> tuple[int, float]:
    """Parent's id and CPU seconds (with those of children it has waited for) from ``/proc/<pid>/stat``."""
    # the command in parentheses may itself hold spaces and parentheses
    words = text[text.rindex(")") + 2 :].split()
    return int(words[1]), sum(int(word) for word in words[11:15]) * TICK_SECONDS


class Processes:
    """A moment's look at all processes."""

    def __init__(self) -> None:
        self._cpu: dict[int, float] = {}
        self._children: dict[int, list[int]] = defaultdict(list)
        for entry in PROC.iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent, seconds = parse_stat((entry / "stat").read_text())
            except OSError:
                continue  # it ended meanwhile
            self._cpu[int(entry.name)] = seconds
            self._children[parent].append(int(entry.name))

    def parent(self, pid: int) -> int:
        """The process that started ``pid``, 0 when it is gone."""
        return next((parent for parent, children in self._children.items() if pid in children), 0)

    def tree(self, root: int) -> list[int]:
        """A process and all its descendants."""
        found, waiting = [], [root]
        while waiting:
            pid = waiting.pop()
            if pid in self._cpu:
                found.append(pid)
                waiting += self._children[pid]
        return found

    def everything(self) -> float:
        """CPU seconds of all processes there are, with what their ended children used.

        ``/proc/stat`` would tell it in one line, but counts by the tick: on a virtual machine full of short work it
        is off by as much as there is to measure.
        """
        return sum(self._cpu.values())

    def cpu(self, root: int) -> float:
        """CPU seconds used so far by a process, its descendants, and those of them that have ended."""
        return sum(self._cpu[pid] for pid in self.tree(root))


def memory_kb(pid: int) -> int:
    """Proportional set size in KiB; resident size where the kernel does not tell."""
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
        key = "Pss:"
    except OSError:
        text = (PROC / str(pid) / "status").read_text()
        key = "VmRSS:"
    for line in text.splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise OSError(f"the memory of process {pid} cannot be read")


def command(pid: int) -> str:
    """A process's command line, ``""`` when it is gone."""
    try:
        return (
            (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        )
    except OSError:
        return ""
