"""The prompt store: what is written, what is found again, what goes when room is needed."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ringline.media import MediaFailed, Prompt
from ringline.media.store import BYTES_PER_SECOND, HANDOVER_SECONDS, PromptStore


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


async def sparse(store: PromptStore, digest: str, size: int) -> Prompt:
    """A sound file of ``size`` bytes that takes no room on the disk of whoever runs the tests."""
    with store.workspace() as stem:
        for suffix, share in ((".ulaw", size // 5), (".sln16", size // 5 * 4)):
            with Path(f"{stem}{suffix}").open("wb") as file:
                file.truncate(share)
        return await store.put("files", digest, stem)


async def test_a_prompt_is_found_again_with_its_length(tmp_path: Path) -> None:
    async with opened(tmp_path, limit=40_000) as store:
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
    async with opened(tmp_path, limit=4000, clock=clock) as store:
        for digest in ("aa", "bb", "cc", "dd"):
            await fill(store, digest)
            clock.now += 10
        clock.now += HANDOVER_SECONDS
        assert store.get("speech", "aa") is not None
        await fill(store, "ee")
        assert store.get("speech", "bb") is None
        assert not (tmp_path / "speech/bb/bb.ulaw").exists()
        assert not (tmp_path / "speech/bb/bb.sln16").exists()
        assert all(store.get("speech", digest) for digest in ("aa", "cc", "dd", "ee"))
        assert store.total_bytes == 4000


async def test_what_may_be_playing_stays_and_nothing_grows_beyond_the_reserve(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, limit=4000, clock=clock) as store:
        for digest in ("aa", "bb", "cc", "dd", "ee"):
            await fill(store, digest)
        for _ in range(3):
            with pytest.raises(MediaFailed, match="full of sounds") as caught:
                await fill(store, "ff")
            assert caught.value.reason == "MEDIA_STORAGE_FULL"
        assert store.total_bytes == 5000
        assert not list((tmp_path / "speech").rglob("ff*.*"))
        assert not list((tmp_path / "tmp").glob("*/*"))
        assert all(store.get("speech", digest) for digest in ("aa", "bb", "cc", "dd", "ee"))
        clock.now += HANDOVER_SECONDS + 1
        await fill(store, "ff")
        assert store.total_bytes == 4000
        assert store.get("speech", "ff") is not None


async def test_a_prompt_is_safe_for_as_long_as_it_plays(tmp_path: Path) -> None:
    hour = 3600 * BYTES_PER_SECOND
    clock = Clock()
    async with opened(tmp_path, limit=4 * hour, clock=clock) as store:
        for digest in ("aa", "bb", "cc", "dd"):
            await sparse(store, digest, hour)
        clock.now += 3600 + HANDOVER_SECONDS - 1
        await fill(store, "short")
        assert store.get("files", "aa") is not None
        clock.now += 2
        await sparse(store, "ee", hour)
        assert store.get("files", "aa") is not None
        assert store.get("files", "bb") is None


async def test_fifty_hour_long_files_keep_nobody_from_speaking(tmp_path: Path) -> None:
    hour = 3600 * BYTES_PER_SECOND
    limit = 2 * 1024**3
    clock = Clock()
    refused = 0
    async with opened(tmp_path, limit=limit, clock=clock) as store:
        await fill(store, "old")
        clock.now += HANDOVER_SECONDS + 1
        for number in range(50):
            try:
                await sparse(store, f"{number:02}", hour)
            except MediaFailed as failure:
                assert failure.reason == "MEDIA_STORAGE_FULL"
                refused += 1
            clock.now += 10
        assert refused == 50 - limit // hour
        assert store.total_bytes <= limit
        await fill(store, "spoken", 50 * BYTES_PER_SECOND)
        for second in range(100):
            await fill(store, f"{second:03}", 10 * BYTES_PER_SECOND)


async def test_who_is_refused_drives_nothing_else_out(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, limit=4000, clock=clock) as store:
        await fill(store, "idle", 500)
        clock.now += HANDOVER_SECONDS + 1
        for digest in ("aa", "bb", "cc"):
            await fill(store, digest)
        await fill(store, "gg", 500, kind="files")
        with pytest.raises(MediaFailed):
            await fill(store, "hh", 1000, kind="files")
        assert store.get("speech", "idle") is not None


async def test_one_prompt_takes_a_quarter_at_most(tmp_path: Path) -> None:
    async with opened(tmp_path, limit=4000) as store:
        await fill(store, "aa", 1000)
        with pytest.raises(MediaFailed, match="more than a quarter") as caught:
            await fill(store, "bb", 1005)
        assert caught.value.reason == "MEDIA_STORAGE_FULL"
        assert store.total_bytes == 1000


async def test_a_clock_that_was_put_back_protects_nothing_for_long(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, limit=4000, clock=clock) as store:
        await fill(store, "aa")
        os.utime(tmp_path / "speech/aa/aa.ulaw", (clock.now + 10**6, clock.now + 10**6))
    async with opened(tmp_path, limit=4000, clock=clock) as store:
        clock.now += HANDOVER_SECONDS + 1
        for digest in ("bb", "cc", "dd", "ee"):
            await fill(store, digest)
        assert store.get("speech", "aa") is None


async def test_use_is_remembered_across_restarts(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, limit=10_000, clock=clock) as store:
        for digest in ("aa", "bb"):
            await fill(store, digest)
            os.utime(tmp_path / f"speech/{digest}/{digest}.ulaw", (clock.now, clock.now))
            clock.now += 100
        assert store.get("speech", "aa") is not None
    clock.now += HANDOVER_SECONDS + 1000
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
        clock.now += HANDOVER_SECONDS + 1

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
