"""The files of recordings: Asterisk writes them into a folder that both of us see."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from ringline.media.worker import WorkerError, WorkerPool

BYTES_PER_MS = 16
"""8 kHz, 16 bits, one channel."""
HEADER_BYTES = 44
ENCODER = "ringline.media.workers.recording"
ENCODE_SECONDS = 600.0
WAITING = 1000
_PART = ".part"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file is: ``size`` in bytes, ``modified`` when Asterisk last wrote to it (UTC)."""

    size: int
    duration_ms: int
    modified: datetime


class RecordingFiles:
    """``<id>.wav`` as Asterisk records, and what is made of it. Nothing here blocks the event loop."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # a process that serves once: recordings to convert are rare, and it would keep 60 MB meanwhile
        self._encoder = WorkerPool(ENCODER, size=1, waiting=WAITING, jobs_each=1)

    async def start(self) -> None:
        """Raises ``OSError`` where the folder cannot be used."""
        await asyncio.to_thread(self.root.mkdir, parents=True, exist_ok=True)

    async def close(self) -> None:
        await self._encoder.close()

    def path(self, recording_id: UUID, kind: str) -> Path:
        return self.root / f"{recording_id}.{kind}"

    async def exists(self, recording_id: UUID, kind: str) -> bool:
        return await asyncio.to_thread(self.path(recording_id, kind).is_file)

    async def inspect(self, recording_id: UUID) -> Facts | None:
        """What Asterisk recorded; ``None`` where there is no file. Raises ``OSError``."""
        return await asyncio.to_thread(_inspect, self.path(recording_id, "wav"))

    async def convert(self, recording_id: UUID, kind: str) -> int:
        """Make ``kind`` (``mp3`` or ``ogg``) of what was recorded, in its place; the new size in bytes.

        Raises ``WorkerError`` or ``OSError``; what was recorded is there then as it was.
        """
        source, target = self.path(recording_id, "wav"), self.path(recording_id, kind)
        part = target.with_name(target.name + _PART)
        job = {"op": "encode", "source": str(source), "target": str(part), "kind": kind, "cpu_seconds": 300}
        try:
            await self._encoder.run(job, seconds=ENCODE_SECONDS)
            return await asyncio.to_thread(_replace, part, target, source)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise

    async def remove(self, recording_id: UUID) -> None:
        """Delete every file of a recording. Raises ``OSError``."""
        await asyncio.to_thread(self._remove, recording_id)

    async def free_bytes(self) -> int:
        """What the file system has left. Raises ``OSError``."""
        return (await asyncio.to_thread(shutil.disk_usage, self.root)).free

    async def left_over(self, older_than: float) -> set[UUID]:
        """Ids of files that nobody wrote to for so many seconds."""
        return await asyncio.to_thread(self._left_over, time.time() - older_than)

    def _remove(self, recording_id: UUID) -> None:
        for kind in ("wav", "mp3", "ogg"):
            for name in (f"{recording_id}.{kind}", f"{recording_id}.{kind}{_PART}"):
                (self.root / name).unlink(missing_ok=True)

    def _left_over(self, before: float) -> set[UUID]:
        found = set()
        with os.scandir(self.root) as entries:
            for entry in entries:
                with contextlib.suppress(ValueError, OSError):
                    if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < before:
                        found.add(UUID(entry.name.split(".", 1)[0]))
        return found


def _inspect(path: Path) -> Facts | None:
    """The file as it is; one whose writer died has a header that says less than there is: it is put right."""
    try:
        with path.open("r+b") as file:
            header = file.read(HEADER_BYTES)
            status = os.fstat(file.fileno())
            samples = max(status.st_size - HEADER_BYTES, 0)
            if header[36:40] == b"data" and struct.unpack_from("<I", header, 40)[0] != samples:
                file.seek(4)
                file.write(struct.pack("<I", samples + HEADER_BYTES - 8))
                file.seek(40)
                file.write(struct.pack("<I", samples))
    except FileNotFoundError:
        return None
    return Facts(status.st_size, samples // BYTES_PER_MS, datetime.fromtimestamp(status.st_mtime, UTC))


def _replace(part: Path, target: Path, source: Path) -> int:
    part.replace(target)
    source.unlink(missing_ok=True)
    return target.stat().st_size


__all__ = ["Facts", "RecordingFiles", "WorkerError"]
