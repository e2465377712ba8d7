"""The worker's side of the pipe: one JSON object a line in, one a line out, one job at a time.

Imports nothing of ringline and nothing heavy: a worker starts fast and holds none of the controller's
secrets.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

NICENESS = 5

Job = dict[str, Any]
Handler = Callable[[Job], Job]


class Refused(Exception):
    """The job's input is at fault, not the worker: answered, and the worker goes on."""


def serve(handlers: dict[str, Handler], *, prepare: Callable[[], None] | None = None) -> None:
    """Answer jobs until standard input ends, which it does when the controller is gone.

    A job is ``{"op": name, "cpu_seconds": n, ...}``; the answer has ``ok`` and either the handler's facts or
    ``error`` and ``fault`` (``input`` or ``worker``). ``prepare`` loads models before the first line is
    answered.
    """
    os.nice(max(0, NICENESS - os.nice(0)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Libraries that print must not garble the protocol.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if prepare is not None:
        prepare()
    print(json.dumps({"ok": True, "ready": True}), file=answers, flush=True)
    for line in sys.stdin.buffer:
        job = json.loads(line)
        limit_cpu(job.get("cpu_seconds"))
        print(json.dumps(_run(handlers, job)), file=answers, flush=True)


def _run(handlers: dict[str, Handler], job: Job) -> Job:
    try:
        return {"ok": True, **handlers[job["op"]](job)}
    except Refused as fault:
        return {"ok": False, "fault": "input", "error": str(fault)[:500]}
    except OSError as fault:
        return {
            "ok": False,
            "fault": "worker",
            "error": (fault.strerror or str(fault))[:500],
            "errno": fault.errno,
        }
    except Exception as fault:  # noqa: BLE001 - whatever a library throws at odd input is an answer, too
        return {"ok": False, "fault": "worker", "error": f"{type(fault).__name__}: {fault}"[:500]}


def limit(*, memory_bytes: int, file_bytes: int) -> None:
    """Bound this process's address space and the size of each file it writes, for good."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))


def limit_cpu(seconds: float | None) -> None:
    """Let this process use ``seconds`` more of CPU; the kernel ends it with SIGXCPU after that."""
    if seconds is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
