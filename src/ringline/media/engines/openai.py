"""Any server that speaks OpenAI's ``POST /v1/audio/speech``. The operator names it, so it may be a private
one.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import aiohttp

from ringline.settings import Settings

from ..say_as import expand
from ..script import Script, Speak
from .base import Capabilities, EngineFailed, EngineRefused, SpeechEngine

MAX_BYTES = 64 * 1024**2
CONNECT_SECONDS = 3.0
VOICE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


class OpenAIEngine(SpeechEngine):
    name: ClassVar[str] = "openai"

    def __init__(self, settings: Settings) -> None:
        self._url = endpoint(settings.speech_openai_url)
        self._key = settings.speech_openai_key.get_secret_value()
        self._model = settings.speech_openai_model
        self._default_voice = settings.speech_openai_voice
        self._session: aiohttp.ClientSession | None = None
        self._jobs = 0

    async def start(self) -> None:
        if urlsplit(self._url).scheme not in {"http", "https"} or not urlsplit(self._url).hostname:
            raise EngineFailed("RINGLINE_SPEECH_OPENAI_URL is not an http(s) URL")
        self.capabilities = Capabilities(
            version=f"{self._url}#{self._model}",
            languages=None,
            ssml=frozenset({"prosody-rate", "say-as", "p", "s", "sub"}),
            sample_rate=24_000,
            seconds_per_character=0.004,
        )
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            connector=aiohttp.TCPConnector(limit=8),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def jobs(self) -> int:
        return self._jobs

    def voice(self, language: str, voice_id: str) -> str:
        """``voice_id`` itself when it can be one: servers have voices of their own naming."""
        usable = voice_id and len(voice_id) <= 64 and VOICE_CHARACTERS.issuperset(voice_id)
        return voice_id if usable else self._default_voice

    async def synthesize(
        self, script: Script, language: str, voice: str, target: Path, seconds: float
    ) -> None:
        if self._session is None:
            raise EngineFailed("closed")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._jobs += 1
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.post(
                    self._url,
                    json=body(script, language, voice, self._model),
                    headers=headers,
                    allow_redirects=False,
                ) as response,
            ):
                if response.status in {400, 422}:
                    raise EngineRefused(f"the server answered {response.status}")
                if response.status != 200:
                    raise EngineFailed(f"the server answered {response.status}")
                sound = await _read(response)
        except TimeoutError:
            raise EngineFailed(f"no answer within {seconds:.1f} s") from None
        except aiohttp.ClientError as error:
            raise EngineFailed(f"{type(error).__name__}: {error}"[:300]) from error
        finally:
            self._jobs -= 1
        if not sound:
            raise EngineFailed("the server answered without a sound")
        await asyncio.to_thread(target.write_bytes, sound)


def endpoint(url: str) -> str:
    """The speech URL of a base URL as people write it: with or without ``/v1`` or the whole path."""
    url = url.strip().rstrip("/")
    if not url or url.endswith("/audio/speech"):
        return url
    return f"{url}/audio/speech" if url.endswith("/v1") else f"{url}/v1/audio/speech"


def body(script: Script, language: str, voice: str, model: str) -> dict[str, Any]:
    """The request. It knows one speed for all, so that of most of the text is taken."""
    spoken = [piece for piece in script.pieces if isinstance(piece, Speak)]
    text = " ".join(
        expand(piece.text, piece.style.say_as, piece.style.say_format, language).strip() for piece in spoken
    )
    speed = max(spoken, key=lambda piece: len(piece.text)).style.rate
    request: dict[str, Any] = {"model": model, "voice": voice, "input": text, "response_format": "wav"}
    if speed != 1.0:
        request["speed"] = round(speed, 2)
    return request


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or 0) > MAX_BYTES:
        raise EngineFailed(f"the server's sound is larger than {MAX_BYTES} bytes")
    sound = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        sound += chunk
        if len(sound) > MAX_BYTES:
            raise EngineFailed(f"the server's sound is larger than {MAX_BYTES} bytes")
    return bytes(sound)
