"""Parts of texts: the alphabets and the limits of 3GPP TS 23.038 and 23.040."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringline.messages import parts

BASIC = "aZ0 @£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ!¤¡ÄÖÑÜ§¿äöñüà\n\r"
EXTENDED = "^{}\\[~]|€\f"


@pytest.mark.parametrize(
    ("text", "encoding", "units", "count"),
    [
        ("", "GSM-7", 0, 1),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3),
        ("€" * 80, "GSM-7", 160, 1),
        ("€" * 81, "GSM-7", 162, 2),
        # 153 is odd: an escape and its character move to the next part together
        ("€" * 153, "GSM-7", 306, 3),
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 306, 3),
        ("ç", "UCS-2", 1, 1),
        ("`" * 70, "UCS-2", 70, 1),
        ("я" * 71, "UCS-2", 71, 2),
        ("я" * 134, "UCS-2", 134, 2),
        ("я" * 135, "UCS-2", 135, 3),
        ("😀" * 35, "UCS-2", 70, 1),
        ("😀" * 36, "UCS-2", 72, 2),
        # 67 is odd: a pair of surrogates is not split
        ("😀" * 67, "UCS-2", 134, 3),
        ("a" * 159 + "ы", "UCS-2", 160, 3),
        (BASIC, "GSM-7", len(BASIC), 1),
        (EXTENDED, "GSM-7", 2 * len(EXTENDED), 1),
    ],
)
def test_what_a_text_takes(text: str, encoding: str, units: int, count: int) -> None:
    assert parts.count(text) == (encoding, units, count)


@given(st.text(max_size=700))
def test_parts_hold_the_text_and_are_not_wasted(text: str) -> None:
    found = parts.count(text)
    single, each = (160, 153) if found.encoding == "GSM-7" else (70, 67)
    if found.encoding == "UCS-2":
        assert found.units == len(text.encode("utf-16-le", "surrogatepass")) // 2
    if found.units <= single:
        assert found.number == 1
    else:
        # at most one unit of a part stays empty
        assert -(-found.units // each) <= found.number <= -(-found.units // (each - 1))


@given(st.text(max_size=300), st.text(max_size=300))
def test_more_text_takes_no_fewer_parts(one: str, more: str) -> None:
    assert parts.count(one + more).number >= parts.count(one).number
