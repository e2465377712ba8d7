"""Ending tasks that talk with Redis."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 0.2


async def ended(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel these and return when they have ended.

    Again and again: within redis-py a cancellation that coincides with one of its own time limits is lost (seen with
    8.1 on Python 3.11), and a loop around it would go on for ever.
    """
    given = [task for task in tasks if task is not None]
    left = {task for task in given if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
    # how each of them ended is of no interest any more
    await asyncio.gather(*given, return_exceptions=True)
