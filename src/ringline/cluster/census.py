"""Counts of processes that stand beside each other: each tells what it has, and hears what the others have.

All are in one hash in Redis, a field for each process, several times a second and off the path of whatever is
counted. Who says nothing for a while is forgotten, by Redis's clock; who hears nothing for as long counts alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog
from redis.exceptions import RedisError

from ringline.cluster.tasks import ended
from ringline.storage import Live

log = structlog.get_logger(__name__)

INTERVAL_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 1.0

Counts = Mapping[str, Sequence[int]]
"""By the id of what is counted."""

# KEYS: the hash. ARGV: whose counts, for how long they are good (seconds), the counts. Without a name: only looks.
_EXCHANGE: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local keep = tonumber(ARGV[2])
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], string.format('%.3f', now) .. ' ' .. ARGV[3]) end
local others, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= ARGV[1] then
    local space = string.find(all[i + 1], ' ', 1, true)
    if now - tonumber(string.sub(all[i + 1], 1, space - 1)) > keep then
      redis.call('HDEL', KEYS[1], all[i])
    else
      others[#others + 1] = all[i]
      others[#others + 1] = string.sub(all[i + 1], space + 1)
    end
  end
end
redis.call('EXPIRE', KEYS[1], math.ceil(keep) + 60)
return others
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What one process told last. ``life``: a process that was started anew has another one."""

    life: str
    counts: Counts


class Census:
    """Tells ``mine`` to others of this ``kind``, and ``heard`` what they told, while it is started."""

    def __init__(
        self,
        live: Live,
        kind: str,
        name: str,
        mine: Callable[[], Counts],
        heard: Callable[[Mapping[str, Report]], None],
        *,
        keep: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``name``: by which others know this process, and its successor; empty: it only listens.

        ``keep``: the seconds after which what somebody told does not count any more.
        """
        self._key = f"ringline:census:{kind}"
        self._name = name
        self._mine = mine
        self._heard = heard
        self._keep = keep
        self._now = now
        self._client = live.client
        self._script = live.client.register_script(_EXCHANGE)
        self._life = uuid4().hex
        self._last: dict[str, tuple[bytes, Report]] = {}
        self._heard_at = now()
        self._well = True
        self._task: asyncio.Task[None] | None = None

    @property
    def others(self) -> int:
        """How many others there are."""
        return len(self._last)

    async def start(self) -> None:
        await self._try()
        self._task = asyncio.create_task(self._run(), name=f"census {self._key}")

    async def close(self) -> None:
        """Tell nothing more; what was told last counts until it is too old, or somebody of this name tells."""
        await ended(self._task)

    async def leave(self) -> None:
        """As ``close``, and what was told counts no more."""
        await self.close()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._client.hdel(self._key, self._name)
        except (RedisError, OSError, TimeoutError) as error:
            log.info("counts_not_withdrawn", kind=self._key, why=str(error) or type(error).__name__)

    async def exchange(self) -> None:
        """Tell and hear once. Raises ``RedisError``, ``OSError`` or ``TimeoutError``."""
        body = b"" if not self._name else self._life.encode() + b" " + orjson.dumps(self._mine())
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer: list[Any] = await self._script(keys=[self._key], args=[self._name, self._keep, body])
        self._heard_at = self._now()
        found: dict[str, tuple[bytes, Report]] = {}
        for name, raw in zip(answer[::2], answer[1::2], strict=True):
            known = self._last.get(name.decode())
            found[name.decode()] = known if known is not None and known[0] == raw else (raw, _report(raw))
        self._hear(found)

    def _hear(self, found: dict[str, tuple[bytes, Report]]) -> None:
        self._last = found
        self._heard({name: told for name, (_, told) in found.items()})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self._try()

    async def _try(self) -> None:
        try:
            await self.exchange()
        except (RedisError, OSError, TimeoutError) as error:
            if self._well:
                log.warning("counts_not_shared", kind=self._key, why=str(error) or type(error).__name__)
            self._well = False
            if self._last and self._now() - self._heard_at > self._keep:
                log.warning("counts_of_others_forgotten", kind=self._key)
                self._hear({})
        except Exception:
            # of another version, perhaps: what it counts is not known, and those that are understood still are
            log.exception("counts_unreadable", kind=self._key)
        else:
            self._well = True


def _report(raw: bytes) -> Report:
    life, _, counts = raw.partition(b" ")
    return Report(life.decode(), orjson.loads(counts))
