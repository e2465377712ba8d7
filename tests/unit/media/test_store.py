"""The prompt store: what is written, what is found again, what goes when room is needed."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ringline.media import MediaFailed, Prompt
from ringline.media.store import PROTECTED_SECONDS, PromptStore


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


Opener = Callable[..., "Awaitable[PromptStore]"]


@asynccontextmanager
async def opened(
    root: Path, *, limit: int = 10_000, clock: Clock | None = None
) -> AsyncIterator[PromptStore]:
    store = PromptStore(root, limit, clock=clock or Clock())
    await store.start()
    try:
        yield store
    finally:
        await store.close()


async def fill(store: PromptStore, digest: str, size: int = 1000, kind: str = "speech") -> Prompt:
    """A prompt of ``size`` bytes in both files together."""
    with store.workspace() as stem:
        Path(f"{stem}.ulaw").write_bytes(b"\xff" * (size // 5))
        Path(f"{stem}.sln16").write_bytes(b"\0" * (size // 5 * 4))
        return await store.put(kind, digest, stem)


async def test_a_prompt_is_found_again_with_its_length(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        assert store.get("speech", "ab12") is None
        prompt = await fill(store, "ab12", 8000)
        assert prompt == store.get("speech", "ab12")
        assert prompt.path == str(tmp_path / "speech" / "ab" / "ab12")
        assert prompt.media == f"sound:{tmp_path}/speech/ab/ab12"
        assert prompt.duration_ms == 200
        assert store.get("files", "ab12") is None
        assert store.total_bytes == 8000


async def test_asterisk_can_read_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        async with opened(tmp_path / "media") as store:
            prompt = await fill(store, "cd34")
            for suffix in (".ulaw", ".sln16"):
                assert Path(prompt.path + suffix).stat().st_mode & 0o777 == 0o644
            for folder in (tmp_path / "media", Path(prompt.path).parent, Path(prompt.path).parent.parent):
                assert folder.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


async def test_prompts_outlive_the_process_and_half_done_files_do_not(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await fill(store, "ab12")
        await fill(store, "ab13")
        await fill(store, "ab14")
    (tmp_path / "speech/ab/ab13.sln16").unlink()
    (tmp_path / "speech/ab/ab14.ulaw").write_bytes(b"")
    leftover = tmp_path / "tmp" / "deadbeef"
    leftover.mkdir()
    (leftover / "half.source").write_bytes(b"x" * 100)
    (tmp_path / "tmp" / "stray").write_bytes(b"x")
    async with opened(tmp_path) as store:
        assert store.get("speech", "ab12") is not None
        assert store.get("speech", "ab13") is None
        assert store.get("speech", "ab14") is None
        assert store.total_bytes == 1000
        assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert not list((tmp_path / "tmp").iterdir())


async def test_another_process_keeps_its_temporary_files(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with store.workspace() as stem:
            Path(f"{stem}.source").write_bytes(b"x")
            async with opened(tmp_path):
                assert Path(f"{stem}.source").exists()


async def test_a_workspace_leaves_nothing_even_when_the_work_fails(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(ValueError, match="no"), store.workspace() as stem:
            Path(f"{stem}.source").write_bytes(b"x")
            raise ValueError("no")
        assert not list(stem.parent.iterdir())


async def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, limit=3000, clock=clock) as store:
        for digest in ("aa", "bb", "cc"):
            await fill(store, digest)
            clock.now += 10
        clock.now += PROTECTED_SECONDS
        assert store.get("speech", "aa") is not None
        await fill(store, "dd")
        assert store.get("speech", "bb") is None
        assert not (tmp_path / "speech/bb/bb.ulaw").exists()
        assert not (tmp_path / "speech/bb/bb.sln16").exists()
        assert all(store.get("speech", digest) for digest in ("aa", "cc", "dd"))
        assert store.total_bytes == 3000


async def test_what_was_handed_out_within_the_hour_stays_whatever_the_limit(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, limit=1500, clock=clock) as store:
        for digest in ("aa", "bb", "cc"):
            await fill(store, digest)
        assert store.total_bytes == 3000
        clock.now += PROTECTED_SECONDS + 1
        await fill(store, "dd")
        assert store.total_bytes == 1000
        assert store.get("speech", "dd") is not None


async def test_use_is_remembered_across_restarts(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, limit=10_000, clock=clock) as store:
        for digest in ("aa", "bb"):
            await fill(store, digest)
            os.utime(tmp_path / f"speech/{digest}/{digest}.ulaw", (clock.now, clock.now))
            clock.now += 100
        assert store.get("speech", "aa") is not None
    clock.now += PROTECTED_SECONDS + 1000
    async with opened(tmp_path, limit=1000, clock=clock) as store:
        assert store.get("speech", "bb") is None
        assert store.get("speech", "aa") is not None


async def test_files_that_someone_removed_are_noticed(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        prompt = await fill(store, "aa")
        Path(prompt.path + ".sln16").unlink()
        assert store.get("speech", "aa") is None
        assert store.total_bytes == 0


async def test_storing_again_counts_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await fill(store, "aa", 1000)
        await fill(store, "aa", 2000)
        assert store.total_bytes == 2000


async def test_a_full_disk_is_a_failure_with_a_reason_and_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    async with opened(tmp_path, clock=clock) as store:
        for digest in ("aa", "bb", "cc", "dd"):
            await fill(store, digest)
        clock.now += PROTECTED_SECONDS + 1

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", full)
            with pytest.raises(MediaFailed, match="is full") as caught:
                await fill(store, "ee")
        assert caught.value.reason == "MEDIA_STORAGE_FULL"
        assert store.total_bytes == 2000
        await fill(store, "ee")


async def test_an_unusable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = PromptStore(tmp_path / "file" / "media", 1000)
    with pytest.raises(OSError):
        await store.start()
    await store.close()
