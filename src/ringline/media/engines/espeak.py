"""espeak-ng: over a hundred languages from Debian's package of the same name; robotic, instant, always
there.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar
from xml.sax.saxutils import escape

from ringline.settings import Settings

from ..languages import match
from ..say_as import CHARACTERS, expand
from ..script import Pause, Script, Speak
from ..worker import WorkerBusy, WorkerError, WorkerPool, WorkerRefused
from .base import Capabilities, EngineBusy, EngineFailed, EngineRefused, SpeechEngine

WORDS_PER_MINUTE = 165
START_SECONDS = 30.0


class EspeakEngine(SpeechEngine):
    name: ClassVar[str] = "espeak"

    def __init__(self, settings: Settings) -> None:
        self._pool = WorkerPool("ringline.media.workers.espeak", size=2)
        self._program = "espeak-ng"
        self._voices: dict[str, str] = {}
        self._variants: frozenset[str] = frozenset()

    async def start(self) -> None:
        program = shutil.which(self._program)
        if program is None:
            raise EngineFailed("the program espeak-ng is not installed (Debian package espeak-ng)")
        self._program = program
        try:
            facts = await self._pool.run({"op": "describe", "program": program}, seconds=START_SECONDS)
        except WorkerError as error:
            raise EngineFailed(str(error)) from error
        self._voices = facts["voices"]
        self._variants = frozenset(facts["variants"])
        self.capabilities = Capabilities(
            version=f"{facts['version']}/{WORDS_PER_MINUTE}",
            languages=frozenset(self._voices),
            ssml=frozenset(
                {"break", "prosody-rate", "prosody-pitch", "prosody-volume", "say-as", "p", "s", "sub"}
            ),
            sample_rate=22_050,
            seconds_per_character=0.0005,
        )

    async def close(self) -> None:
        await self._pool.close()

    @property
    def jobs(self) -> int:
        return self._pool.jobs

    def voice(self, language: str, voice_id: str) -> str:
        """``voice_id`` may be one of espeak's variants, such as ``f3`` or ``Andrea``."""
        tag = match(language, self._voices) or ""
        voice = self._voices.get(tag, "en-us")
        return f"{voice}+{voice_id}" if voice_id in self._variants else voice

    async def synthesize(
        self, script: Script, language: str, voice: str, target: Path, seconds: float
    ) -> None:
        job = {
            "op": "speak",
            "program": self._program,
            "markup": markup(script, language),
            "voice": voice,
            "words_per_minute": WORDS_PER_MINUTE,
            "target": str(target),
            "seconds": seconds,
            "cpu_seconds": 30,
        }
        try:
            await self._pool.run(job, seconds=seconds)
        except WorkerBusy as error:
            raise EngineBusy(str(error)) from error
        except WorkerRefused as error:
            raise EngineRefused(str(error)) from error
        except WorkerError as error:
            raise EngineFailed(str(error)) from error


def markup(script: Script, language: str) -> str:
    """``script`` in the SSML that espeak-ng really follows. Always SSML: in its plain text ``[[`` means
    phonemes, and of a customer's own markup nothing gets through, because espeak plays files that
    ``<audio>`` names.
    """
    parts = []
    for piece in script.pieces:
        if isinstance(piece, Pause):
            parts.append(f'<break time="{piece.milliseconds}ms"/>')
        else:
            parts.append(_spoken(piece, language))
    return f"<speak>{''.join(parts)}</speak>"


def _spoken(piece: Speak, language: str) -> str:
    style = piece.style
    if style.say_as in CHARACTERS:
        inner = f'<say-as interpret-as="characters">{escape(piece.text.strip())}</say-as>'
    else:
        inner = escape(expand(piece.text, style.say_as, style.say_format, language))
    # ``[[`` starts phonemes in SSML, too; brackets are not spoken anyway.
    inner = inner.replace("[[", " ").replace("]]", " ")
    attributes = ""
    if style.rate != 1.0:
        attributes += f' rate="{style.rate * 100:.0f}%"'
    if style.pitch != 1.0:
        attributes += f' pitch="{style.pitch * 100:.0f}%"'
    if style.volume != 0.0:
        attributes += f' volume="{100 * 10 ** (style.volume / 20):.0f}%"'
    return f"<prosody{attributes}>{inner}</prosody>" if attributes else f" {inner} "
