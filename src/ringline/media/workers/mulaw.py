"""G.711 mu-law (ITU-T G.711, table 2a/2b): 16-bit linear to 8-bit codes and back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BIAS = 33
CLIP = 8158  # with the bias the largest 13 bits can hold


def encode(samples: NDArray[np.int16]) -> bytes:
    """One code per sample; G.711 works on 14 bits, so 16-bit samples lose their two lowest first."""
    return bytes(_codes()[samples.view(np.uint16)])


def decode(codes: bytes) -> NDArray[np.int16]:
    """The 16-bit value of each code: the middle of its interval."""
    code = ~np.frombuffer(codes, np.uint8)
    segment = ((code >> 4) & 7).astype(np.int32)
    magnitude = ((((code & 15).astype(np.int32) << 1) + BIAS) << segment) - BIAS
    return (np.where(code & 0x80, -magnitude, magnitude) * 4).astype(np.int16)


@lru_cache(maxsize=1)
def _codes() -> NDArray[np.uint8]:
    """The code of each of the 65,536 sample values, indexed by the value's unsigned form."""
    linear = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(linear) >> 2, CLIP) + BIAS
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 5
    mantissa = (magnitude >> (segment + 1)) & 15
    code = (segment << 4) | mantissa
    codes: NDArray[np.uint8] = (~np.where(linear < 0, code | 0x80, code) & 0xFF).astype(np.uint8)
    return codes
