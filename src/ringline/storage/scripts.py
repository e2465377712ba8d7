"""Small programs that Redis runs in one go, for what several processes count together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import structlog
from redis.exceptions import RedisError

from ringline.storage.live import Live

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 0.5
PAUSE_SECONDS = 5.0
"""How long Redis is not asked again once it gave no answer."""


class Scripts:
    """Runs Lua programs. While Redis is away it says so once, and every answer is ``None``."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._programs: dict[str, Any] = {}
        self._away_until = 0.0

    async def run(self, program: str, keys: Sequence[str], arguments: Sequence[float | str]) -> Any | None:
        """What the program returns; ``None`` while Redis gives no answer."""
        if time.monotonic() < self._away_until:
            return None
        script = self._programs.get(program)
        if script is None:
            script = self._programs[program] = self._live.client.register_script(program)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await script(keys=list(keys), args=list(arguments))
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + PAUSE_SECONDS
            log.warning("counted_in_this_process_alone", why=str(error) or type(error).__name__)
            return None
