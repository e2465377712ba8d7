"""The prompts on disk: addressed by what made them, bounded in size, the least recently used go first.

``<media_dir>/<kind>/ab/<sha256>.ulaw`` and ``.sln16``; Asterisk runs as another user and reads them.
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
PROTECTED_SECONDS = 3600.0
TOUCH_SECONDS = 60.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(slots=True)
class _Entry:
    size: int
    used: float
    touched: float


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

    @property
    def total_bytes(self) -> int:
        return self._total

    async def start(self) -> None:
        """Make the folders, remove what an earlier process left half done, learn what is there."""
        self._entries, self._lock = await asyncio.to_thread(self._open)
        self._total = sum(entry.size for entry in self._entries.values())
        await self._evict(self._limit)

    async def close(self) -> None:
        """Remove this process's temporary files."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)

    def get(self, kind: str, digest: str) -> Prompt | None:
        """The stored prompt, which is then safe from eviction for an hour; ``None`` when it is not there."""
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
        """Move ``stem``.ulaw and ``stem``.sln16 in under their key. Raises `MediaFailed` when the disk is
        full.
        """
        name = _name(kind, digest)
        try:
            size = await asyncio.to_thread(self._move_in, name, stem)
        except OSError as error:
            raise await self.failure(error) from error
        self._forget(name)
        now = self._clock()
        self._entries[name] = _Entry(size, now, now)
        self._total += size
        await self._evict(self._limit)
        prompt = self.get(kind, digest)
        if prompt is None:
            raise MediaFailed("a prompt vanished as it was stored", reason="MEDIA_STORAGE_FULL")
        return prompt

    async def failure(self, error: OSError) -> MediaFailed:
        """What to raise for ``error``; when the disk is full, room is made for the next attempt."""
        if error.errno in _FULL:
            log.error("media_storage_full", error=str(error), cached_bytes=self._total)
            await self._evict(self._total // 2)
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
                yield (
                    str(narrow.relative_to(self._root).with_suffix("")),
                    _Entry(sum(sizes), facts.st_mtime, facts.st_mtime),
                )

    def _move_in(self, name: str, stem: Path) -> int:
        target = self._root / name
        _make_folder(target.parent)
        size = 0
        # The first suffix is the one that marks a prompt as there, so it comes last.
        for suffix in reversed(SUFFIXES):
            source = f"{stem}{suffix}"
            Path(source).chmod(0o644)
            size += Path(source).stat().st_size
            Path(source).replace(f"{target}{suffix}")
        return size

    async def _evict(self, limit: int) -> None:
        if self._total <= limit:
            return
        protected_since = self._clock() - PROTECTED_SECONDS
        doomed: list[str] = []
        for name, entry in list(self._entries.items()):
            if self._total <= limit or entry.used > protected_since:
                break
            doomed.append(name)
            self._forget(name)
        await asyncio.to_thread(self._delete, doomed)
        if self._total > limit:
            log.warning("media_cache_over_limit", bytes=self._total, limit_bytes=limit)

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
