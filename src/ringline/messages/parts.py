"""How many parts a text takes on the radio: 3GPP TS 23.038 (alphabets) and TS 23.040 (concatenation). No I/O."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

_GSM: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet: a septet each."""
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")
"""Its extension table: an escape and a septet, which stay together."""

GSM_SINGLE: Final = 160
GSM_PART: Final = 153
UCS2_SINGLE: Final = 70
UCS2_PART: Final = 67
"""Units of 16 bits; a character beyond U+FFFF takes two, which stay together."""

Encoding = Literal["GSM-7", "UCS-2"]


class Parts(NamedTuple):
    """What a text takes: ``units`` are septets or 16-bit units."""

    encoding: Encoding
    units: int
    number: int


def count(text: str) -> Parts:
    """The parts of a text. One character outside of GSM-7 makes all of it UCS-2; an empty text is one part."""
    if all(character in _GSM or character in _EXTENDED for character in text):
        sizes = [2 if character in _EXTENDED else 1 for character in text]
        return _counted("GSM-7", sizes, GSM_SINGLE, GSM_PART)
    return _counted("UCS-2", [2 if character > "\uffff" else 1 for character in text], UCS2_SINGLE, UCS2_PART)


def _counted(encoding: Encoding, sizes: list[int], single: int, each: int) -> Parts:
    units = sum(sizes)
    if units <= single:
        return Parts(encoding, units, 1)
    parts, room = 1, each
    for size in sizes:
        if size > room:
            parts, room = parts + 1, each
        room -= size
    return Parts(encoding, units, parts)
