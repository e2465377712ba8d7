"""Sound files from URLs: what is decoded, what is refused, what is remembered."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import time
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import structlog
from aiohttp import web
from scipy.signal import chirp

from ringline.media import MediaFailed, MediaLibrary
from ringline.media.worker import WorkerPool
from ringline.settings import Settings

from .conftest import Open
from .listening import level, likeness, narrow, wide

SECONDS = 2.0


def sweep(rate: int, *, low: float = 300, high: float = 3000, loud: float = 0.5) -> np.ndarray[Any, Any]:
    time_axis = np.arange(int(rate * SECONDS)) / rate
    return loud * chirp(time_axis, low, SECONDS, high)


def encoded(container: str, subtype: str, rate: int = 44_100, channels: int = 1, loud: float = 0.5) -> bytes:
    buffer = io.BytesIO()
    sound = np.repeat(sweep(rate, loud=loud)[:, None], channels, axis=1)
    soundfile.write(buffer, sound, rate, format=container, subtype=subtype)
    return buffer.getvalue()


@pytest.fixture(scope="session")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MediaLibrary]:
    """One without engines for all tests of this module: no test reads what another one left."""
    settings = Settings(
        media_dir=tmp_path_factory.mktemp("files"),
        speech_engines=[],
        fetch_allowed_networks=[ip_network("127.0.0.1/32")],
    )
    shared = MediaLibrary(settings)
    await shared.start()
    yield shared
    await shared.close()


class Site:
    """Serves what a test puts in ``files``; counts what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.requests: list[web.Request] = []
        self.sent = 0
        self.delay = 0.0
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        await asyncio.sleep(self.delay)
        name = request.path.strip("/")
        special = getattr(self, f"send_{name}", None)
        if special is not None:
            return await special(request)
        if name not in self.files:
            return web.Response(status=404)
        if self.headers.get("ETag") and request.headers.get("If-None-Match") == self.headers["ETag"]:
            return web.Response(status=304, headers=self.headers)
        return web.Response(body=self.files[name], headers=self.headers)

    async def pour(
        self, request: web.Request, block: bytes, pause: float, length: int | None
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = length
        if length is None:
            response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            while True:
                await response.write(block)
                self.sent += len(block)
                await asyncio.sleep(pause)
        except ConnectionError:
            return response

    async def send_gigabyte(self, request: web.Request) -> web.StreamResponse:
        return await self.pour(request, bytes(65_536), 0, 10**9)

    async def send_endless(self, request: web.Request) -> web.StreamResponse:
        return await self.pour(request, bytes(65_536), 0, None)

    async def send_drip(self, request: web.Request) -> web.StreamResponse:
        return await self.pour(request, b"R", 0.05, 1_000_000)

    async def send_silent(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def send_private(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.2:1/x.wav")

    async def send_metadata(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")

    async def send_moved(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPMovedPermanently("/good.wav")

    async def send_broken(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n")
        request.transport.close()
        return web.Response()

    async def send_short(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100_000
        await response.prepare(request)
        await response.write(bytes(1000))
        assert request.transport is not None
        request.transport.close()
        return response


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    application = web.Application()
    application.router.add_get("/{name}", found.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


async def refused(library: MediaLibrary, url: str) -> MediaFailed:
    with pytest.raises(MediaFailed) as caught:
        await library.file(url)
    assert len(caught.value.message) < 700
    return caught.value


@pytest.mark.parametrize(
    ("container", "subtype", "rate", "channels"),
    [
        ("WAV", "PCM_16", 44_100, 2),
        ("WAV", "PCM_16", 8_000, 1),
        ("WAV", "PCM_24", 48_000, 1),
        ("WAV", "FLOAT", 16_000, 1),
        ("WAV", "ULAW", 8_000, 1),
        ("WAV", "ALAW", 8_000, 1),
        ("WAVEX", "PCM_16", 22_050, 6),
        ("MP3", "MPEG_LAYER_III", 44_100, 2),
        ("MP3", "MPEG_LAYER_III", 22_050, 1),
        ("OGG", "VORBIS", 44_100, 2),
        ("OGG", "OPUS", 48_000, 1),
        ("FLAC", "PCM_16", 96_000, 2),
    ],
)
async def test_sounds_arrive_as_they_were(
    library: MediaLibrary, site: Site, container: str, subtype: str, rate: int, channels: int
) -> None:
    site.files["sound"] = encoded(container, subtype, rate, channels)
    prompt = await library.file(f"{site.url}/sound")
    assert prompt.duration_ms == pytest.approx(SECONDS * 1000, abs=80)
    assert likeness(wide(prompt), sweep(16_000)) > 0.99
    assert likeness(narrow(prompt), sweep(8_000)) > 0.99
    assert level(wide(prompt)) == pytest.approx(level(sweep(16_000)), abs=0.5)
    for suffix in (".ulaw", ".sln16"):
        assert Path(prompt.path + suffix).stat().st_mode & 0o777 == 0o644


async def test_a_sound_at_full_scale_is_turned_down_and_not_clipped(
    library: MediaLibrary, site: Site
) -> None:
    square = np.sign(np.sin(2 * np.pi * 300 * np.arange(44_100) / 44_100))
    buffer = io.BytesIO()
    soundfile.write(buffer, square, 44_100, format="WAV", subtype="FLOAT")
    site.files["loud"] = buffer.getvalue()
    prompt = await library.file(f"{site.url}/loud")
    for sound in (wide(prompt), narrow(prompt)):
        assert np.mean(np.abs(sound) > 0.995) < 0.001
        assert np.abs(sound).max() > 0.9


async def test_what_is_above_the_telephone_band_does_not_fold_back(library: MediaLibrary, site: Site) -> None:
    buffer = io.BytesIO()
    high = 0.5 * np.sin(2 * np.pi * 6000 * np.arange(44_100) / 44_100)
    soundfile.write(buffer, high, 44_100, format="WAV", subtype="PCM_16")
    site.files["high"] = buffer.getvalue()
    prompt = await library.file(f"{site.url}/high")
    assert level(wide(prompt)) > -12
    assert level(narrow(prompt)[400:-400]) < -60


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.wav", b"<html><body>Not found</body></html>"),
        ("empty.mp3", b""),
        ("noise.ogg", os.urandom(100_000)),
        ("zeros.wav", bytes(100_000)),
        ("headeronly.wav", encoded("WAV", "PCM_16")[:44]),
        ("half.flac", encoded("FLAC", "PCM_16")[:200]),
        ("fake.mp3", b"ID3" + bytes(50_000)),
        ("text.txt", b"just text " * 1000),
        ("other.aiff", encoded("AIFF", "PCM_16")),
        ("other.au", encoded("AU", "PCM_16")),
        ("adpcm.wav", encoded("WAV", "IMA_ADPCM")),
        ("zip.wav", b"PK\x03\x04" + os.urandom(1000)),
        (
            "rate.wav",
            b"RIFF\xff\xff\xff\xffWAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1, 0, 0, 2, 16)
            + b"data\xff\xff\xff\xff",
        ),
        (
            "channels.wav",
            b"RIFF\xff\xff\xff\x7fWAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1000, 8000, 16_000_000, 2000, 16)
            + b"data\xff\xff\xff\x7f"
            + bytes(100_000),
        ),
    ],
)
async def test_what_is_no_sound_of_ours_is_refused_by_content(
    library: MediaLibrary, site: Site, name: str, content: bytes
) -> None:
    site.files[name] = content
    failure = await refused(library, f"{site.url}/{name}")
    assert failure.reason == "MEDIA_UNSUPPORTED"


async def test_a_header_that_lies_about_the_length(library: MediaLibrary, site: Site) -> None:
    whole = bytearray(encoded("WAV", "PCM_16", 8_000))
    at = whole.index(b"data") + 4
    whole[at : at + 4] = struct.pack("<I", 0x7FFFFFF0)
    site.files["lie.wav"] = bytes(whole)
    prompt = await library.file(f"{site.url}/lie.wav")
    assert prompt.duration_ms == pytest.approx(2000, abs=10)


async def test_mutilated_files_never_hurt(library: MediaLibrary, site: Site) -> None:
    random = np.random.default_rng(7)
    outcomes = set()
    for number, container in enumerate(
        ["WAV/PCM_16", "MP3/MPEG_LAYER_III", "OGG/VORBIS", "OGG/OPUS", "FLAC/PCM_16"] * 2
    ):
        kind, subtype = container.split("/")
        content = bytearray(encoded(kind, subtype, 48_000))
        for at in random.integers(0, len(content), 60):
            content[at] = random.integers(0, 256)
        site.files[f"bad{number}"] = bytes(content)
        try:
            prompt = await library.file(f"{site.url}/bad{number}")
            assert prompt.duration_ms < 3_600_000
            outcomes.add("played")
        except MediaFailed as failure:
            outcomes.add(failure.reason)
    assert outcomes <= {"played", "MEDIA_UNSUPPORTED"}


async def test_a_small_file_that_grows_to_hours_is_refused(library: MediaLibrary, site: Site) -> None:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 8_000, 1, "PCM_16", format="FLAC") as sound:
        for _ in range(64):
            sound.write(np.zeros(8_000 * 60, np.int16))
    site.files["bomb.flac"] = buffer.getvalue()
    assert len(site.files["bomb.flac"]) < 1_000_000
    failure = await refused(library, f"{site.url}/bomb.flac")
    assert failure.reason == "MEDIA_UNSUPPORTED"
    assert "longer than 3600 s" in failure.message


@pytest.mark.parametrize("path", ["gigabyte", "endless"])
async def test_bodies_without_end_are_left_early(open_library: Open, site: Site, path: str) -> None:
    library = await open_library(fetch_max_bytes=2_000_000)
    started = time.monotonic()
    failure = await refused(library, f"{site.url}/{path}")
    assert failure.reason == "FETCH_TOO_LARGE"
    assert time.monotonic() - started < 20
    assert site.sent < 20_000_000


@pytest.mark.parametrize("path", ["drip", "silent"])
async def test_slow_servers_are_left_in_time(open_library: Open, site: Site, path: str) -> None:
    library = await open_library(fetch_timeout_seconds=0.6)
    started = time.monotonic()
    failure = await refused(library, f"{site.url}/{path}")
    assert failure.reason == "FETCH_TIMEOUT"
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("path", ["private", "metadata"])
async def test_redirects_to_private_addresses_are_refused(
    library: MediaLibrary, site: Site, path: str
) -> None:
    failure = await refused(library, f"{site.url}/{path}")
    assert failure.reason == "FETCH_FORBIDDEN"


async def test_private_addresses_are_refused_unless_allowed(open_library: Open, site: Site) -> None:
    library = await open_library(fetch_allowed_networks=[])
    for url in (
        f"{site.url}/good.wav",
        site.url.replace("127.0.0.1", "localhost") + "/good.wav",
        "http://10.0.0.1/",
    ):
        assert (await refused(library, url)).reason == "FETCH_FORBIDDEN"
    assert site.requests == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/x", "nonsense", ""]
)
async def test_urls_of_other_kinds_are_refused(library: MediaLibrary, url: str) -> None:
    assert (await refused(library, url)).reason == "FETCH_FORBIDDEN"


@pytest.mark.parametrize("path", ["missing.wav", "short"])
async def test_failed_downloads(library: MediaLibrary, site: Site, path: str) -> None:
    assert (await refused(library, f"{site.url}/{path}")).reason == "FETCH_FAILED"


@pytest.mark.parametrize("path", ["missing.wav", "short", "noise", "gigabyte", "private", "broken"])
async def test_signatures_reach_neither_messages_nor_logs(open_library: Open, site: Site, path: str) -> None:
    library = await open_library(speech_engines=[], fetch_max_bytes=2_000_000)
    site.files["noise"] = b"no sound"
    with structlog.testing.capture_logs() as logged:
        waiter = asyncio.create_task(library.file(f"{site.url}/{path}?X-Amz-Signature=s3cr3t&sig=s3cr3t"))
        await asyncio.sleep(0)
        names = [task.get_name() for task in asyncio.all_tasks()]
        with pytest.raises(MediaFailed) as caught:
            await waiter
    assert f"{site.url}/{path} " in caught.value.message
    assert any(entry["event"] == "media_file_failed" for entry in logged)
    assert "s3cr3t" not in f"{caught.value.message} {logged} {names}"


async def test_nobody_there(library: MediaLibrary) -> None:
    assert (await refused(library, "http://127.0.0.1:9/x.wav")).reason == "FETCH_FAILED"


async def test_redirects_are_followed(library: MediaLibrary, site: Site) -> None:
    site.files["good.wav"] = encoded("WAV", "PCM_16")
    assert (await library.file(f"{site.url}/moved")).duration_ms == 2000


async def test_a_fresh_file_is_not_fetched_again(library: MediaLibrary, site: Site) -> None:
    site.files["a.wav"] = encoded("WAV", "PCM_16")
    site.headers = {"Cache-Control": "public, max-age=60"}
    first = await library.file(f"{site.url}/a.wav")
    site.files["a.wav"] = encoded("WAV", "PCM_16", loud=0.2)
    assert await library.file(f"{site.url}/a.wav") == first
    assert len(site.requests) == 1


async def test_a_stale_file_is_asked_about_and_reused(library: MediaLibrary, site: Site) -> None:
    site.files["a.wav"] = encoded("WAV", "PCM_16")
    site.headers = {"ETag": '"one"', "Cache-Control": "no-cache"}
    first = await library.file(f"{site.url}/a.wav")
    assert await library.file(f"{site.url}/a.wav") == first
    assert [request.headers.get("If-None-Match") for request in site.requests] == [None, '"one"']
    site.headers["ETag"] = '"two"'
    site.files["a.wav"] = encoded("WAV", "PCM_16", loud=0.2)
    changed = await library.file(f"{site.url}/a.wav")
    assert changed != first
    assert level(wide(changed)) < level(wide(first)) - 6


async def test_a_prompt_that_went_is_fetched_whole_again(library: MediaLibrary, site: Site) -> None:
    site.files["a.wav"] = encoded("WAV", "PCM_16")
    site.headers = {"ETag": '"one"', "Cache-Control": "max-age=60"}
    first = await library.file(f"{site.url}/a.wav")
    Path(f"{first.path}.ulaw").unlink()
    assert await library.file(f"{site.url}/a.wav") == first
    assert Path(f"{first.path}.ulaw").exists()
    assert site.requests[1].headers.get("If-None-Match") is None


async def test_without_cache_headers_each_play_asks_and_the_same_bytes_are_decoded_once(
    library: MediaLibrary, site: Site
) -> None:
    site.files["a.wav"] = site.files["b.wav"] = encoded("WAV", "PCM_16")
    prompts = {(await library.file(f"{site.url}/{name}")).path for name in ("a.wav", "a.wav", "b.wav")}
    assert len(prompts) == 1
    assert len(site.requests) == 3


async def test_one_fetch_serves_all_who_ask_at_once(library: MediaLibrary, site: Site) -> None:
    site.files["a.wav"] = encoded("WAV", "PCM_16")
    site.delay = 0.1
    waiters = [asyncio.create_task(library.file(f"{site.url}/a.wav")) for _ in range(10)]
    await asyncio.sleep(0.02)
    waiters[0].cancel()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert len({result.path for result in results[1:]}) == 1  # type: ignore[union-attr]
    assert len(site.requests) == 1


async def test_files_that_are_gone_leave_nothing_behind(
    open_library: Open, site: Site, tmp_path: Path
) -> None:
    library = await open_library(speech_engines=[])
    # made in the background at the start, by way of the same folder
    await library.beep()
    await refused(library, f"{site.url}/missing.wav")
    site.files["bad.wav"] = b"no"
    await refused(library, f"{site.url}/bad.wav")
    assert not list((tmp_path / "tmp").glob("*/*"))
    assert not list((tmp_path / "files").rglob("*.*"))


async def test_a_file_whose_time_is_up_while_it_is_written_leaves_nothing_behind(
    open_library: Open, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = await open_library(speech_engines=[], fetch_timeout_seconds=0.5)
    await library.beep()
    usual, written = Path.open, []

    def slow(path: Path, *how: Any, **more: Any) -> Any:
        if path.suffix == ".source":
            time.sleep(1.5)
            written.append(path)
        return usual(path, *how, **more)

    monkeypatch.setattr(Path, "open", slow)
    site.files["a.wav"] = encoded("WAV", "PCM_16")
    failure = await refused(library, f"{site.url}/a.wav")
    assert failure.reason == "FETCH_TIMEOUT"
    assert len(written) == 1, "the disk was what took so long, and it was waited for"
    assert not list((tmp_path / "tmp").glob("*/*"))


@pytest.mark.parametrize(
    "how", ["os._exit(139)", "os.kill(os.getpid(), 11)", "time.sleep(60)", "bytearray(10**11)"]
)
async def test_a_decoder_that_dies_or_hangs_is_an_unsupported_file(
    library: MediaLibrary, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    program = (
        "import os, time\nfrom ringline.media.workers.serve import serve\n"
        f"def convert(job):\n    {how}\n    return {{}}\nserve({{'convert': convert}})\n"
    )
    (tmp_path / "dying_decoder.py").write_text(program)
    monkeypatch.setattr("ringline.media.files.DECODE_SECONDS", 2.0)
    from ringline.media import worker

    environment = worker.clean_environment()
    monkeypatch.setattr(
        worker,
        "clean_environment",
        lambda: {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{tmp_path}"},
    )
    monkeypatch.setattr(library._files, "_decoder", WorkerPool("dying_decoder", size=1))
    site.files["a.wav"] = encoded("WAV", "PCM_16", loud=0.123)  # not decoded before
    failure = await refused(library, f"{site.url}/a.wav")
    assert failure.reason == "MEDIA_UNSUPPORTED"
    assert "broke the decoder" in failure.message
    await library._files._decoder.close()


async def test_an_hour_is_decoded_in_time(open_library: Open, site: Site) -> None:
    """The longest file there may be fits into the decoder's memory and time."""
    buffer = io.BytesIO()
    minute = (8000 * np.sin(2 * np.pi * 440 * np.arange(8_000 * 60) / 8_000)).astype(np.int16)
    with soundfile.SoundFile(buffer, "w", 8_000, 1, "PCM_16", format="FLAC") as sound:
        for _ in range(59):
            sound.write(minute)
    site.files["hour.flac"] = buffer.getvalue()
    library = await open_library(speech_engines=[], fetch_max_bytes=10**9)
    prompt = await library.file(f"{site.url}/hour.flac")
    assert prompt.duration_ms == 59 * 60_000
