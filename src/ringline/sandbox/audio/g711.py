"""G.711 (ITU-T): both laws to and from 16-bit linear samples, by table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 8000
FRAME = 160  # samples in 20 ms

Linear = NDArray[np.int16]


def _ulaw_table() -> Linear:
    codes = ~np.arange(256, dtype=np.uint8)
    exponent = ((codes >> 4) & 7).astype(np.int32)
    magnitude = (((codes & 15).astype(np.int32) << 3) + 0x84 << exponent) - 0x84
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> Linear:
    codes = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent = ((codes >> 4) & 7).astype(np.int32)
    mantissa = (codes & 15).astype(np.int32) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(codes & 0x80, magnitude, -magnitude).astype(np.int16)


def _encoder(decoder: Linear) -> NDArray[np.uint8]:
    """For each 16-bit value the code whose decoded value lies nearest."""
    order = np.argsort(decoder, kind="stable")
    values = decoder[order].astype(np.int32)
    middles = (values[1:] + values[:-1]) / 2
    every = np.arange(-32768, 32768)
    return order[np.searchsorted(middles, every)].astype(np.uint8)


_DECODE = {"PCMU": _ulaw_table(), "PCMA": _alaw_table()}
_ENCODE = {law: _encoder(table) for law, table in _DECODE.items()}
SILENCE = {"PCMU": b"\xff" * FRAME, "PCMA": b"\xd5" * FRAME}


def decode(law: str, payload: bytes) -> bytes:
    """Companded octets as little-endian 16-bit samples."""
    return _DECODE[law][np.frombuffer(payload, dtype=np.uint8)].astype("<i2").tobytes()


def encode(law: str, samples: Linear) -> bytes:
    """16-bit samples as companded octets."""
    return _ENCODE[law][samples.astype(np.int32) + 32768].tobytes()
