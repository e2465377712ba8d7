"""Worker: decodes a sound file and writes it as Asterisk plays it, 8 kHz mu-law and 16 kHz linear.

``libsndfile`` reads what strangers send, so it runs here with little memory, little time and no secrets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ringline.media.workers import mulaw
from ringline.media.workers.serve import Job, Refused, limit, serve

MEMORY_BYTES = 1536 * 1024**2
FILE_BYTES = 256 * 1024**2
BLOCK_FRAMES = 32_768
MAX_CHANNELS = 8
RATES = range(4_000, 192_001)
PEAK = 0.98

_FORMATS = {
    "WAV": frozenset({"PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE", "ULAW", "ALAW"}),
    "WAVEX": frozenset({"PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE", "ULAW", "ALAW"}),
    "FLAC": frozenset({"PCM_S8", "PCM_16", "PCM_24"}),
    "OGG": frozenset({"VORBIS", "OPUS"}),
    "MP3": frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}),
}

Samples = NDArray[np.float32]


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # it ships no types
    """A sound that is read forwards only.

    After each read of a seekable file the package seeks to where it is already, and an MP3 decoder that has been
    made to seek has lost the frames its next one builds on: it clicks at every block.
    """

    def seekable(self) -> bool:
        return False


def convert(job: Job) -> Job:
    """``source`` (any known sound file) to ``target``.ulaw and ``target``.sln16.

    ``max_seconds`` bounds the sound, whatever its header says. Answers ``duration_ms``. A sound that is too
    loud to survive resampling is turned down as a whole; nothing is turned up.
    """
    blocks = list(_mono_16k(Path(job["source"]), float(job["max_seconds"])))
    wide = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    blocks.clear()
    if wide.size == 0:
        raise Refused("the file holds no sound")
    _fit(wide)
    target = job["target"]
    Path(f"{target}.sln16").write_bytes(_linear(wide).astype("<i2").tobytes())
    narrow = _resampled(wide, 16_000, 8_000)
    _fit(narrow)
    Path(f"{target}.ulaw").write_bytes(mulaw.encode(_linear(narrow)))
    return {"duration_ms": round(wide.size / 16)}


def beep(job: Job) -> Job:
    """A tone of ``hertz`` and ``milliseconds``, faded so that it does not click, to ``target``."""
    for rate, suffix in ((16_000, "sln16"), (8_000, "ulaw")):
        count = rate * int(job["milliseconds"]) // 1000
        time = np.arange(count) / rate
        fade = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.01)
        tone = _linear((0.4 * fade * np.sin(2 * math.pi * float(job["hertz"]) * time)).astype(np.float32))
        data = tone.astype("<i2").tobytes() if suffix == "sln16" else mulaw.encode(tone)
        Path(f"{job['target']}.{suffix}").write_bytes(data)
    return {"duration_ms": int(job["milliseconds"])}


def _mono_16k(source: Path, max_seconds: float) -> Iterator[Samples]:
    try:
        with _Stream(source) as sound:
            _check(sound)
            most = int(max_seconds * sound.samplerate)
            resampler = soxr.ResampleStream(sound.samplerate, 16_000, 1, dtype="float32", quality="HQ")
            frames = 0
            while True:
                block = sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
                frames += len(block)
                if frames > most:
                    raise Refused(f"the sound is longer than {max_seconds:g} s")
                mono = np.nan_to_num(block.mean(axis=1, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
                last = len(block) < BLOCK_FRAMES
                yield resampler.resample_chunk(mono, last=last)
                if last:
                    return
    except (soundfile.LibsndfileError, soundfile.SoundFileRuntimeError) as error:
        raise Refused(f"the sound cannot be decoded: {error}") from error
    except MemoryError as error:
        raise Refused("the sound needs more memory than it may have") from error


def _check(sound: Any) -> None:
    """Only the formats we promise, found by content: libsndfile knows far more, less well tested, ones."""
    if sound.subtype not in _FORMATS.get(sound.format, ()):
        raise Refused(f"{sound.format} with {sound.subtype} is not supported: use WAV, MP3, Ogg or FLAC")
    if sound.channels > MAX_CHANNELS or sound.samplerate not in RATES:
        raise Refused(f"{sound.channels} channels at {sound.samplerate} Hz are out of range")


def _resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    step = rate * 10
    parts = [
        resampler.resample_chunk(samples[at : at + step], last=at + step >= samples.size)
        for at in range(0, samples.size, step)
    ]
    return np.concatenate(parts)


def _fit(samples: Samples) -> None:
    if samples.size == 0:
        return
    peak = max(float(samples.max()), -float(samples.min()))
    if peak > PEAK:
        samples *= np.float32(PEAK / peak)


def _linear(samples: Samples) -> NDArray[np.int16]:
    linear: NDArray[np.int16] = np.rint(np.clip(samples, -1.0, 1.0) * np.float32(32767)).astype(np.int16)
    return linear


if __name__ == "__main__":
    limit(memory_bytes=MEMORY_BYTES, file_bytes=FILE_BYTES)
    serve({"convert": convert, "beep": beep})
