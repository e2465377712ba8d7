"""A media library on a folder of its own, with real engines and worker processes."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from ringline.media import MediaLibrary
from ringline.settings import Settings

Open = Callable[..., Awaitable[MediaLibrary]]


@pytest.fixture(scope="session", autouse=True)
def espeak_is_installed() -> None:
    assert shutil.which("espeak-ng"), (
        "install the Debian package espeak-ng: the component tests speak with it"
    )


@pytest.fixture
async def open_library(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens libraries with the given settings changed; all are closed at the end."""
    opened: list[MediaLibrary] = []

    async def open_one(*, observer: Any = None, **changes: Any) -> MediaLibrary:
        defaults = {"media_dir": tmp_path, "speech_engines": ["espeak"]}
        defaults["fetch_allowed_networks"] = [ip_network("127.0.0.1/32")]
        library = MediaLibrary(Settings(**{**defaults, **changes}), observer=observer)
        opened.append(library)
        await library.start()
        return library

    yield open_one
    for library in opened:
        await library.close()
        await library.close()


@pytest.fixture
async def library(open_library: Open) -> MediaLibrary:
    """espeak only, files from 127.0.0.1 allowed."""
    return await open_library()


@pytest.fixture(scope="session")
async def speakers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, MediaLibrary]]:
    """One library for each engine that needs no network, kept for the session because piper loads for seconds."""
    opened = {}
    for engine in ("espeak", "piper"):
        folder = tmp_path_factory.mktemp(engine)
        opened[engine] = MediaLibrary(
            Settings.model_validate(
                {"media_dir": folder, "speech_engines": [engine], "speech_timeout_seconds": 60}
            )
        )
        await opened[engine].start()
    yield opened
    for library in opened.values():
        await library.close()
