"""Which engine speaks: order, fallback, breaker, cache and single flight, with engines made of nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from ringline.media import MediaFailed
from ringline.media.engines import Capabilities, EngineBusy, EngineFailed, EngineRefused, SpeechEngine
from ringline.media.script import Script
from ringline.media.speech import Speech, cache_key
from ringline.media.ssml import parse
from ringline.media.store import PromptStore
from ringline.media.worker import WorkerCrashed, WorkerPool
from ringline.settings import Settings


class Engine(SpeechEngine):
    name = "first"

    def __init__(
        self, name: str = "first", *, languages: set[str] | None = None, pace: float = 0.0001
    ) -> None:
        self.name = name  # type: ignore[misc]
        self.capabilities = Capabilities(
            version="1",
            languages=frozenset(languages or {"en-US", "de"}),
            ssml=frozenset(),
            sample_rate=22_050,
            seconds_per_character=pace,
        )
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.spoken: list[tuple[str, str, str]] = []
        self.limits: list[float] = []

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    @property
    def jobs(self) -> int:
        return 0

    def voice(self, language: str, voice_id: str) -> str:
        return f"{self.name}-{voice_id or 'default'}"

    async def synthesize(
        self, script: Script, language: str, voice: str, target: Path, seconds: float
    ) -> None:
        self.spoken.append((repr(script.pieces), language, voice))
        self.limits.append(seconds)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        target.write_bytes(self.name.encode())


class Converter:
    """Stands in for the worker pool: the "sound" is the engine's name."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    async def run(self, job: dict[str, Any], *, seconds: float) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        name = Path(job["source"]).read_bytes()
        Path(f"{job['target']}.ulaw").write_bytes(name)
        Path(f"{job['target']}.sln16").write_bytes(name * 4)
        return {"ok": True}


