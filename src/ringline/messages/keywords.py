"""What a handset says with one word: STOP, HELP, START and their like, and the first word of any text. No I/O.

People write them in any case, with stops and spaces, and keyboards add what cannot be seen (zero-width characters,
full-width letters): all that is taken away first.
"""

from __future__ import annotations

import enum
import unicodedata
from typing import Final

MAX_KEYWORD: Final = 64


class Word(enum.StrEnum):
    """What carriers make every sender understand (CTIA, Messaging Principles, section 5.1.3)."""

    STOP = "STOP"
    START = "START"
    HELP = "HELP"


_WORDS: Final = {
    **dict.fromkeys(("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"), Word.STOP),
    **dict.fromkeys(("START", "YES", "UNSTOP"), Word.START),
    **dict.fromkeys(("HELP", "INFO"), Word.HELP),
}
_LONGEST: Final = 200
"""Characters within which such a word stands alone; a longer text says more than that."""
_LOOKED_AT: Final = 10 * _LONGEST
"""Characters that may be there with those that cannot be seen."""
_FILLERS: Final = frozenset("\u115f\u1160\u3164\uffa0")
"""Hangul fillers: letters to Unicode, nothing to the eye."""


def word(text: str) -> Word | None:
    """Which of those words the whole text is; a word among others (``stop by at 5``) means nothing."""
    if len(text) > _LOOKED_AT:
        return None
    seen = _plain(text)
    return None if len(seen) > _LONGEST else _WORDS.get(_letters(seen))


def keyword(text: str) -> str:
    """The first word of a text in capital letters without anything around it: ``" hours?"`` is ``HOURS``."""
    for token in _plain(text[:_LOOKED_AT]).split():
        if letters := _letters(token):
            return letters[:MAX_KEYWORD]
    return ""


def _plain(text: str) -> str:
    """Compatibility forms folded (NFKC), and without what cannot be seen: of format (Cf), fillers."""
    return "".join(
        character
        for character in unicodedata.normalize("NFKC", text)
        if character not in _FILLERS and unicodedata.category(character) != "Cf"
    )


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalnum()).upper()
