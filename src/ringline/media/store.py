"""The prompts on disk: addressed by what made them, bounded in size, the least recently used go first.

``<media_dir>/<kind>/ab/<sha256>.ulaw`` and ``.sln16``; Asterisk runs as another user and reads them. What was
handed out stays while it may be played. Beyond the limit such prompts may take another quarter of it, which
sound files do not get: what customers fetch never keeps others from speaking. Whoever wants more is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from .errors import MediaFailed
from .prompt import Prompt

log = structlog.get_logger(__name__)

SUFFIXES = (".ulaw", ".sln16")
KINDS = ("speech", "files", "tones")
HANDOVER_SECONDS = 120.0
"""How long after it was handed out a prompt may begin to play."""
BYTES_PER_SECOND = 8_000 + 2 * 16_000
"""Both files of a prompt together."""
RESERVE = 0.25
LARGEST_SHARE = 0.25
TOUCH_SECONDS = 60.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(slots=True)
class _Entry:
    size: int
    used: float
    touched: float

    @property
    def protected_until(self) -> float:
        return self.used + self.size / BYTES_PER_SECOND + HANDOVER_SECONDS


class PromptStore:
    """Prompts by key ``(kind, digest)``. ``clock`` is seconds since the epoch, because it is compared with
    mtimes.
    """

    def __init__(self, root: Path, limit_bytes: int, *, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._folder = str(root)
        self._limit = limit_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._total = 0
        self._temporary = root / "tmp" / uuid.uuid4().hex
        self._lock: int | None = None
        # Moving in and deleting take turns, so that neither touches what the other has just named.
        self._changing = asyncio.Lock()

    @property
    def total_bytes(self) -> int:
        return self._total

    async def start(self) -> None:
        """Make the folders, remove what an earlier process left half done, learn what is there."""
        self._entries, self._lock = await asyncio.to_thread(self._open)
        self._total = sum(entry.size for entry in self._entries.values())
        await self._make_room(self._limit)

    async def close(self) -> None:
        """Remove this process's temporary files."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)

    def get(self, kind: str, digest: str) -> Prompt | None:
        """The stored prompt, which then stays until it has been played; ``None`` when it is not there."""
        name = _name(kind, digest)
        entry = self._entries.get(name)
        if entry is None:
            return None
        stem = f"{self._folder}/{name}"
        try:
            narrow, wide = (os.stat(f"{stem}{suffix}").st_size for suffix in SUFFIXES)  # noqa: PTH116 - hot path
        except OSError:
            narrow = wide = 0
        if not _whole((narrow, wide)):
            self._forget(name)
            return None
        entry.used = self._clock()
        self._entries.move_to_end(name)
        if entry.used - entry.touched > TOUCH_SECONDS:
            entry.touched = entry.used
            with contextlib.suppress(OSError):
                os.utime(f"{stem}{SUFFIXES[0]}", (entry.used, entry.used))
        return Prompt(stem, round(narrow / 8))

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """A stem for temporary files on the same file system; what is left of them is removed at the end."""
        stem = self._temporary / uuid.uuid4().hex
        try:
            yield stem
        finally:
            for path in self._temporary.glob(f"{stem.name}*"):
                path.unlink(missing_ok=True)

    async def put(self, kind: str, digest: str, stem: Path) -> Prompt:
        """Take ``<stem>.ulaw`` and ``<stem>.sln16`` in under their key. Raises `MediaFailed` when there is no
        room for them, or the disk is full.
        """
        name = _name(kind, digest)
        try:
            async with self._changing:
                size = await asyncio.to_thread(_size, stem)
                await self._admit(kind, name, size)
                await asyncio.to_thread(self._move_in, name, stem)
                self._forget(name)
                now = self._clock()
                self._entries[name] = _Entry(size, now, now)
                self._total += size
        except OSError as error:
            raise await self.failure(error) from error
        prompt = self.get(kind, digest)
        if prompt is None:
            raise MediaFailed("a prompt vanished as it was stored", reason="MEDIA_STORAGE_FULL")
        return prompt

    async def failure(self, error: OSError) -> MediaFailed:
        """What to raise for ``error``; when the disk is full, room is made for the next attempt."""
        if error.errno in _FULL:
            log.error("media_storage_full", error=str(error), cached_bytes=self._total)
            async with self._changing:
                await self._make_room(self._total // 2)
        else:
            log.error("media_storage_failed", error=str(error))
        full = "is full" if error.errno in _FULL else f"cannot be written: {error.strerror}"
        return MediaFailed(f"the media storage {full}", reason="MEDIA_STORAGE_FULL")

    def _open(self) -> tuple[OrderedDict[str, _Entry], int]:
        for folder in (
            self._root,
            self._root / "tmp",
            self._temporary,
            *(self._root / kind for kind in KINDS),
        ):
            _make_folder(folder)
        lock = os.open(self._temporary, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for leftover in (self._root / "tmp").iterdir():
            if leftover != self._temporary:
                _remove_unless_locked(leftover)
        return OrderedDict(sorted(self._scan(), key=lambda item: item[1].used)), lock

    def _scan(self) -> Iterator[tuple[str, _Entry]]:
        for kind in KINDS:
            for narrow in (self._root / kind).glob(f"??/*{SUFFIXES[0]}"):
                wide = narrow.with_suffix(SUFFIXES[1])
                try:
                    facts = narrow.stat()
                    sizes = (facts.st_size, wide.stat().st_size)
                except OSError:
                    sizes = (0, 0)
                if not _whole(sizes):
                    narrow.unlink(missing_ok=True)
                    wide.unlink(missing_ok=True)
                    continue
                # A clock that was put back must not make a prompt look used in the future.
                used = min(facts.st_mtime, self._clock())
                yield str(narrow.relative_to(self._root).with_suffix("")), _Entry(sum(sizes), used, used)

    def _move_in(self, name: str, stem: Path) -> None:
        target = self._root / name
        _make_folder(target.parent)
        # The first suffix is the one that marks a prompt as there, so it comes last.
        for suffix in reversed(SUFFIXES):
            source = Path(f"{stem}{suffix}")
            source.chmod(0o644)
            source.replace(f"{target}{suffix}")

    async def _admit(self, kind: str, name: str, size: int) -> None:
        """Make room for ``size`` bytes under ``name``. Raises `MediaFailed`."""
        if size > self._limit * LARGEST_SHARE:
            raise MediaFailed(
                f"the sound lasts {size / BYTES_PER_SECOND:.0f} s, which is more than a quarter of the media "
                "storage",
                reason="MEDIA_STORAGE_FULL",
            )
        held = self._entries.get(name)
        excess = self._total + size - (held.size if held is not None else 0) - self._limit
        doomed = self._idle(excess, keep=name)
        left = excess - sum(self._entries[other].size for other in doomed)
        if left > (0 if kind == "files" else self._limit * RESERVE):
            log.warning("media_storage_refused", kind=kind, bytes=size, cached_bytes=self._total)
            raise MediaFailed(
                "the media storage is full of sounds that may be playing", reason="MEDIA_STORAGE_FULL"
            )
        await self._drop(doomed)

    async def _make_room(self, limit: int) -> None:
        await self._drop(self._idle(self._total - limit))

    def _idle(self, excess: int, keep: str = "") -> list[str]:
        """Prompts of at least ``excess`` bytes, as far as there are: those not used for the longest time that
        cannot be playing.
        """
        now = self._clock()
        found: list[str] = []
        for name, entry in self._entries.items():
            if excess <= 0:
                break
            if name != keep and entry.protected_until <= now:
                found.append(name)
                excess -= entry.size
        return found

    async def _drop(self, names: list[str]) -> None:
        if not names:
            return
        for name in names:
            self._forget(name)
        await asyncio.to_thread(self._delete, names)

    def _delete(self, names: list[str]) -> None:
        for name in names:
            for suffix in SUFFIXES:
                with contextlib.suppress(OSError):
                    Path(f"{self._root / name}{suffix}").unlink(missing_ok=True)

    def _forget(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._total -= entry.size


def _name(kind: str, digest: str) -> str:
    return f"{kind}/{digest[:2]}/{digest}"


def _size(stem: Path) -> int:
    return sum(Path(f"{stem}{suffix}").stat().st_size for suffix in SUFFIXES)


def _whole(sizes: tuple[int, int]) -> bool:
    """Whether both files hold the same sound: a crash of the machine may leave one named but not filled."""
    narrow, wide = sizes
    return narrow > 0 and abs(wide - 4 * narrow) <= 8


def _make_folder(folder: Path) -> None:
    """Readable for Asterisk's user whatever the umask; a mounted folder of another owner is taken as it
    is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):
        folder.chmod(0o755)


def _remove_unless_locked(folder: Path) -> None:
    """Another controller that is alive holds a lock on its own folder."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except NotADirectoryError:
        folder.unlink(missing_ok=True)
        return
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        log.debug("media_folder_in_use", folder=str(folder))
    finally:
        os.close(lock)
