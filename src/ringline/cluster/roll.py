"""Who is there: the controllers that drive an Asterisk, as they tell with their leases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from redis.exceptions import RedisError

from ringline.cluster.leases import lease_key
from ringline.cluster.tasks import ended
from ringline.storage import Live

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.25
EXPECTED_SECONDS: Final = 8.0
"""So long after it was last seen a unit is expected back: another controller takes its Asterisk over meanwhile."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One Asterisk and the controller that drives it. ``calls``: how many last there."""

    name: str
    holder: str
    epoch: int
    calls: int
    serves: bool
    """Whether it takes requests: its calls are known again."""
    takes: bool
    """Whether it takes new calls."""

    @property
    def asked_at(self) -> str:
        """The stream of requests to it."""
        return f"ringline:ask:{self.name}:{self.epoch}"


class Roll:
    """The units as they were seen a quarter of a second ago at most, while it is started."""

    def __init__(self, live: Live, names: Sequence[str]) -> None:
        self._live = live
        self.names = tuple(names)
        self._units: dict[str, Unit] = {}
        self._seen: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.heard = False
        """Whether Redis told something the last time that it was asked."""

    async def start(self) -> None:
        await self._try()
        self._task = asyncio.create_task(self._run(), name="roll")

    async def close(self) -> None:
        await ended(self._task)

    def units(self) -> list[Unit]:
        """Those that take requests."""
        return [unit for unit in self._units.values() if unit.serves]

    def unit(self, name: str) -> Unit | None:
        return self._units.get(name)

    def expected(self) -> bool:
        """Whether one that was there a moment ago is not there now, or does not take requests yet."""
        now = time.monotonic()
        return any(
            (unit := self._units.get(name)) is None or not unit.serves
            for name, seen in self._seen.items()
            if now - seen < EXPECTED_SECONDS
        )

    async def changed(self, seconds: float) -> None:
        """Return when something changed, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def read(self) -> None:
        """Look now. Raises redis-py's errors and ``OSError``."""
        pipe = self._live.client.pipeline(transaction=False)
        for name in self.names:
            pipe.hgetall(lease_key(name))
        found = await cast("Awaitable[list[dict[bytes, bytes]]]", pipe.execute())
        units = {name: _unit(name, fields) for name, fields in zip(self.names, found, strict=True) if fields}
        now = time.monotonic()
        self._seen |= dict.fromkeys(units, now)
        stood = {name: (unit.epoch, unit.serves) for name, unit in self._units.items()}
        stands = {name: (unit.epoch, unit.serves) for name, unit in units.items()}
        self._units = units
        if stood != stands:
            log.info("units_changed", units={name: units[name].holder for name in units})
            self._changed.set()
            self._changed = asyncio.Event()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._try()

    async def _try(self) -> None:
        try:
            await self.read()
        except (RedisError, OSError) as error:
            if self.heard:
                log.warning("units_unknown", error=str(error) or type(error).__name__)
            self.heard = False
        else:
            self.heard = True


def _unit(name: str, fields: dict[bytes, bytes]) -> Unit:
    def number(field: bytes) -> int:
        return int(fields.get(field, b"0"))

    return Unit(
        name=name,
        holder=fields[b"holder"].decode(),
        epoch=number(b"epoch"),
        calls=number(b"calls"),
        serves=bool(number(b"serves")),
        takes=bool(number(b"takes")),
    )


def fields_of(*, calls: int, serves: bool, takes: bool) -> dict[str, Any]:
    """What a unit tells with its lease."""
    return {"calls": calls, "serves": int(serves), "takes": int(takes)}
