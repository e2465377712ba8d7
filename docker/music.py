"""Makes the music on hold: ``music.py DIRECTORY`` writes ``hold.ulaw`` (8 kHz) and ``hold.sln16`` (16 kHz).

Four soft chords with a slow arpeggio, composed and synthesised here, so that nobody's rights are on it. Every note's
tail that passes the end is added to the beginning: the piece is a loop without a seam. Standard library only: it runs
while the image is built.
"""

from __future__ import annotations

import math
import sys
from array import array
from pathlib import Path

BEAT_SECONDS = 0.5
BEATS_PER_CHORD = 8
LEVEL = 0.25
"""Loudest sample: some 12 dB below full scale, about as loud as speech."""
CHORDS = (
    (48, (60, 64, 67, 71)),
    (45, (57, 60, 64, 67)),
    (53, (57, 60, 65, 69)),
    (43, (59, 62, 67, 69)),
)
"""A bass note and the notes above it, by MIDI number: Cmaj7, Am7, Fmaj7, G6/9."""
PATTERN = (0, 1, 2, 3, 2, 1, 2, 1)
PARTIALS = ((1, 1.0), (2, 0.35), (3, 0.12))
SECONDS = BEAT_SECONDS * BEATS_PER_CHORD * len(CHORDS)


def frequency(note: int) -> float:
    """Equal temperament, A4 (69) at 440 Hz."""
    return 440.0 * 2.0 ** ((note - 69) / 12)


def samples(rate: int) -> list[float]:
    """The loop, between -``LEVEL`` and ``LEVEL``."""
    loop = [0.0] * round(SECONDS * rate)

    def strike(note: int, begin: float, seconds: float, strength: float, attack: float) -> None:
        first, turn = round(begin * rate), 2 * math.pi * frequency(note) / rate
        for at in range(round(seconds * rate)):
            time = at / rate
            envelope = min(1.0, time / attack) * math.exp(-3.0 * time / seconds) * (1.0 - time / seconds)
            wave = sum(level * math.sin(turn * at * partial) for partial, level in PARTIALS)
            loop[(first + at) % len(loop)] += strength * envelope * wave

    for number, (bass, notes) in enumerate(CHORDS):
        begin = number * BEATS_PER_CHORD * BEAT_SECONDS
        strike(bass + 12, begin, BEATS_PER_CHORD * BEAT_SECONDS * 1.2, 0.7, 0.15)
        for beat, step in enumerate(PATTERN):
            strike(notes[step] + 12, begin + beat * BEAT_SECONDS, 2.2, 0.6, 0.01)
    loudest = max(map(abs, loop))
    return [LEVEL * value / loudest for value in loop]


def ulaw(value: float) -> int:
    """One sample as G.711 mu-law (ITU-T G.711)."""
    linear = max(-32635, min(32635, round(value * 32767)))
    sign, magnitude = (0x80, -linear) if linear < 0 else (0, linear)
    magnitude += 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | magnitude >> (exponent + 3) & 0x0F) & 0xFF


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hold.ulaw").write_bytes(bytes(map(ulaw, samples(8000))))
    wide = array("h", (round(value * 32767) for value in samples(16000)))
    if sys.byteorder == "big":
        wide.byteswap()
    (directory / "hold.sln16").write_bytes(wide.tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
