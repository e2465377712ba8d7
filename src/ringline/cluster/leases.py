"""Who drives which Asterisk: leases in Redis, each with an epoch that is never given twice.

A lease is a hash with a time to live. Its epoch is counted beside it: a holder whose lease ran out while nobody could
reach Redis has it back, as long as nobody else got one since. What a holder keeps in Redis stands under its epoch, so
that one who has lost the lease and does not know it yet (a frozen process) writes where nobody looks any more.
"""

from __future__ import annotations

from typing import Any, Final

from ringline.storage import Live

LEASE_SECONDS: Final = 2.0
RENEW_SECONDS: Final = 0.5

_CLAIM: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local epoch = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'epoch', epoch)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return epoch
"""
_RENEW: Final = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch then
  if epoch ~= ARGV[2] then return 0 end
elseif redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'epoch', ARGV[2], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
_RELEASE: Final = """
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def lease_key(name: str) -> str:
    """Where the lease of the Asterisk ``name`` is."""
    return f"ringline:unit:{name}"


class Leases:
    """The leases that one process (``holder``) asks for and has. Raises redis-py's errors and ``OSError``."""

    def __init__(self, live: Live, holder: str, *, seconds: float = LEASE_SECONDS) -> None:
        self._live = live
        self.holder = holder
        self._milliseconds = int(seconds * 1000)

    async def claim(self, name: str) -> int | None:
        """Take a lease that nobody has; its epoch, or nothing."""
        epoch = await self._run(_CLAIM, [lease_key(name), _epochs(name)], [self.holder, self._milliseconds])
        return int(epoch) or None

    async def renew(self, name: str, epoch: int, **state: str | int) -> bool:
        """Keep it, and tell others how its holder is; ``False``: somebody else has it."""
        given = [
            self.holder,
            str(epoch),
            self._milliseconds,
            *(one for pair in state.items() for one in pair),
        ]
        return bool(await self._run(_RENEW, [lease_key(name), _epochs(name)], given))

    async def release(self, name: str, epoch: int) -> None:
        """Give it back, so that nobody needs to wait until it runs out."""
        await self._run(_RELEASE, [lease_key(name)], [str(epoch)])

    async def _run(self, script: str, keys: list[str], values: list[Any]) -> Any:
        return await self._live.client.eval(script, len(keys), *keys, *values)


def _epochs(name: str) -> str:
    return f"ringline:epoch:{name}"
