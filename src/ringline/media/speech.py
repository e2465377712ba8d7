"""Speech by the first engine that can: cached, rendered once for all who wait, falling to the next engine."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from ringline.errors import InvalidArgument
from ringline.settings import Settings

from .breaker import Breaker
from .engines import EngineBusy, EngineFailed, EngineRefused, SpeechEngine
from .errors import MediaFailed
from .flight import SingleFlight
from .languages import canonical
from .observer import MediaObserver
from .prompt import Prompt
from .script import Script
from .ssml import parse
from .store import PromptStore
from .worker import WorkerBusy, WorkerError, WorkerPool

log = structlog.get_logger(__name__)

CONVERTER = "ulaw8000+sln16000/1"
MAX_SPEECH_SECONDS = 3600
# With another engine behind it, one is waited for so long: a caller hears silence meanwhile. At most this share of
# the time that is left, and this many seconds (a model loads) more than so many times what the text should take.
SHARE = 0.6
GRACE_SECONDS = 3.0
SLOWNESS = 10.0
RECENT_REQUESTS = 1024


@dataclass(slots=True)
class _Seat:
    engine: SpeechEngine
    breaker: Breaker


@dataclass(frozen=True, slots=True)
class _Order:
    """What one engine is asked for, and the digest of everything that makes it sound as it does."""

    script: Script
    language: str
    voice: str
    digest: str

    @classmethod
    def of(cls, engine: SpeechEngine, script: Script, language: str, voice_id: str) -> _Order:
        voice = engine.voice(language, voice_id)
        return cls(script, language, voice, cache_key(engine, voice, language, script))


class Speech:
    """``engines`` in order of preference, already started. ``clock`` is monotonic seconds."""

    def __init__(
        self,
        settings: Settings,
        engines: Sequence[SpeechEngine],
        store: PromptStore,
        converter: WorkerPool,
        observer: MediaObserver,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = settings.speech_timeout_seconds
        self._seats = [_Seat(engine, Breaker(clock=clock)) for engine in engines]
        self._store = store
        self._converter = converter
        self._observer = observer
        self._clock = clock
        self._flights: SingleFlight[Prompt] = SingleFlight()
        # What the best engine made of a request: saves parsing and hashing on the path of every call.
        self._recent: dict[tuple[str, str, str], str] = {}

    async def close(self) -> None:
        await self._flights.close()

    def health(self) -> dict[str, str]:
        return {
            seat.engine.name: "open" if seat.breaker.is_open else "ready" if seat.engine.ready else "loading"
            for seat in self._seats
        }

    async def speech(self, text: str, language: str, voice_id: str) -> Prompt:
        """The prompt of ``text``. Raises `MediaFailed`, and nothing else."""
        request = (text, language, voice_id)
        prompt = self._cached(self._recent.get(request, ""))
        if prompt is not None:
            return prompt
        try:
            script = parse(text)
        except InvalidArgument as error:
            raise MediaFailed(error.message, reason="SPEECH_FAILED") from error
        tag = canonical(language)
        seats = [seat for seat in self._seats if seat.engine.speaks(tag)] if tag else []
        if not seats:
            raise MediaFailed(f"no speech engine here speaks {language[:40]!r}", reason="SPEECH_FAILED")
        # Who would not be done in time comes last, and only when the others fail.
        seats.sort(key=lambda seat: self._too_slow(seat.engine, script))
        deadline = self._clock() + self._timeout
        faults: list[str] = []
        for seat in seats:
            order = _Order.of(seat.engine, script, tag, voice_id)
            if seat is seats[0]:
                self._remember(request, order.digest)
            prompt = self._cached(order.digest)
            if prompt is not None:
                return prompt
            if not seat.breaker.admits():
                faults.append(f"{seat.engine.name}: failed lately")
                continue
            left = deadline - self._clock()
            if seat is not seats[-1]:
                left = min(left * SHARE, GRACE_SECONDS + SLOWNESS * _estimate(seat.engine, script))
            try:
                return await self._attempt(seat, order, left)
            except EngineFailed as error:
                faults.append(f"{seat.engine.name}: {error}")
        raise MediaFailed(
            f"no engine could speak the text ({'; '.join(faults)})"[:500], reason="SPEECH_FAILED"
        )

    def _cached(self, digest: str) -> Prompt | None:
        prompt = self._store.get("speech", digest) if digest else None
        if prompt is not None:
            self._observer.media_done("speech", "cache", "ok", 0.0)
        return prompt

    def _remember(self, request: tuple[str, str, str], digest: str) -> None:
        self._recent[request] = digest
        if len(self._recent) > RECENT_REQUESTS:
            del self._recent[next(iter(self._recent))]

    def _too_slow(self, engine: SpeechEngine, script: Script) -> bool:
        return _estimate(engine, script) > self._timeout * SHARE

    async def _attempt(self, seat: _Seat, order: _Order, seconds: float) -> Prompt:
        try:
            async with asyncio.timeout(seconds):
                return await self._flights.run(order.digest, lambda: self._render(seat, order))
        except TimeoutError:
            # The rendering goes on: what comes late serves the next call, and closes the breaker again.
            seat.breaker.failed()
            log.warning("speech_engine_slow", engine=seat.engine.name, seconds=round(seconds, 1))
            raise EngineFailed(f"no speech within {seconds:.1f} s") from None

    async def _render(self, seat: _Seat, order: _Order) -> Prompt:
        engine, started, result = seat.engine, self._clock(), "failed"
        try:
            with self._store.workspace() as stem:
                source = stem.with_name(f"{stem.name}.wav")
                await engine.synthesize(order.script, order.language, order.voice, source, self._timeout)
                await self._convert(str(source), str(stem))
                prompt = await self._store.put("speech", order.digest, stem)
            seat.breaker.succeeded()
            result = "ok"
        except (EngineBusy, EngineRefused) as error:
            result = "busy" if isinstance(error, EngineBusy) else "refused"
            seat.breaker.undecided()
            raise
        except EngineFailed as error:
            seat.breaker.failed()
            log.warning("speech_engine_failed", engine=engine.name, error=str(error), language=order.language)
            raise
        except BaseException:
            seat.breaker.undecided()
            raise
        finally:
            self._observer.media_done("speech", engine.name, result, self._clock() - started)
        return prompt

    async def _convert(self, source: str, target: str) -> None:
        job = {
            "op": "convert",
            "source": source,
            "target": target,
            "max_seconds": MAX_SPEECH_SECONDS,
            "cpu_seconds": 60,
        }
        try:
            await self._converter.run(job, seconds=self._timeout)
        except WorkerBusy as error:
            raise EngineBusy(str(error)) from error
        except WorkerError as error:
            if isinstance(error.__cause__, OSError):
                raise await self._store.failure(error.__cause__) from error
            raise EngineFailed(f"its sound cannot be converted: {error}") from error


def _estimate(engine: SpeechEngine, script: Script) -> float:
    """How many seconds the engine should work for ``script`` on a quiet machine."""
    return script.characters * engine.capabilities.seconds_per_character


def cache_key(engine: SpeechEngine, voice: str, language: str, script: Script) -> str:
    """The digest of everything that makes this speech sound as it does."""
    facts = [
        CONVERTER,
        engine.name,
        engine.capabilities.version,
        engine.capabilities.sample_rate,
        voice,
        language,
        [repr(piece) for piece in script.pieces],
    ]
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()
