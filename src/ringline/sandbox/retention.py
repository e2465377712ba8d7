"""Old recordings: kept for some days and up to some bytes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

INTERVAL = 600.0
YOUNG = 300.0  # seconds: a call lasts two minutes, so anything older is finished


def prune(folder: Path, *, max_age: float, max_bytes: int, now: float) -> int:
    """Remove recordings older than ``max_age`` seconds, then the oldest until ``max_bytes`` are left.

    Files younger than five minutes stay: they may still be written or just about to be read. Returns how many went.
    """
    found: list[tuple[float, int, Path]] = []
    for path in folder.glob("*.wav"):
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append((stat.st_mtime, stat.st_size, path))
    found.sort()
    total = sum(size for _, size, _ in found)
    removed = 0
    for modified, size, path in found:
        age = now - modified
        if age < YOUNG or (age <= max_age and total <= max_bytes):
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("carrier_prune_failed", path=str(path), error=str(error))
            continue
        total -= size
        removed += 1
    return removed


async def keep_pruned(folder: Path, *, max_age: float, max_bytes: int) -> None:
    """Prune now and every ten minutes, until cancelled."""
    while True:
        removed = await asyncio.to_thread(
            prune, folder, max_age=max_age, max_bytes=max_bytes, now=time.time()
        )
        if removed:
            log.info("carrier_recordings_pruned", removed=removed)
        await asyncio.sleep(INTERVAL)
