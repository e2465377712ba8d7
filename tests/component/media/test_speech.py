"""Speech by the real engines, judged by ear: length, silence, pitch, loudness, likeness."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from ringline.errors import InvalidArgument
from ringline.media import MediaFailed, MediaLibrary, Prompt
from ringline.media.engines.piper import PiperEngine

from .conftest import Open
from .listening import level, likeness, longest_silence, loudest_hertz, narrow, pitch, resampled, wide

TEXT = "The quick brown fox jumps over the lazy dog."


class Observer:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, float]] = []

    def media_done(self, kind: str, source: str, result: str, seconds: float) -> None:
        self.seen.append((kind, source, result, seconds))


async def test_espeak_speaks_and_both_files_hold_the_same(library: MediaLibrary, tmp_path: Path) -> None:
    prompt = await library.speech(TEXT, "en-US")
    assert prompt.path.startswith(str(tmp_path / "speech"))
    assert 2000 < prompt.duration_ms < 4500
    assert len(narrow(prompt)) == pytest.approx(prompt.duration_ms * 8, abs=16)
    assert likeness(narrow(prompt), resampled(wide(prompt), 16_000, 8_000)) > 0.995
    assert -30 < level(narrow(prompt)) < -14
    reference = tmp_path / "reference.wav"
    subprocess.run(
        ["espeak-ng", "-m", "-v", "en-us", "-s", "165", "-w", reference, f"<speak> {TEXT} </speak>"],
        check=True,
    )
    sound, rate = soundfile.read(reference)
    assert likeness(wide(prompt), resampled(sound, rate, 16_000)) > 0.98


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de-DE", "Guten Tag, Österreich."),
        ("zh-CN", "你好,世界"),
        ("ru", "Привет, мир"),
        ("ar-EG", "مرحبا"),
        ("ja-JP", "こんにちは"),
    ],
)
async def test_espeak_speaks_other_languages(library: MediaLibrary, language: str, text: str) -> None:
    assert library.check_language(language)
    prompt = await library.speech(text, language)
    assert prompt.duration_ms > 400
    assert level(narrow(prompt)) > -35


async def test_languages_sound_different(library: MediaLibrary) -> None:
    english, german = [await library.speech("Restaurant in Paris", tag) for tag in ("en-US", "de")]
    assert english.path != german.path
    assert likeness(wide(english), wide(german)) < 0.9


async def test_languages_are_known_and_checked(library: MediaLibrary) -> None:
    assert len(library.languages()) > 100
    assert {"en-US", "de", "fr-FR", "pt-BR"} <= set(library.languages())
    assert library.check_language("es-MX") == "es-MX"
    assert library.check_language("EN_us") == "en-US"
    with pytest.raises(InvalidArgument, match="en-US"):
        library.check_language("english")
    with pytest.raises(MediaFailed):
        await library.speech("Hello", "english")


async def test_what_waits_is_counted(library: MediaLibrary) -> None:
    await library.beep()
    assert library.queues() == {"converter": 0, "decoder": 0, "espeak": 0}
    waiting = [asyncio.create_task(library.speech(f"{TEXT} {number}")) for number in range(10)]
    async with asyncio.timeout(60):
        while library.queues()["espeak"] < 10:
            await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert sum(library.queues().values()) == 0


async def test_the_same_speech_is_rendered_once(open_library: Open) -> None:
    observer = Observer()
    library = await open_library(observer=observer)
    prompts = await asyncio.gather(*(library.speech(TEXT) for _ in range(20)))
    assert len(set(prompts)) == 1
    took = []
    for _ in range(5):
        started = time.perf_counter()
        assert await library.speech(TEXT) == prompts[0]
        took.append(time.perf_counter() - started)
    assert min(took) < 0.02
    cached = [("speech", "cache", "ok")] * 5
    assert [entry[:3] for entry in observer.seen] == [("speech", "espeak", "ok"), *cached]
    assert observer.seen[0][3] > 0


async def test_the_cache_outlives_the_library(open_library: Open) -> None:
    first = await open_library()
    prompt = await first.speech(TEXT)
    await first.close()
    observer = Observer()
    second = await open_library(observer=observer)
    assert await second.speech(TEXT) == prompt
    assert observer.seen[0][:3] == ("speech", "cache", "ok")


@pytest.mark.parametrize("engine", ["espeak", "piper"])
class TestMarkup:
    """What SSML asks for can be heard, from both engines."""

    async def speak(self, speakers: dict[str, MediaLibrary], engine: str, *texts: str) -> list[Prompt]:
        return [await speakers[engine].speech(text) for text in texts]

    async def test_breaks(self, speakers: dict[str, MediaLibrary], engine: str) -> None:
        plain, paused = await self.speak(
            speakers, engine, "one two", '<speak>one<break time="2s"/>two</speak>'
        )
        assert longest_silence(wide(plain), 16_000) < 0.6
        assert longest_silence(wide(paused), 16_000) == pytest.approx(2.2, abs=0.35)

    async def test_rate(self, speakers: dict[str, MediaLibrary], engine: str) -> None:
        # piper never says a sentence twice in quite the same time; over a long one that evens out
        text = TEXT.rstrip(".") + f", and {TEXT.lower().rstrip('.')}" * 3 + "."
        plain, slow, fast = await self.speak(
            speakers,
            engine,
            text,
            f'<speak><prosody rate="60%">{text}</prosody></speak>',
            f'<speak><prosody rate="fast">{text}</prosody></speak>',
        )
        assert slow.duration_ms > 1.35 * plain.duration_ms
        assert fast.duration_ms < 0.93 * plain.duration_ms

    async def test_pitch(self, speakers: dict[str, MediaLibrary], engine: str) -> None:
        low, high = await self.speak(
            speakers,
            engine,
            f'<speak><prosody pitch="-20%">{TEXT}</prosody></speak>',
            f'<speak><prosody pitch="+30%">{TEXT}</prosody></speak>',
        )
        assert pitch(wide(high), 16_000) > 1.15 * pitch(wide(low), 16_000)
        assert high.duration_ms == pytest.approx(low.duration_ms, rel=0.2)

    async def test_volume(self, speakers: dict[str, MediaLibrary], engine: str) -> None:
        plain, soft, loud = await self.speak(
            speakers,
            engine,
            TEXT,
            f'<speak><prosody volume="-12dB">{TEXT}</prosody></speak>',
            f'<speak><prosody volume="+12dB">{TEXT}</prosody></speak>',
        )
        assert level(wide(soft)) == pytest.approx(level(wide(plain)) - 12, abs=2)
        assert level(wide(loud)) > level(wide(plain))
        assert np.mean(np.abs(wide(loud)) > 0.99) < 0.001

    async def test_digits_are_spoken_one_by_one(self, speakers: dict[str, MediaLibrary], engine: str) -> None:
        million, digits = await self.speak(
            speakers,
            engine,
            '<speak><say-as interpret-as="cardinal">1,000,000</say-as></speak>',
            '<speak><say-as interpret-as="digits">1000000</say-as></speak>',
        )
        assert digits.duration_ms > 1.7 * million.duration_ms


async def ready(library: MediaLibrary, engine: str = "piper") -> None:
    async with asyncio.timeout(90):
        while library.health()[engine] != "ready":
            await asyncio.sleep(0.05)


async def test_piper_speaks_naturally_loud_and_does_not_block_the_loop(open_library: Open) -> None:
    started = time.perf_counter()
    library = await open_library(speech_engines=["piper", "espeak"], speech_timeout_seconds=60)
    loading = library.health()["piper"] == "loading"
    assert loading or time.perf_counter() - started < 3, "the model is not waited for"
    await ready(library)
    gaps: list[float] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - before)

    watcher = asyncio.create_task(watch())
    prompt = await library.speech(TEXT, "en-US")
    watcher.cancel()
    assert library.health() == {"piper": "ready", "espeak": "ready"}
    assert 1800 < prompt.duration_ms < 4500
    assert -28 < level(narrow(prompt)) < -14
    assert sorted(gaps)[len(gaps) // 2] < 0.05
    espeak = await library.speech(TEXT, "en-GB")
    assert likeness(wide(espeak), wide(prompt)) < 0.9


async def test_piper_that_is_killed_comes_back_and_espeak_helps_out(open_library: Open) -> None:
    library = await open_library(speech_engines=["piper", "espeak"], speech_timeout_seconds=60)
    await ready(library)
    first = await library.speech("Before.", "en-US")
    engine = library._engines[0]
    assert isinstance(engine, PiperEngine)
    (pid,) = engine._pool.pids
    rendering = asyncio.create_task(library.speech("A text that is being spoken. " * 15, "en-US"))
    await asyncio.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    assert (await rendering).duration_ms > 10_000
    async with asyncio.timeout(60):
        while not engine._pool.pids or engine._pool.pids == [pid]:
            await asyncio.sleep(0.05)
    await ready(library)
    after = await library.speech("Before!", "en-US")
    assert after.duration_ms == pytest.approx(first.duration_ms, rel=0.5)


async def test_without_the_program_espeak_is_left_out_and_said_so(
    open_library: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    library = await open_library()
    assert "not installed" in library.health()["espeak"]
    with pytest.raises(MediaFailed) as caught:
        await library.speech("Hello")
    assert caught.value.reason == "SPEECH_FAILED"


async def test_an_espeak_that_hangs_is_a_failure_in_time(
    open_library: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = await open_library(speech_timeout_seconds=1.0)
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o755)
    monkeypatch.setattr(library._engines[0], "_program", str(program))
    started = time.monotonic()
    with pytest.raises(MediaFailed):
        await library.speech("Hello")
    assert time.monotonic() - started < 20


async def test_hostile_text_is_only_ever_spoken(library: MediaLibrary, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for text in (
        f"$(touch {marker}) `touch {marker}`; touch {marker}",
        "--help -w /tmp/x",
        '<speak><audio src="/etc/passwd">x</audio><say-as interpret-as="tts:key">a</say-as></speak>',
        "[[" * 2000 + "x",
        "%s%n%x \\x00 \\u0000 a",
        "a" * 5000,
        "🎉 7 " * 500,
    ):
        try:
            prompt = await library.speech(text)
        except MediaFailed as failure:
            assert failure.reason == "SPEECH_FAILED"
        else:
            assert prompt.duration_ms > 0
    assert not marker.exists()
    assert library.health() == {"espeak": "ready"}


async def test_the_beep(library: MediaLibrary) -> None:
    one, two = await asyncio.gather(library.beep(), library.beep())
    assert one == two == await library.beep()
    assert one.duration_ms == 400
    assert loudest_hertz(wide(one), 16_000) == pytest.approx(1000, abs=20)
    assert loudest_hertz(narrow(one), 8_000) == pytest.approx(1000, abs=20)
    assert -16 < level(narrow(one)) < -8


@asynccontextmanager
async def speech_server(handle: Any) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_post("/v1/audio/speech", handle)
    async with TestServer(application, host="127.0.0.1") as server:
        yield str(server.make_url("/"))


def tone(seconds: float = 1.0, hertz: float = 440.0) -> bytes:
    buffer = io.BytesIO()
    sound = 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(24_000 * seconds)) / 24_000)
    soundfile.write(buffer, sound, 24_000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


class TestOpenAI:
    """The third engine against a server of our own, well-behaved and not."""

    async def open(self, open_library: Open, url: str, **changes: Any) -> MediaLibrary:
        defaults = {"speech_engines": ["openai", "espeak"], "speech_openai_key": SecretStr("sk-test")}
        return await open_library(speech_openai_url=url, **{**defaults, **changes})

    async def test_it_speaks(self, open_library: Open) -> None:
        requests: list[tuple[dict[str, Any], str]] = []
        queues: list[int] = []

        async def handle(request: web.Request) -> web.Response:
            queues.append(library.queues()["openai"])
            requests.append((await request.json(), request.headers["Authorization"]))
            return web.Response(body=tone(), content_type="audio/wav")

        async with speech_server(handle) as url:
            library = await self.open(open_library, url)
            prompt = await library.speech("Hello", "tlh", "nova")
            assert await library.speech("Hello", "tlh", "nova") == prompt
            assert (queues, library.queues()["openai"]) == ([1], 0)
        assert requests == [
            (
                {"model": "tts-1", "voice": "nova", "input": "Hello", "response_format": "wav"},
                "Bearer sk-test",
            )
        ]
        assert prompt.duration_ms == 1000
        assert loudest_hertz(wide(prompt), 16_000) == pytest.approx(440, abs=20)

    @pytest.mark.parametrize(
        "how", ["500", "401", "redirect", "garbage", "empty", "hang", "endless", "cut", "html"]
    )
    async def test_a_bad_server_falls_to_the_next_engine(
        self, open_library: Open, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ringline.media.engines.openai.MAX_BYTES", 1_000_000)

        async def handle(request: web.Request) -> web.StreamResponse:
            await request.read()
            if how in {"500", "401"}:
                return web.Response(status=int(how))
            if how == "redirect":
                raise web.HTTPFound("/v1/audio/speech")
            if how == "garbage":
                return web.Response(body=os.urandom(5000), content_type="audio/wav")
            if how == "html":
                return web.Response(text="<html>hello</html>", content_type="text/html")
            if how == "empty":
                return web.Response(body=b"")
            response = web.StreamResponse()
            if how == "cut":
                response.content_length = 100_000
            await response.prepare(request)
            await response.write(tone()[:5000])
            if how == "cut":
                assert request.transport is not None
                request.transport.close()
                return response
            try:
                while True:
                    if how == "endless":
                        await response.write(bytes(65_536))
                    await asyncio.sleep(0 if how == "endless" else 0.1)
            except ConnectionError:
                return response

        async with speech_server(handle) as url:
            observer = Observer()
            library = await self.open(open_library, url, speech_timeout_seconds=12, observer=observer)
            prompt = await library.speech(TEXT, "en-US")
            assert prompt.duration_ms > 2000
            await library.close()
            assert {entry[:3] for entry in observer.seen} == {
                ("speech", "openai", "failed"),
                ("speech", "espeak", "ok"),
            }

    async def test_a_server_that_is_not_there(self, open_library: Open) -> None:
        library = await self.open(open_library, "http://127.0.0.1:9", speech_engines=["openai"])
        with pytest.raises(MediaFailed) as caught:
            await library.speech(TEXT)
        assert caught.value.reason == "SPEECH_FAILED"
        assert "sk-test" not in caught.value.message

    async def test_a_text_it_refuses_does_not_switch_it_off(self, open_library: Open) -> None:
        async def handle(request: web.Request) -> web.Response:
            text = (await request.json())["input"]
            return web.Response(status=400) if "bad" in text else web.Response(body=tone())

        async with speech_server(handle) as url:
            library = await self.open(open_library, url)
            for number in range(4):
                await library.speech(f"bad {number}")
            assert library.health()["openai"] == "ready"
            good = await library.speech("good")
            assert good.duration_ms == 1000