class Observer:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    def media_done(self, kind: str, source: str, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((kind, source, result))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Room:
    def __init__(self, speech: Speech, converter: Converter, observer: Observer, clock: Clock) -> None:
        self.speech = speech
        self.converter = converter
        self.observer = observer
        self.clock = clock

    async def say(self, text: str = "Hello", language: str = "en-US", voice_id: str = "") -> str:
        """The name of the engine that spoke."""
        prompt = await self.speech.speech(text, language, voice_id)
        return Path(f"{prompt.path}.ulaw").read_text()


@asynccontextmanager
async def room(
    tmp_path: Path, engines: Sequence[SpeechEngine], *, timeout: float = 20.0
) -> AsyncIterator[Room]:
    settings = Settings(media_dir=tmp_path, speech_timeout_seconds=timeout)
    store = PromptStore(tmp_path, 10**6)
    await store.start()
    converter, observer, clock = Converter(), Observer(), Clock()
    speech = Speech(settings, engines, store, cast(WorkerPool, converter), observer, clock=clock)
    try:
        yield Room(speech, converter, observer, clock)
    finally:
        await speech.close()
        await store.close()


async def test_the_first_engine_speaks_and_the_cache_answers_afterwards(tmp_path: Path) -> None:
    first, second = Engine("first"), Engine("second")
    async with room(tmp_path, [first, second]) as media:
        assert await media.say() == "first"
        assert await media.say("  Hello ") == "first"
        assert len(first.spoken) == 1
        assert second.spoken == []
        assert media.observer.seen == [("speech", "first", "ok"), ("speech", "cache", "ok")]


async def test_speech_of_the_second_engine_does_not_stick(tmp_path: Path) -> None:
    first, second = Engine("first"), Engine("second")
    first.failure = EngineFailed("broken")
    async with room(tmp_path, [first, second]) as media:
        assert await media.say() == "second"
        first.failure = None
        assert await media.say() == "first"
        assert await media.say() == "first"


async def test_what_is_remembered_of_requests_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringline.media.speech.RECENT_REQUESTS", 3)
    first = Engine()
    async with room(tmp_path, [first]) as media:
        for _ in range(2):
            for number in range(6):
                assert await media.say(f"text {number}") == "first"
        assert len(first.spoken) == 6
        assert len(media.speech._recent) == 3


async def test_language_and_voice_make_another_prompt(tmp_path: Path) -> None:
    first = Engine()
    async with room(tmp_path, [first]) as media:
        await media.say()
        await media.say(language="de-AT")
        await media.say(voice_id="deep")
        await media.say("Hello!")
        assert [(language, voice) for _, language, voice in first.spoken] == [
            ("en-US", "first-default"),
            ("de-AT", "first-default"),
            ("en-US", "first-deep"),
            ("en-US", "first-default"),
        ]


async def test_an_engine_is_asked_only_for_its_languages(tmp_path: Path) -> None:
    english, german = Engine("english", languages={"en-US"}), Engine("german", languages={"de"})
    async with room(tmp_path, [english, german]) as media:
        assert await media.say(language="de-DE") == "german"
        assert english.spoken == []
        with pytest.raises(MediaFailed, match="speaks 'tlh'"):
            await media.say(language="tlh")
        with pytest.raises(MediaFailed, match="speaks"):
            await media.say(language="not a language")


async def test_a_failing_engine_falls_to_the_next_then_rests_then_is_tried_again(tmp_path: Path) -> None:
    first, second = Engine("first"), Engine("second")
    first.failure = EngineFailed("broken")
    async with room(tmp_path, [first, second]) as media:
        for number in range(5):
            assert await media.say(f"text {number}") == "second"
        assert len(first.spoken) == 2
        assert media.speech.health() == {"first": "open", "second": "ready"}
        first.failure = None
        media.clock.now += 5
        assert await media.say("text 9") == "first"
        assert media.speech.health() == {"first": "ready", "second": "ready"}
        assert media.observer.seen.count(("speech", "first", "failed")) == 2


async def test_a_cached_prompt_of_the_preferred_engine_is_used_while_it_rests(tmp_path: Path) -> None:
    first, second = Engine("first"), Engine("second")
    async with room(tmp_path, [first, second]) as media:
        assert await media.say("cached") == "first"
        first.failure = EngineFailed("broken")
        await media.say("a")
        await media.say("b")
        assert await media.say("cached") == "first"


@pytest.mark.parametrize("failure", [EngineBusy("queue"), EngineRefused("odd text")])
async def test_a_busy_engine_or_an_odd_text_switches_nothing_off(tmp_path: Path, failure: Exception) -> None:
    first, second = Engine("first"), Engine("second")
    first.failure = failure
    async with room(tmp_path, [first, second]) as media:
        for number in range(5):
            assert await media.say(f"text {number}") == "second"
        assert len(first.spoken) == 5
        assert media.speech.health()["first"] == "ready"


async def test_when_none_is_left_the_reason_says_who_failed_and_why(tmp_path: Path) -> None:
    first, second = Engine("first"), Engine("second")
    first.failure, second.failure = EngineFailed("no model"), EngineFailed("no voice")
    async with room(tmp_path, [first, second]) as media:
        with pytest.raises(MediaFailed) as caught:
            await media.say()
        assert caught.value.reason == "SPEECH_FAILED"
        assert "first: no model" in caught.value.message
        assert "second: no voice" in caught.value.message
        assert not list((tmp_path / "tmp").glob("*/*"))


async def test_without_engines_speech_fails(tmp_path: Path) -> None:
    async with room(tmp_path, []) as media:
        with pytest.raises(MediaFailed):
            await media.say()


async def test_bad_text_at_run_time_is_a_media_failure(tmp_path: Path) -> None:
    async with room(tmp_path, [Engine()]) as media:
        for text in ("", "<speak>a & b</speak>", "x" * 6000):
            with pytest.raises(MediaFailed) as caught:
                await media.say(text)
            assert caught.value.reason == "SPEECH_FAILED"


async def test_a_hanging_engine_leaves_time_for_the_next(tmp_path: Path) -> None:
    first, second = Engine("first"), Engine("second")
    first.gate = asyncio.Event()
    async with room(tmp_path, [first, second], timeout=5.0) as media:
        async with asyncio.timeout(4.9):
            assert await media.say() == "second"
        assert first.limits == [5.0]


async def test_a_slow_engine_is_not_waited_for_again_until_its_late_speech_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringline.media.speech.GRACE_SECONDS", 0.05)
    first, second = Engine("first"), Engine("second")
    first.gate = asyncio.Event()
    async with room(tmp_path, [first, second]) as media:
        async with asyncio.timeout(30):
            for number in range(4):
                assert await media.say(f"text {number}") == "second"
        assert len(first.spoken) == 2
        assert media.speech.health()["first"] == "open"
        first.gate.set()
        async with asyncio.timeout(30):
            while media.speech.health()["first"] != "ready":
                await asyncio.sleep(0.01)
        assert await media.say("text 0") == "first"
        assert await media.say("text 3") == "first"
        assert len(first.spoken) == 3


async def test_a_text_too_long_for_the_preferred_engine_goes_to_the_next(tmp_path: Path) -> None:
    slow, quick = Engine("slow", pace=0.006), Engine("quick", pace=0.0001)
    async with room(tmp_path, [slow, quick]) as media:
        assert await media.say("short") == "slow"
        assert await media.say("long " * 800) == "quick"
        quick.failure = EngineFailed("broken")
        assert await media.say("longer " * 700) == "slow"


async def test_many_who_ask_at_once_render_once_and_survive_each_other(tmp_path: Path) -> None:
    first = Engine()
    first.gate = asyncio.Event()
    async with room(tmp_path, [first]) as media:
        waiters = [asyncio.create_task(media.say()) for _ in range(10)]
        await asyncio.sleep(0.01)
        waiters[0].cancel()
        first.gate.set()
        results = await asyncio.gather(*waiters, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == ["first"] * 9
        assert len(first.spoken) == 1


async def test_what_all_waiters_gave_up_is_there_for_the_next(tmp_path: Path) -> None:
    first = Engine()
    first.gate = asyncio.Event()
    async with room(tmp_path, [first]) as media:
        waiter = asyncio.create_task(media.say())
        await asyncio.sleep(0.01)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        first.gate.set()
        assert await media.say() == "first"
        assert len(first.spoken) == 1


async def test_a_full_disk_is_not_the_engines_fault(tmp_path: Path) -> None:
    first = Engine()
    async with room(tmp_path, [first]) as media:
        failure = WorkerCrashed("disk")
        failure.__cause__ = OSError(28, "No space left on device")
        media.converter.failure = failure
        for _ in range(3):
            with pytest.raises(MediaFailed) as caught:
                await media.say()
            assert caught.value.reason == "MEDIA_STORAGE_FULL"
        media.converter.failure = None
        assert await media.say() == "first"


async def test_sound_that_cannot_be_converted_is_the_engines_fault(tmp_path: Path) -> None:
    first = Engine()
    async with room(tmp_path, [first]) as media:
        media.converter.failure = WorkerCrashed("died")
        with pytest.raises(MediaFailed, match="cannot be converted"):
            await media.say()


def test_the_cache_key_covers_the_whole_request() -> None:
    engine = Engine()
    keys = {cache_key(engine, "voice", "en-US", parse("text"))}
    keys.add(cache_key(engine, "other", "en-US", parse("text")))
    keys.add(cache_key(engine, "voice", "en-GB", parse("text")))
    keys.add(cache_key(engine, "voice", "en-US", parse("texts")))
    keys.add(cache_key(engine, "voice", "en-US", parse('<speak>te<break time="1s"/>xt</speak>')))
    keys.add(cache_key(engine, "voice", "en-US", parse('<speak><prosody rate="90%">text</prosody></speak>')))
    keys.add(cache_key(Engine("second"), "voice", "en-US", parse("text")))
    newer = Engine()
    newer.capabilities = Capabilities("2", frozenset({"en-US"}), frozenset(), 22_050, 0.0)
    keys.add(cache_key(newer, "voice", "en-US", parse("text")))
    other_rate = Engine()
    other_rate.capabilities = Capabilities("1", frozenset({"en-US"}), frozenset(), 24_000, 0.0)
    keys.add(cache_key(other_rate, "voice", "en-US", parse("text")))
    assert len(keys) == 9
    assert all(len(key) == 64 for key in keys)
    assert cache_key(engine, "voice", "en-US", parse(" text\n")) in keys
    assert cache_key(engine, "voice", "en-US", parse("<speak>text</speak>")) in keys
