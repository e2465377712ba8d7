"""The controllers of one process: which Asterisks it drives, and whose it takes over.

A process that drives none takes any that is free. One that drives some takes another only when that one's controller
is gone, and lets idle processes go first. Whoever has lost a lease ends itself at once: nothing else is certain to
stop it from driving what another one drives already.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog
from redis.exceptions import RedisError

from ringline.cluster import metrics
from ringline.cluster.leases import RENEW_SECONDS, Leases
from ringline.cluster.roll import Roll, fields_of
from ringline.cluster.tasks import ended

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.25
GONE_SECONDS: Final = 0.3
"""A lease must be missing for so long before somebody takes over who was not waiting for it: after a restart of Redis
its holder comes first."""
LATER_SECONDS: Final = 0.2
"""How much later one comes who drives another Asterisk already."""
FIRST_SECONDS: Final = 10.0
"""So long an Asterisk that nobody has driven yet is left to a process that drives none."""
LOST_STATUS: Final = 75


class Driver(Protocol):
    """What drives one Asterisk (``app.Controller``)."""

    @property
    def calls_lasting(self) -> int: ...

    @property
    def serving(self) -> bool: ...

    @property
    def taking(self) -> bool: ...

    @property
    def trouble(self) -> str: ...

    async def start(self) -> None: ...

    async def drain(self, grace: float) -> None: ...

    async def close(self) -> None: ...


class _Held:
    """A lease of ours and what drives its Asterisk."""

    def __init__(self, name: str, epoch: int, driver: Driver) -> None:
        self.name = name
        self.epoch = epoch
        self.driver = driver
        self.started: asyncio.Task[None] | None = None
        self.renewed = 0.0


def _end() -> None:
    os._exit(LOST_STATUS)


class Station:
    """``make`` makes the driver of an Asterisk, given its name and the epoch of its lease."""

    def __init__(
        self,
        leases: Leases,
        roll: Roll,
        names: Sequence[str],
        make: Callable[[str, int], Driver],
        *,
        end: Callable[[], None] = _end,
    ) -> None:
        self._leases = leases
        self._roll = roll
        self._names = names
        self._make = make
        self._end = end
        self._held: dict[str, _Held] = {}
        self._missing: dict[str, float] = {}
        self._known: set[str] = set()
        self._draining = False
        self._task: asyncio.Task[None] | None = None
        self._away = False

    @property
    def names(self) -> list[str]:
        """The Asterisks that this process drives."""
        return list(self._held)

    @property
    def drivers(self) -> list[Driver]:
        return [held.driver for held in self._held.values()]

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="station")

    async def drain(self, grace: float) -> None:
        """Take no new calls, nor other Asterisks; present calls have ``grace`` seconds."""
        self._draining = True
        await asyncio.gather(*(driver.drain(grace) for driver in self.drivers))

    async def close(self) -> None:
        """Stop driving; calls that last are left to others, who need not wait."""
        self._draining = True
        await asyncio.gather(*(self._leave(held) for held in list(self._held.values())))
        await ended(self._task)

    async def status(self) -> str | None:
        """For the readiness report. A process that waits to take over is ready."""
        if self._away:
            raise ConnectionError("Redis does not answer: leases are not renewed")
        for held in self._held.values():
            if held.driver.trouble:
                raise RuntimeError(f"{held.name}: {held.driver.trouble}")
        return f"drives {', '.join(self._held)}" if self._held else "stands by"

    async def _run(self) -> None:
        while True:
            try:
                await self._renew()
                if not self._draining:
                    await self._look()
                self._away = False
            except (RedisError, OSError) as error:
                # nobody else can get a lease meanwhile: what is driven is driven on
                if not self._away:
                    log.warning("leases_not_renewed", error=str(error) or type(error).__name__)
                self._away = True
                self._missing.clear()
            except Exception:
                log.exception("station_failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def _renew(self) -> None:
        now = time.monotonic()
        for held in list(self._held.values()):
            if now - held.renewed < RENEW_SECONDS - LOOK_SECONDS / 2:
                continue
            driver = held.driver
            state = fields_of(calls=driver.calls_lasting, serves=driver.serving, takes=driver.taking)
            if not await self._leases.renew(held.name, held.epoch, **state) and held.name in self._held:
                log.critical("lease_lost", asterisk=held.name, epoch=held.epoch)
                self._end()
            held.renewed = now
        metrics.units_held.set(len(self._held))

    async def _look(self) -> None:
        """Take what is free."""
        await self._roll.read()
        now = time.monotonic()
        for name in self._names:
            if name in self._held:
                continue
            if self._roll.unit(name) is not None:
                self._known.add(name)
                self._missing.pop(name, None)
                continue
            missing = now - self._missing.setdefault(name, now)
            if missing >= self._patience(name):
                await self._claim(name)

    def _patience(self, name: str) -> float:
        """How long one must be without a controller until this process takes it."""
        if name in self._known:
            return GONE_SECONDS + (LATER_SECONDS if self._held else 0.0)
        return FIRST_SECONDS if self._held else 0.0

    async def _claim(self, name: str) -> None:
        epoch = await self._leases.claim(name)
        if epoch is None:
            return
        log.info("asterisk_taken", asterisk=name, epoch=epoch)
        held = self._held[name] = _Held(name, epoch, self._make(name, epoch))
        held.renewed = time.monotonic()
        self._missing.pop(name, None)
        metrics.adoptions.inc()
        held.started = asyncio.create_task(self._start(held), name=f"unit {name}")

    async def _start(self, held: _Held) -> None:
        try:
            await held.driver.start()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - another one may have more luck, or this one later
            log.error("asterisk_not_driven", asterisk=held.name, error=repr(error))
            held.started = None
            await self._leave(held)
        else:
            # told at once: callers wait
            held.renewed = 0.0
            with contextlib.suppress(RedisError, OSError):
                await self._renew()

    async def _leave(self, held: _Held) -> None:
        await ended(held.started)
        await held.driver.close()
        if self._held.pop(held.name, None) is not None:
            # whoever takes it over now finds everything written
            with contextlib.suppress(RedisError, OSError):
                await self._leases.release(held.name, held.epoch)
