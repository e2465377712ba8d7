"""What the carrier lets callers hear: ring-back, a beep, key tones and the answering machine's greeting."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import numpy as np

from ringline.sandbox.audio import g711

_ROWS = (697, 770, 852, 941)
_COLUMNS = (1209, 1336, 1477, 1633)
_KEYS = ("123A", "456B", "789C", "*0#D")


@lru_cache(maxsize=64)
def tone(frequencies: tuple[int, ...], milliseconds: int, level: int = 4000) -> g711.Linear:
    """A sum of sines with 5 ms slopes against clicks; ``level`` is the peak of each."""
    count = g711.RATE * milliseconds // 1000
    time = np.arange(count) / g711.RATE
    wave = sum((np.sin(2 * np.pi * frequency * time) for frequency in frequencies), np.zeros(count)) * level
    slope = min(count // 2, g711.RATE // 200)
    if slope:
        ramp = np.linspace(0, 1, slope)
        wave[:slope] *= ramp
        wave[count - slope :] *= ramp[::-1]
    samples: g711.Linear = np.clip(wave, -32768, 32767).astype(np.int16)
    return samples


def ringback(milliseconds: int) -> g711.Linear:
    """The North American ring-back pair (440 and 480 Hz), without its pauses."""
    return tone((440, 480), milliseconds)


def beep() -> g711.Linear:
    """An answering machine's beep: 1 kHz for half a second."""
    return tone((1000,), 500, 8000)


def key(digit: str, milliseconds: int) -> g711.Linear:
    """The pair of tones of a key (ITU-T Q.23), for peers that take no telephone events."""
    for row, keys in zip(_ROWS, _KEYS, strict=True):
        if digit in keys:
            return tone((row, _COLUMNS[keys.index(digit)]), milliseconds)
    raise ValueError(f"no such key: {digit!r}")


@lru_cache(maxsize=1)
def greeting() -> g711.Linear:
    """Five seconds of a voice (``greeting.wav`` beside this module: 8 kHz, 16 bits, one channel)."""
    data = resources.files(__package__).joinpath("greeting.wav").read_bytes()
    at = data.index(b"data") + 8
    return np.frombuffer(data[at:], dtype="<i2").astype(np.int16)
