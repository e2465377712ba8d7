"""Wrong passwords, counted by all processes together: pauses that grow, for whoever guesses and for nobody else.

Three counts. Of a name from one address, which makes guessing one person's password slow; of an address, over all
names; and of a name over all addresses, which only slows: who uses a name from an address where it was right before
is not even slowed, so nobody can lock anybody out from elsewhere. Each attempt counts as a wrong one until it has
proved right, or a hundred at once would all be the first.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ringline.http.client_address import network_of
from ringline.storage.scripts import Scripts


@dataclass(frozen=True, slots=True)
class Rule:
    """After ``free`` wrong ones in a row each is followed by a pause: 5 s, 10 s, 20 s ... ``longest`` at most.

    ``keep``: after so many seconds without any they are forgotten.
    """

    free: int
    longest: float
    keep: int


FIRST_PAUSE: Final = 5.0
OF_NAME_AND_ADDRESS: Final = Rule(free=10, longest=900.0, keep=3600)
OF_ADDRESS: Final = Rule(free=50, longest=60.0, keep=900)
OF_NAME_FREE: Final = 30
OF_NAME_KEEP: Final = 900
SLOWER: Final = 0.1
SLOWEST: Final = 3.0
KNOWN_SECONDS: Final = 30 * 86_400
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """``wait``: the seconds until another attempt is looked at; else ``slow``: let it wait so long, and look."""

    wait: float = 0.0
    slow: float = 0.0


# KEYS: the pair, the address, the name, the name known at the address. ARGV: free, longest, keep of the pair and of
# the address; free and keep of the name, how much slower with each, slowest; the first pause.
_BEGIN: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local wait = 0
for i = 1, 2 do
  local pause = tonumber(redis.call('HGET', KEYS[i], 'until') or '0') - now
  if pause > wait then wait = pause end
end
if wait > 0 then return {string.format('%.3f', wait), '0'} end
for i = 1, 2 do
  local free, longest, keep = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local wrong = redis.call('HINCRBY', KEYS[i], 'wrong', 1)
  if wrong >= free then
    local pause = math.min(longest, tonumber(ARGV[11]) * 2 ^ math.min(wrong - free, 30))
    redis.call('HSET', KEYS[i], 'until', string.format('%.6f', now + pause))
  end
  redis.call('EXPIRE', KEYS[i], keep)
end
local wrong = redis.call('INCR', KEYS[3])
redis.call('EXPIRE', KEYS[3], tonumber(ARGV[8]))
local slow = 0
if wrong > tonumber(ARGV[7]) and redis.call('EXISTS', KEYS[4]) == 0 then
  slow = math.min(tonumber(ARGV[10]), (wrong - tonumber(ARGV[7])) * tonumber(ARGV[9]))
end
return {'0', string.format('%.3f', slow)}
"""
# To know that a password was wrong takes a while: pauses begin then. KEYS: the pair, the address. ARGV: free and
# longest of both, the first pause.
_WRONG: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for i = 1, 2 do
  local wrong = tonumber(redis.call('HGET', KEYS[i], 'wrong') or '0')
  local free, longest = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  if wrong >= free then
    local pause = math.min(longest, tonumber(ARGV[5]) * 2 ^ math.min(wrong - free, 30))
    redis.call('HSET', KEYS[i], 'until', string.format('%.6f', now + pause))
  end
