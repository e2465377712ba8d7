"""Whether each part that requests depend on answers now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[str | None]]
"""Returns when the part is well (with a few words of detail, if any) and raises when it is not."""

_FRESH = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """The state of one part; ``detail`` says what is wrong, or something good to know."""

    ok: bool
    detail: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """The state of all parts."""

    parts: dict[str, Part]

    @property
    def ready(self) -> bool:
        return all(part.ok for part in self.parts.values())


class Readiness:
    """Named checks, run side by side, each with its own time limit.

    Answers are shared for half a second, so that nobody can have the parts asked at any rate they like.
    """

    def __init__(self) -> None:
        self._checks: dict[str, tuple[Check, float]] = {}
        self._lock = asyncio.Lock()
        self._last: tuple[float, Report] | None = None
        self._was: dict[str, bool] = {}

    def add(self, name: str, check: Check, *, timeout: float = 2.0) -> None:
        """Ask ``check`` for the state of ``name``; no answer within ``timeout`` seconds means not ready."""
        self._checks[name] = (check, timeout)

    async def report(self) -> Report:
        """The state of all parts, at most half a second old."""
        async with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] > _FRESH:
                parts = await asyncio.gather(*(_run(check, limit) for check, limit in self._checks.values()))
                report = Report(dict(zip(self._checks, parts, strict=True)))
                self._tell(report)
                self._last = (time.monotonic(), report)
            return self._last[1]

    def _tell(self, report: Report) -> None:
        for name, part in report.parts.items():
            if self._was.get(name, True) != part.ok:
                tell = log.info if part.ok else log.warning
                tell("part_ready" if part.ok else "part_not_ready", part=name, detail=part.detail)
            self._was[name] = part.ok


async def _run(check: Check, limit: float) -> Part:
    start = time.perf_counter()
    try:
        async with asyncio.timeout(limit):
            detail = await check() or ""
        ok = True
    except TimeoutError:
        ok, detail = False, f"no answer within {limit:g} s"
    except Exception as error:  # noqa: BLE001 - whatever a part raises means that it is not ready
        ok, detail = False, str(error) or type(error).__name__
    return Part(ok, detail, round((time.perf_counter() - start) * 1000, 1))
