"""Speech engines: one module each, all alike; a new one is registered here and named in
``settings.speech_engines``.
"""

from __future__ import annotations

from collections.abc import Callable

from ringline.settings import Settings

from .base import Capabilities, EngineBusy, EngineFailed, EngineRefused, SpeechEngine
from .espeak import EspeakEngine
from .openai import OpenAIEngine
from .piper import PiperEngine

__all__ = ["ENGINES", "Capabilities", "EngineBusy", "EngineFailed", "EngineRefused", "SpeechEngine", "create"]

ENGINES: dict[str, Callable[[Settings], SpeechEngine]] = {
    "piper": PiperEngine,
    "espeak": EspeakEngine,
    "openai": OpenAIEngine,
}


def create(settings: Settings) -> list[SpeechEngine]:
    """The engines of the settings, in their order of preference."""
    return [ENGINES[name](settings) for name in dict.fromkeys(settings.speech_engines)]