end
return 1
"""
# The same KEYS. ARGV: whether the password was right, how long to know that, free of the address.
_TAKE_BACK: Final = """
if ARGV[1] == '1' then
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[4], '1', 'EX', tonumber(ARGV[2]))
elseif redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'wrong', -1)
  redis.call('HDEL', KEYS[1], 'until')
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  if redis.call('HINCRBY', KEYS[2], 'wrong', -1) < tonumber(ARGV[3]) then redis.call('HDEL', KEYS[2], 'until') end
end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('DECR', KEYS[3]) end
return 1
"""


class PasswordAttempts:
    """Judges attempts to log in. Without Redis, or while it is away, this process counts alone."""

    def __init__(self, scripts: Scripts | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._scripts = scripts
        self._alone = _Counts(now)

    async def begin(self, name: str, remote: str) -> Verdict:
        """An attempt; it counts as a wrong one until ``right`` or ``undone`` takes that back."""
        keys = _keys(name, remote)
        if self._scripts is not None:
            first, second = OF_NAME_AND_ADDRESS, OF_ADDRESS
            rules = (first.free, first.longest, first.keep, second.free, second.longest, second.keep)
            names = (OF_NAME_FREE, OF_NAME_KEEP, SLOWER, SLOWEST, FIRST_PAUSE)
            found: Any = await self._scripts.run(_BEGIN, keys, (*rules, *names))
            if found is not None:
                return Verdict(float(found[0]), float(found[1]))
        return self._alone.begin(keys)

    async def wrong(self, name: str, remote: str) -> None:
        """The password was wrong: the pause, if there is to be one, begins now."""
        keys = _keys(name, remote)
        if self._scripts is not None:
            first, second = OF_NAME_AND_ADDRESS, OF_ADDRESS
            rules = (first.free, first.longest, second.free, second.longest, FIRST_PAUSE)
            if await self._scripts.run(_WRONG, keys[:2], rules) is not None:
                return
        self._alone.wrong(keys)

    async def right(self, name: str, remote: str) -> None:
        """The password was right."""
        await self._take_back(name, remote, right=True)

    async def undone(self, name: str, remote: str) -> None:
        """Nobody knows whether it was: it could not be looked at."""
        await self._take_back(name, remote, right=False)

    async def _take_back(self, name: str, remote: str, *, right: bool) -> None:
        keys = _keys(name, remote)
        if self._scripts is not None:
            await self._scripts.run(_TAKE_BACK, keys, (str(int(right)), KNOWN_SECONDS, OF_ADDRESS.free))
        self._alone.take_back(keys, right=right)


class _Counts:
    """The same in memory; the ones unused longest are forgotten first."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._wrong: OrderedDict[str, tuple[int, float, float]] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def begin(self, keys: tuple[str, str, str, str]) -> Verdict:
        pair, address, name, known = keys
        now = self._now()
        wait = max(self._look(key)[1] - now for key in (pair, address))
        if wait > 0:
            return Verdict(wait=wait)
        for key, rule in ((pair, OF_NAME_AND_ADDRESS), (address, OF_ADDRESS)):
            wrong = self._look(key)[0] + 1
            self._put(key, wrong, now + _pause(rule, wrong), now + rule.keep)
        wrong = self._look(name)[0] + 1
        self._put(name, wrong, 0.0, now + OF_NAME_KEEP)
        if wrong <= OF_NAME_FREE or known in self._known:
            return Verdict()
        return Verdict(slow=min(SLOWEST, (wrong - OF_NAME_FREE) * SLOWER))

    def wrong(self, keys: tuple[str, str, str, str]) -> None:
        for key, rule in zip(keys, (OF_NAME_AND_ADDRESS, OF_ADDRESS), strict=False):
            if (wrong := self._look(key)[0]) >= rule.free:
                now = self._now()
                self._put(key, wrong, now + _pause(rule, wrong), now + rule.keep)

    def take_back(self, keys: tuple[str, str, str, str], *, right: bool) -> None:
        pair, address, name, known = keys
        if right:
            self._wrong.pop(pair, None)
            self._known[known] = None
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        for key, free in ((pair, 0), (address, OF_ADDRESS.free), (name, 0)):
            if key in self._wrong:
                wrong, until, forget = self._wrong[key]
                self._wrong[key] = (wrong - 1, until if wrong - 1 >= free > 0 else 0.0, forget)

    def _look(self, key: str) -> tuple[int, float]:
        wrong, until, forget = self._wrong.get(key, (0, 0.0, 0.0))
        return (wrong, until) if forget > self._now() else (0, 0.0)

    def _put(self, key: str, wrong: int, until: float, forget: float) -> None:
        self._wrong[key] = (wrong, until, forget)
        self._wrong.move_to_end(key)
        if len(self._wrong) > _MOST:
            self._wrong.popitem(last=False)


def _pause(rule: Rule, wrong: int) -> float:
    return min(rule.longest, FIRST_PAUSE * 2.0 ** min(wrong - rule.free, 30)) if wrong >= rule.free else 0.0


def _keys(name: str, remote: str) -> tuple[str, str, str, str]:
    # names are whatever somebody typed: of any length, and perhaps a password
    who, where = hashlib.sha256(name.encode()).hexdigest()[:32], network_of(remote)
    return (
        f"ringline:login:both:{who}:{where}",
        f"ringline:login:from:{where}",
        f"ringline:login:name:{who}",
        f"ringline:login:known:{who}:{where}",
    )
