"""G.711 mu-law against values of the recommendation and against its own bounds."""

from __future__ import annotations

import numpy as np
import pytest

from ringline.media.workers import mulaw


def encode(*values: int) -> list[int]:
    return list(mulaw.encode(np.array(values, np.int16)))


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        # ITU-T G.711 table 2a and 2b: decision values and codes, its 14 bits scaled to 16
        (0, 0xFF),
        (32767, 0x80),
        (-32768, 0x00),
        (8159 * 4, 0x80),
        (4063 * 4, 0x8F),
        (2015 * 4, 0x9F),
        (991 * 4, 0xAF),
        (479 * 4, 0xBF),
        (223 * 4, 0xCF),
        (95 * 4, 0xDF),
        (31 * 4, 0xEF),
        (1 * 4, 0xFE),
        (-1 * 4, 0x7E),
        (-31 * 4, 0x6F),
        (-4063 * 4, 0x0F),
        (1000, 0xCE),
        (-1000, 0x4E),
    ],
)
def test_known_codes(sample: int, code: int) -> None:
    assert encode(sample) == [code]


@pytest.mark.parametrize(
    ("code", "sample"), [(0x80, 32124), (0x00, -32124), (0xFF, 0), (0x7F, 0), (0xEF, 132), (0xFE, 8)]
)
def test_known_values(code: int, sample: int) -> None:
    assert list(mulaw.decode(bytes([code]))) == [sample]


def test_every_code_survives_a_round_trip() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)  # minus zero comes back as plus zero
    assert mulaw.encode(mulaw.decode(codes)) == codes


def test_the_error_is_within_half_a_step_everywhere() -> None:
    samples = np.arange(-32635, 32636, dtype=np.int16)
    error = np.abs(mulaw.decode(mulaw.encode(samples)).astype(int) - samples)
    step = np.maximum(8, 2.0 ** (np.floor(np.log2(np.abs(samples.astype(int)) + 132)) - 4))
    assert (error <= step / 2 + 4).all()


def test_louder_stays_louder() -> None:
    values = mulaw.decode(mulaw.encode(np.arange(-32768, 32768).astype(np.int16)))
    assert (np.diff(values.astype(int)) >= 0).all()
