"""Keeping the recordings' disk from filling up: what is too old or too much goes, and nothing begins without room."""

from __future__ import annotations

from datetime import timedelta

import structlog

from ringline.http import utc_now
from ringline.recordings import store
from ringline.recordings.service import RecordingService
from ringline.storage import Database

log = structlog.get_logger(__name__)

BATCH = 200
MAX_BATCHES = 20
"""In one round; what is left then is done in the next one."""
LEFT_OVER_SECONDS = 86_400.0


class RecordingUpkeep:
    """``keep_days`` and ``keep_bytes`` bound what is kept (0: no bound), ``free_bytes`` is what must stay free."""

    def __init__(
        self,
        database: Database,
        recordings: RecordingService,
        *,
        keep_days: float,
        keep_bytes: int,
        free_bytes: int,
    ) -> None:
        self._database = database
        self._recordings = recordings
        self._keep_days = keep_days
        self._keep_bytes = keep_bytes
        self._free_bytes = free_bytes

    async def look(self) -> None:
        """Every few seconds: whether there is room, and whether what should go on does."""
        full = await self._recordings.files.free_bytes() < self._free_bytes
        if full != self._recordings.full:
            (log.error if full else log.info)("recordings_disk", full=full)
        self._recordings.full = full

    async def check(self) -> None:
        """Now and then: an event that was lost must not leave a recording that never ends."""
        await self._recordings.check_all()

    async def sweep(self) -> None:
        """Once in a while: delete what is kept for too long, what is too much, and files that belong to nothing."""
        if self._keep_days:
            await self._drop_old()
        if self._keep_bytes:
            await self._drop_excess()
        await self._drop_left_over()

    async def _drop_old(self) -> None:
        before = utc_now() - timedelta(days=self._keep_days)
        for _ in range(MAX_BATCHES):
            async with self._database.connect() as connection:
                found = await store.older(connection, before, BATCH)
            if not found:
                return
            await self._recordings.forget(found)
            log.info("recordings_expired", recordings=len(found), days=self._keep_days)

    async def _drop_excess(self) -> None:
        for _ in range(MAX_BATCHES):
            async with self._database.connect() as connection:
                excess = await store.total_bytes(connection) - self._keep_bytes
                if excess <= 0:
                    return
                candidates = await store.oldest(connection, BATCH)
            chosen = []
            for recording_id, size in candidates:
                if excess <= 0:
                    break
                chosen.append(recording_id)
                excess -= size
            await self._recordings.forget(chosen)
            log.warning("recordings_over_limit", recordings=len(chosen), bytes=self._keep_bytes)

    async def _drop_left_over(self) -> None:
        """A deletion may have been cut short, or a row never written."""
        files = list(await self._recordings.files.left_over(LEFT_OVER_SECONDS))
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            async with self._database.connect() as connection:
                owned = await store.known(connection, batch) | self._recordings.lasting()
            for recording_id in batch:
                if recording_id not in owned:
                    log.warning("recording_file_left_over", recording_id=str(recording_id))
                    await self._recordings.files.remove(recording_id)
