"""Addresses that ask before they have proved who they are (``ringline.http.Doors``).

``/auth`` is open to everybody at 10 requests a second of an address, which all processes count together. And who
sends many wrong access keys or tokens is slowed: what an address sends then is looked at only now and then.
Credentials that were right from that address before are not asked to wait, so others behind the same NAT notice
little; nor are those that were wrong before: who repeats one, as a program does whose key has ended, guesses nothing.

Each process judges credentials in memory. A wrong one is counted in Redis, too, behind its answer, and there it shows
when an address has sent too many to all processes together.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import structlog

from ringline.customers.limiter import Limiter
from ringline.http.client_address import network_of
from ringline.storage.scripts import Scripts

log = structlog.get_logger(__name__)

KNOCKS_PER_SECOND: Final = 10.0
KNOCKS_AT_ONCE: Final = 20
WRONG_PER_SECOND: Final = 10.0
WRONG_AT_ONCE: Final = 200
TRICKLE_PER_SECOND: Final = 5.0
TRICKLE_AT_ONCE: Final = 10
DISTRUST_SECONDS: Final = 30.0
_MOST_TELLING: Final = 64
"""Wrong ones that are being counted in Redis at a time; more are counted by each process alone."""
_MOST_SEEN: Final = 50_000
_MOST_DISTRUSTED: Final = 10_000

# KEYS: the bucket. ARGV: a second, at once.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'left', 'since')
local left = tonumber(known[1] or burst)
left = math.min(burst, left + (now - tonumber(known[2] or now)) * rate)
local wait = 0
if left < 1 then wait = (1 - left) / rate else left = left - 1 end
redis.call('HSET', KEYS[1], 'left', string.format('%.6f', left), 'since', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(burst / rate) + 1)
return string.format('%.3f', wait)
"""


class AuthDoors:
    """Counts knocks in Redis, in memory while that is away; wrong credentials in both.

    ``processes``: how many there are that look at credentials; they share what is looked at of a distrusted address.
    """

    def __init__(self, scripts: Scripts | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._scripts = scripts
        self._now = now
        self._knocks = Limiter(KNOCKS_PER_SECOND, KNOCKS_AT_ONCE, now=now)
        self._wrong = Limiter(WRONG_PER_SECOND, WRONG_AT_ONCE, now=now)
        self._trickle = Limiter(TRICKLE_PER_SECOND, TRICKLE_AT_ONCE, now=now)
        self._distrusted: OrderedDict[str, float] = OrderedDict()
        self._seen: dict[int, None] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self.processes = 1

    async def close(self) -> None:
        """Count nothing more in Redis. Idempotent."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def knock(self, remote: str) -> float:
        where = network_of(remote)
        if self._scripts is not None:
            found = await self._scripts.run(
                _TAKE, [f"ringline:knock:{where}"], (KNOCKS_PER_SECOND, KNOCKS_AT_ONCE)
            )
            if found is not None:
                return float(found)
        return self._knocks.take(where)

    def distrusted(self, remote: str, token: str) -> float:
        if not self._distrusted:
            return 0.0
        where = network_of(remote)
        until = self._distrusted.get(where)
        if until is None or hash((remote, token)) in self._seen:
            return 0.0
        if until <= self._now():
            del self._distrusted[where]
            return 0.0
        return self._trickle.take(where, min(self.processes, TRICKLE_AT_ONCE))

    def right(self, remote: str, token: str) -> None:
        self._see(remote, token)

    def wrong(self, remote: str, token: str) -> None:
        if not self._see(remote, token):
            return
        where = network_of(remote)
        if self._scripts is not None and len(self._telling) < _MOST_TELLING:
            task = asyncio.create_task(self._tell(self._scripts, where), name="wrong-credential")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        if where in self._distrusted or self._wrong.take(where):
            self._distrust(where)

    async def _tell(self, scripts: Scripts, where: str) -> None:
        found = await scripts.run(_TAKE, [f"ringline:wrong:{where}"], (WRONG_PER_SECOND, WRONG_AT_ONCE))
        if found is not None and float(found):
            self._distrust(where)

    def _distrust(self, where: str) -> None:
        if where not in self._distrusted:
            log.warning("credentials_guessed", remote=where, seconds=DISTRUST_SECONDS)
        self._distrusted[where] = self._now() + DISTRUST_SECONDS
        if len(self._distrusted) > _MOST_DISTRUSTED:
            self._distrusted.popitem(last=False)

    def _see(self, remote: str, token: str) -> bool:
        """Whether this credential comes from this address for the first time, as far as is remembered."""
        # a hash of Python's own (keyed anew in each process), so that no credential is kept
        mark = hash((remote, token))
        if mark in self._seen:
            return False
        if len(self._seen) >= _MOST_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[mark] = None
        return True
