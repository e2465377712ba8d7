"""Ears for tests: prompts read back and compared with what they should hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import correlate, stft

from ringline.media import Prompt
from ringline.media.workers import mulaw

Sound = NDArray[np.float64]


def narrow(prompt: Prompt) -> Sound:
    """The 8 kHz mu-law file, decoded to -1..1."""
    return mulaw.decode(Path(f"{prompt.path}.ulaw").read_bytes()) / 32768


def wide(prompt: Prompt) -> Sound:
    """The 16 kHz linear file as -1..1."""
    return np.frombuffer(Path(f"{prompt.path}.sln16").read_bytes(), "<i2") / 32768


def resampled(sound: Sound, rate: int, wanted: int) -> Sound:
    return np.asarray(soxr.resample(sound, rate, wanted, quality="HQ"))


def likeness(one: Sound, other: Sound) -> float:
    """The highest normalised cross-correlation of two sounds over all lags: 1.0 for the same."""
    product = correlate(one, other, mode="full", method="fft")
    return float(np.max(np.abs(product)) / (np.linalg.norm(one) * np.linalg.norm(other)))


def level(sound: Sound) -> float:
    """Root mean square in dB of full scale."""
    return float(20 * np.log10(np.sqrt(np.mean(sound**2)) + 1e-12))


def pitch(sound: Sound, rate: int) -> float:
    """The median fundamental frequency of the voiced parts in Hz, by autocorrelation."""
    size, found = rate // 20, []
    loud = np.sqrt(np.mean(sound**2))
    for at in range(0, len(sound) - size, size // 2):
        frame = sound[at : at + size]
        if np.sqrt(np.mean(frame**2)) < loud:
            continue
        product = correlate(frame, frame, mode="full")[size - 1 :]
        low, high = rate // 400, rate // 60
        lag = low + int(np.argmax(product[low:high]))
        if product[lag] > 0.5 * product[0]:
            found.append(rate / lag)
    return float(np.median(found))


def longest_silence(sound: Sound, rate: int) -> float:
    """Seconds of the longest stretch under -50 dB."""
    size = rate // 100
    quiet = [
        np.sqrt(np.mean(sound[at : at + size] ** 2)) < 10 ** (-50 / 20)
        for at in range(0, len(sound) - size, size)
    ]
    longest = run = 0
    for frame in quiet:
        run = run + 1 if frame else 0
        longest = max(longest, run)
    return longest / 100


def loudest_hertz(sound: Sound, rate: int) -> float:
    frequencies, _, power = stft(sound, rate, nperseg=1024)
    return float(frequencies[np.argmax(np.abs(power).sum(axis=1))])
