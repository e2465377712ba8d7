"""Recordings: the audio of an RTP stream laid on the time line of the call, as a WAV file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from ringline.sandbox.audio.g711 import RATE

_HEAD = struct.Struct("<4sI4s4sIHHIIHH4sI")
_KEEP = RATE // 2 * 2  # bytes that stay in memory so that a late packet finds its place
_WRITE_AT = 4 * _KEEP


class Timeline:
    """Where in the recording each packet belongs (positions are samples since the answer).

    Timestamps rule, arrival only anchors: packets that follow each other without a gap in their timestamps are
    joined however late they come. A pause is as long as the timestamps say while that agrees with the clock within
    half a second. A short jump of the timestamps without a lost packet is a sender that was held up, not silence that
    it meant: it is joined, as a telephone's play-out buffer would.
    """

    HICCUP = RATE // 4
    DISAGREEMENT = RATE // 2

    def __init__(self) -> None:
        self._ssrc: int | None = None
        self._base = 0
        self._next_timestamp = 0
        self._next_sequence = 0
        self._start = 0
        self._after_key = False
        self.head = 0

    def place(
        self, ssrc: int, sequence: int, timestamp: int, samples: int, elapsed: int, *, key: bool = False
    ) -> int | None:
        """Position of a packet of so many samples that arrived ``elapsed`` samples after the answer.

        ``key``: it is the end of a key press, whose neighbours in time are never moved towards it. ``None`` where the
        packet comes too late to be placed.
        """
        held_up = not key and not self._after_key
        self._after_key = key
        ahead = _signed(timestamp - self._next_timestamp, 32)
        skipped = _signed(sequence - self._next_sequence, 16)
        if ssrc != self._ssrc or abs(ahead) > 60 * RATE:
            self._anchor(max(self.head, elapsed), timestamp)
            self._ssrc = ssrc
        elif ahead < 0:
            position = self._base + ahead
            # The late one's place is before the expected one's; it never reaches into an earlier stream.
            return position if skipped < 0 and position >= self._start else None
        else:
            expected = self._base + ahead
            if held_up and skipped <= 0 and 0 < ahead <= self.HICCUP:
                expected = self._base
            if elapsed - expected > self.DISAGREEMENT and (ahead > 0 or elapsed - expected > 2 * RATE):
                expected = elapsed
            elif expected - elapsed > self.DISAGREEMENT and ahead > 0:
                expected = max(self._base, elapsed)
            self._base = expected
        position = self._base
        self._base = position + samples
        self._next_timestamp = (timestamp + samples) & 0xFFFFFFFF
        self._next_sequence = (sequence + 1) & 0xFFFF
        self.head = max(self.head, self._base)
        return position

    def pass_over(self, sequence: int) -> None:
        """Count a packet that carries no audio of its own, so that it is not taken for a lost one."""
        if _signed(sequence - self._next_sequence, 16) >= 0:
            self._next_sequence = (sequence + 1) & 0xFFFF

    def _anchor(self, position: int, timestamp: int) -> None:
        self._base = self._start = position
        self._next_timestamp = timestamp


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Recording:
    """A WAV file (8 kHz, 16 bits, one channel) written in pieces; its header is right once it is closed."""

    def __init__(self, path: Path, *, limit: int) -> None:
        """Create the file. ``limit`` is the most seconds it holds. ``OSError`` as from ``open``."""
        self.path = path
        self._limit = limit * RATE * 2
        self._tail = bytearray()
        self._written = 0
        self._file: BinaryIO | None = path.open("xb", buffering=0)
        self._file.write(_header(0))

    def write(self, position: int, pcm: bytes) -> None:
        """Put samples (16 bits, little-endian) at a position in samples; what is skipped stays silent."""
        offset = position * 2 - self._written
        if offset < 0 or position * 2 + len(pcm) > self._limit or self._file is None:
            return
        if offset > len(self._tail):
            self._tail.extend(bytes(offset - len(self._tail)))
        self._tail[offset : offset + len(pcm)] = pcm
        if len(self._tail) > _WRITE_AT:
            self._flush(len(self._tail) - _KEEP)

    def close(self, length: int) -> None:
        """Fill up with silence to ``length`` samples and finish the header. Once only."""
        if self._file is None:
            return
        missing = min(length * 2, self._limit) - self._written - len(self._tail)
        if missing > 0:
            self._tail.extend(bytes(missing))
        try:
            self._flush(len(self._tail))
            self._file.seek(0)
            self._file.write(_header(self._written))
        finally:
            self._file.close()
            self._file = None

    def _flush(self, count: int) -> None:
        if self._file is not None:
            self._file.write(self._tail[:count])
            self._written += count
            del self._tail[:count]


def _header(size: int) -> bytes:
    return _HEAD.pack(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16, b"data", size)
