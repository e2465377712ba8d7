"""How many short messages a text is sent in (3GPP TS 23.038 alphabets, TS 23.040 concatenation).

The carrier's own count: it judges the one of the product.
"""

from __future__ import annotations

from typing import Final

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")


def is_gsm(text: str) -> bool:
    """Whether the GSM 7 bit default alphabet has all of it."""
    return all(letter in _BASIC or letter in _EXTENDED for letter in text)


def count(text: str) -> int:
    """Parts of a text, at least one. A letter that takes two units is never divided."""
    if is_gsm(text):
        widths, alone, joined = [2 if letter in _EXTENDED else 1 for letter in text], 160, 153
    else:
        widths, alone, joined = [2 if ord(letter) > 0xFFFF else 1 for letter in text], 70, 67
    if sum(widths) <= alone:
        return 1
    parts, room = 1, joined
    for width in widths:
        if width > room:
            parts, room = parts + 1, joined
        room -= width
    return parts
