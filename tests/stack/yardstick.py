"""How fast the machine is at the moment, measured by work that is not ours."""

from __future__ import annotations

import time

from tests.stack.containers import Containers

_WORK = "import aiohttp, asyncpg, pydantic, redis.asyncio, sqlalchemy.ext.asyncio"
REFERENCE_SECONDS = 1.3
"""The longest that this took on the machine that our goals are of (two cores of 2.5 GHz), idle but for 200 calls."""
MOST = 4.0
"""Nothing is excused beyond this, however slow the machine."""


async def slowness(containers: Containers) -> float:
    """By how much the machine is slower than the one that our goals are of: 1 where it is not, at most ``MOST``.

    A process that starts, as a controller does: the engine, the disk and the processor have their part in it. Only
    libraries are loaded: a start of ours that became slower does not make the machine a slower one.
    """
    began = time.monotonic()
    status, output = await containers.run("controller", "python", "-c", _WORK)
    assert status == 0, output
    return min(max(1.0, (time.monotonic() - began) / REFERENCE_SECONDS), MOST)
