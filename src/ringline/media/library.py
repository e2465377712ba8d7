"""The door to everything that can be played."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from ringline.settings import Settings

from . import engines as registry
from .engines import EngineFailed, SpeechEngine
from .errors import MediaFailed
from .files import SoundFiles
from .flight import SingleFlight
from .languages import check
from .observer import MediaObserver, Unobserved
from .prompt import Prompt
from .speech import Speech
from .store import PromptStore
from .worker import WorkerError, WorkerPool

log = structlog.get_logger(__name__)

BEEP_HERTZ = 1000
BEEP_MS = 400
AUDIO = "ringline.media.workers.audio"
START_SECONDS = 40.0


class MediaLibrary:
    """Prompts for calls: `speech`, `file` and `beep`. All raise `MediaFailed` and take bounded time."""

    def __init__(self, settings: Settings, *, observer: MediaObserver | None = None) -> None:
        self._settings = settings
        self._observer = observer or Unobserved()
        self._store = PromptStore(settings.media_dir, settings.media_cache_bytes)
        self._converter = WorkerPool(AUDIO, size=2, waiting=256)
        # What strangers made is decoded by processes that serve once.
        self._decoder = WorkerPool(AUDIO, size=2, jobs_each=1)
        self._files = SoundFiles(settings, self._store, self._decoder, self._observer)
        self._engines: list[SpeechEngine] = []
        self._unavailable: dict[str, str] = {}
        self._speech: Speech | None = None
        self._warming: asyncio.Task[None] | None = None
        self._beeps: SingleFlight[Prompt] = SingleFlight()
        self._languages: frozenset[str] = frozenset()
        self._any_language = False

    async def start(self) -> None:
        """Open the cache and start the engines; models load in the background. Raises `MediaFailed` when the
        media folder cannot be used. An engine that cannot start is left out, loudly."""
        try:
            await self._store.start()
        except OSError as error:
            raise await self._store.failure(error) from error
        candidates = registry.create(self._settings)
        started = await asyncio.gather(*(self._start_engine(engine) for engine in candidates))
        self._engines = [engine for engine, good in zip(candidates, started, strict=True) if good]
        for engine in self._engines:
            self._languages |= engine.capabilities.languages or frozenset()
            self._any_language |= engine.capabilities.languages is None
        self._speech = Speech(self._settings, self._engines, self._store, self._converter, self._observer)
        self._warming = asyncio.create_task(self._warm(), name="media warm-up")

    async def close(self) -> None:
        """End processes, sessions and tasks. Idempotent."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        if self._speech is not None:
            await self._speech.close()
        await self._files.close()
        await self._beeps.close()
        await asyncio.gather(
            self._converter.close(), self._decoder.close(), *(engine.close() for engine in self._engines)
        )
        await self._store.close()

    async def speech(self, text: str, language: str = "en-US", voice_id: str = "") -> Prompt:
        """``text``, plain or SSML, spoken. Within ``speech_timeout_seconds``, most of all from the cache."""
        if self._speech is None:
            raise MediaFailed("the media library has not been started", reason="SPEECH_FAILED")
        return await self._speech.speech(text, language, voice_id)

    async def file(self, url: str) -> Prompt:
        """The sound at ``url`` (WAV, MP3, Ogg, FLAC; at most an hour)."""
        return await self._files.file(url)

    async def beep(self) -> Prompt:
        """A tone of 1 kHz for 400 ms."""
        digest = f"beep-{BEEP_HERTZ}-{BEEP_MS}"
        prompt = self._store.get("tones", digest)
        return prompt or await self._beeps.run(digest, lambda: self._make_beep(digest))

    def languages(self) -> tuple[str, ...]:
        """All languages that can be spoken, as canonical BCP 47 tags."""
        return tuple(sorted(self._languages))

    def check_language(self, language: str) -> str:
        """The canonical tag. Raises `InvalidArgument` naming the nearest known languages."""
        return check(language, self._languages, any_language=self._any_language)

    def queues(self) -> dict[str, int]:
        """Jobs that wait or are being worked on: of the converter, of the decoder of strangers' files, and of
        each engine by its name.
        """
        return {
            "converter": self._converter.jobs,
            "decoder": self._decoder.jobs,
            **{engine.name: engine.jobs for engine in self._engines},
        }

    def health(self) -> dict[str, str]:
        """Each configured engine's name with ``ready``, ``loading``, ``open`` (failing) or why it is
        missing.
        """
        return {**self._unavailable, **(self._speech.health() if self._speech else {})}

    async def _start_engine(self, engine: SpeechEngine) -> bool:
        try:
            async with asyncio.timeout(START_SECONDS):
                await engine.start()
        except (EngineFailed, TimeoutError) as error:
            log.error("speech_engine_unavailable", engine=engine.name, error=str(error))
            self._unavailable[engine.name] = str(error) or "did not start in time"
            with contextlib.suppress(EngineFailed):
                await engine.close()
            return False
        return True

    async def _warm(self) -> None:
        """Have the beep on disk and a converter running before the first call needs them."""
        try:
            await self._converter.warm()
            await self.beep()
        except (WorkerError, MediaFailed) as error:
            log.error("media_converter_not_working", error=str(error))

    async def _make_beep(self, digest: str) -> Prompt:
        with self._store.workspace() as stem:
            job = {"op": "beep", "hertz": BEEP_HERTZ, "milliseconds": BEEP_MS, "target": str(stem)}
            try:
                await self._converter.run(job, seconds=self._settings.speech_timeout_seconds)
            except WorkerError as error:
                if isinstance(error.__cause__, OSError):
                    raise await self._store.failure(error.__cause__) from error
                raise MediaFailed(f"the beep cannot be made: {error}", reason="SPEECH_FAILED") from error
            return await self._store.put("tones", digest, stem)
