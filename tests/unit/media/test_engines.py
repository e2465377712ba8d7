"""What each engine makes of a script and of its settings, before anything runs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import SecretStr

from ringline.media.engines import EngineFailed, create
from ringline.media.engines.espeak import markup
from ringline.media.engines.openai import OpenAIEngine, body, endpoint
from ringline.media.engines.piper import pieces
from ringline.media.ssml import parse
from ringline.settings import Settings


def test_engines_come_in_the_order_of_the_settings_once_each() -> None:
    settings = Settings(speech_engines=["espeak", "piper", "espeak", "openai"])
    assert [engine.name for engine in create(settings)] == ["espeak", "piper", "openai"]


def test_espeak_gets_ssml_of_our_own_writing() -> None:
    script = parse(
        '<speak>a &lt;b&gt;<break time="1s"/><prosody rate="50%" pitch="120%" volume="-6dB">c</prosody>'
        '<say-as interpret-as="characters">ab</say-as><say-as interpret-as="digits">12</say-as>'
        '<audio src="/etc/passwd">d</audio></speak>'
    )
    assert markup(script, "en-US") == (
        '<speak> a &lt;b&gt; <break time="1000ms"/><prosody rate="50%" pitch="120%" volume="50%">c</prosody>'
        ' <say-as interpret-as="characters">ab</say-as>  1 2  d </speak>'
    )


def test_plain_text_cannot_reach_espeaks_own_language() -> None:
    found = markup(parse('[[t]] <audio src="/etc/passwd"/> <voice name="x"> & -v de'), "en-US")
    assert "[[" not in found
    assert "<audio" not in found
    assert "&lt;audio" in found
    assert "&amp;" in found


def test_piper_gets_text_and_factors() -> None:
    script = parse(
        '<speak>One [[x]].<break time="200ms"/><prosody rate="2.0" pitch="0.9" volume="+3dB">Two</prosody>'
        '<say-as interpret-as="digits">34</say-as> ! </speak>'
    )
    assert pieces(script, "en-US") == [
        {"text": "One  x .", "rate": 1.0, "pitch": 1.0, "decibel": 0.0},
        {"pause_ms": 200},
        {"text": "Two", "rate": 2.0, "pitch": 0.9, "decibel": 3.0},
        {"text": "3 4", "rate": 1.0, "pitch": 1.0, "decibel": 0.0},
    ]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://tts:9000", "http://tts:9000/v1/audio/speech"),
        ("http://tts:9000/", "http://tts:9000/v1/audio/speech"),
        ("http://tts:9000/v1", "http://tts:9000/v1/audio/speech"),
        ("https://tts/proxy/v1/", "https://tts/proxy/v1/audio/speech"),
        ("http://tts/v1/audio/speech", "http://tts/v1/audio/speech"),
        ("", ""),
    ],
)
def test_the_openai_url_as_people_write_it(url: str, found: str) -> None:
    assert endpoint(url) == found


def test_the_openai_request() -> None:
    script = parse(
        '<speak><prosody rate="80%">A longer text, most of all.</prosody><break/>'
        '<say-as interpret-as="digits">12</say-as></speak>'
    )
    assert body(script, "en-US", "alloy", "tts-1") == {
        "model": "tts-1",
        "voice": "alloy",
        "input": "A longer text, most of all. 1 2",
        "response_format": "wav",
        "speed": 0.8,
    }


@pytest.mark.parametrize("url", ["", "ftp://tts/", "tts:9000", "http://"])
async def test_an_openai_engine_without_a_usable_url_does_not_start(url: str) -> None:
    engine = OpenAIEngine(Settings(speech_openai_url=url, speech_openai_key=SecretStr("k")))
    with pytest.raises(EngineFailed):
        await engine.start()
    await engine.close()


def test_a_voice_id_is_passed_on_only_when_it_can_be_one() -> None:
    engine = OpenAIEngine(Settings(speech_openai_url="http://tts", speech_openai_voice="alloy"))
    assert engine.voice("en-US", "nova") == "nova"
    assert engine.voice("en-US", "") == "alloy"
    assert engine.voice("en-US", "../x y") == "alloy"


def test_importing_media_loads_nothing_heavy() -> None:
    """The controller's memory per process and the workers' start depend on it."""
    code = (
        "import sys, ringline.media, ringline.media.address_guard\n"
        "print([m for m in ('numpy', 'soundfile', 'soxr', 'onnxruntime', 'aiohttp') if m in sys.modules])\n"
        "import ringline.media.library\n"
        "print([m for m in ('numpy', 'soundfile', 'soxr', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
