"""Sounds: those that were rendered, those that the tests make, and where one is found within another."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from tests.stack.rtp import linear, read_wav

RATE = 8000
CLEAR = 0.9
PIECE = RATE // 4
PAUSE = RATE
Samples = NDArray[np.float64]

__all__ = ["RATE", "Match", "Samples", "chirp", "encode", "find", "read_prompt", "read_wav"]


@dataclass(frozen=True)
class Match:
    """``peak`` is the normalised cross-correlation (1 is identical), ``start`` and ``end`` are seconds."""

    peak: float
    start: float
    end: float


def read_prompt(path: Path) -> Samples:
    """A rendered prompt, raw mu-law of 8 kHz."""
    return linear(path.read_bytes())


def find(recording: Samples, sound: Samples) -> Match:
    """Where ``sound`` is in ``recording``. One that a held-up machine interrupted counts with its pause."""
    whole = _match(recording, sound)
    if whole.peak > CLEAR or sound.size < RATE:
        return whole
    pieces = _resumed(recording, sound)
    return pieces if pieces.peak > whole.peak else whole


def _resumed(recording: Samples, sound: Samples) -> Match:
    """The sound in pieces, in order, with pauses of ``PAUSE`` in all between them; its peak is the mean by energy."""
    found, total, begin, lag = 0.0, 0.0, 0, None
    loud = float(np.mean(sound**2)) / 100
    for at in range(0, sound.size, PIECE):
        piece = sound[at : at + PIECE]
        if piece.size < PIECE // 2 or float(np.mean(piece**2)) < loud:
            continue
        base = 0 if lag is None else max(0, at + lag)
        until = recording.size if lag is None else base + piece.size + PAUSE - (lag - begin)
        match = _match(recording[base:until], piece)
        energy = float(np.sum(piece**2))
        found, total = found + match.peak * energy, total + energy
        if lag is None:
            begin = lag = round(match.start * RATE) - at
        elif match.peak > CLEAR:
            lag += round(match.start * RATE)
    end = begin if lag is None else lag
    return Match(found / total if total else 0.0, begin / RATE, (end + sound.size) / RATE)


def _match(recording: Samples, sound: Samples) -> Match:
    """Where ``sound`` is in ``recording``: at each position the correlation is divided by the energy there, so that
    something louder elsewhere does not win."""
    if recording.size < sound.size:
        recording = np.pad(recording, (0, sound.size - recording.size))
    product = fftconvolve(recording, sound[::-1], mode="valid")
    energy = np.concatenate(([0.0], np.cumsum(recording**2)))
    there = energy[sound.size :] - energy[: -sound.size]
    # a window of near silence would correlate with anything
    floor = 1e-3 * float(np.sum(sound**2)) + 1e-9
    scores = product / np.sqrt(np.maximum(there, floor) * float(np.sum(sound**2)))
    at = int(np.argmax(scores))
    return Match(float(scores[at]), at / RATE, (at + sound.size) / RATE)


def chirp(begin: float, end: float, seconds: float = 1.2) -> Samples:
    """A tone that glides between two frequencies (Hz): nothing else looks like it."""
    time = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * (begin * time + (end - begin) * time**2 / (2 * seconds))
    fade = np.minimum(1.0, np.minimum(time, seconds - time) / 0.02)
    return np.sin(phase) * fade * 0.5


def encode(sound: Samples, kind: str, *, rate: int = RATE) -> bytes:
    """The sound as a file: ``wav``, ``mp3`` or ``ogg``, at ``rate`` Hz, which must be a multiple of 8000."""
    factor = rate // RATE
    spread = np.interp(np.arange(sound.size * factor) / factor, np.arange(sound.size), sound)
    file = io.BytesIO()
    subtype = {"wav": "PCM_16", "mp3": "MPEG_LAYER_III", "ogg": "VORBIS"}[kind]
    soundfile.write(file, spread, rate, format=kind.upper(), subtype=subtype)
    return file.getvalue()
