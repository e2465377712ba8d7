"""Passwords."""

from __future__ import annotations

import asyncio
import time

import pytest

from ringline.customers.passwords import hash_password, verify_password


async def test_only_the_right_one_opens() -> None:
    stored = await hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    assert await verify_password(stored, "correct horse")
    assert not await verify_password(stored, "wrong")
    assert not await verify_password("not a hash", "wrong")
    assert not await verify_password(None, "wrong")
    assert not await verify_password("*", "*"), "nobody has chosen one yet"
    assert not await verify_password("*", "nobody has this password")
    assert await hash_password("correct horse") != stored


async def test_others_are_served_meanwhile() -> None:
    # the machine may pause once, not each time
    for _ in range(10):
        longest, each = await _longest_pause()
        if longest < max(0.05, each):
            return
    pytest.fail(f"the event loop stood still for {longest:.2f} s")


async def _longest_pause() -> tuple[float, float]:
    """How long the event loop stood still at most while passwords were verified, and how long one takes."""
    longest, running = 0.0, True

    async def beat() -> None:
        nonlocal longest
        while running:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)

    task = asyncio.create_task(beat())
    start = time.perf_counter()
    for _ in range(5):
        await verify_password(None, "x")
    each = (time.perf_counter() - start) / 5
    running = False
    await task
    return longest, each
