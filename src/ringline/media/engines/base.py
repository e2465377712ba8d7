"""What every speech engine is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..languages import match
from ..script import Script


class EngineFailed(Exception):
    """The engine did not make speech of this script; another one may."""


class EngineBusy(EngineFailed):
    """The engine is well but has too much to do; its breaker does not count this."""


class EngineRefused(EngineFailed):
    """This engine cannot speak this script, which says nothing about the next one: not counted either, or a
    customer could switch an engine off for all."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine says of itself once it has started.

    ``languages`` are canonical BCP 47 tags, ``None`` means any. ``ssml`` are the features it really follows.
    ``version`` changes whenever the same request would sound different. ``seconds_per_character`` is how
    long it works for a character of text, to see beforehand that a long text will not be ready in time.
    """

    version: str
    languages: frozenset[str] | None
    ssml: frozenset[str]
    sample_rate: int
    seconds_per_character: float


class SpeechEngine(ABC):
    """Made from settings; ``start`` is quick and raises `EngineFailed` when the engine cannot work at all."""

    name: ClassVar[str]
    capabilities: Capabilities

    @abstractmethod
    async def start(self) -> None:
        """Find out versions and voices; whatever takes long goes on in the background."""

    @abstractmethod
    async def close(self) -> None:
        """Give back processes and sessions. Idempotent."""

    @abstractmethod
    def voice(self, language: str, voice_id: str) -> str:
        """The engine's own name of the voice for ``language``; a ``voice_id`` it does not know is ignored."""

    @abstractmethod
    async def synthesize(
        self, script: Script, language: str, voice: str, target: Path, seconds: float
    ) -> None:
        """Write ``script`` as a WAV file to ``target`` within ``seconds``. Raises `EngineFailed`."""

    @property
    def ready(self) -> bool:
        """False while the engine still loads; requests may be made nevertheless and wait."""
        return True

    @property
    @abstractmethod
    def jobs(self) -> int:
        """How many requests wait or are being worked on."""

    def speaks(self, language: str) -> bool:
        known = self.capabilities.languages
        return known is None or match(language, known) is not None
