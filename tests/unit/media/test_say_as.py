"""What ``<say-as>`` turns into."""

from __future__ import annotations

import pytest

from ringline.media.say_as import expand


@pytest.mark.parametrize(
    ("text", "kind", "form", "language", "spoken"),
    [
        ("ab1 c", "characters", "", "en-US", "A, B, 1, C"),
        ("ab", "spell-out", "", "en-US", "A, B"),
        ("1234", "digits", "", "en-US", "1 2 3 4"),
        ("12-34", "digits", "", "de", "1 2-3 4"),
        ("+1 (555) 010-9999", "telephone", "", "en-US", "+ 1, 5 5 5, 0 1 0, 9 9 9 9"),
        ("1,234,567", "cardinal", "", "en-US", "1234567"),
        ("1,5", "cardinal", "", "de", "1,5"),
        ("1", "ordinal", "", "en-US", "1st"),
        ("12", "ordinal", "", "en-US", "12th"),
        ("23", "ordinal", "", "en-US", "23rd"),
        ("3", "ordinal", "", "fr", "3"),
        ("2026-11-21", "date", "", "en-US", "November 21st, 2026"),
        ("20261121", "date", "yyyymmdd", "en-US", "November 21st, 2026"),
        ("11/02/2026", "date", "mdy", "en-US", "November 2nd, 2026"),
        ("02.11.2026", "date", "dmy", "en-GB", "November 2nd, 2026"),
        ("21112026", "date", "ddmmyyyy", "en-GB", "November 21st, 2026"),
        ("02.11.2026", "date", "dmy", "de-DE", "2 11 2026"),
        ("11/2026", "date", "my", "en-US", "November 2026"),
        ("99/99/2026", "date", "mdy", "en-US", "99/99/2026"),
        ("tomorrow", "date", "mdy", "en-US", "tomorrow"),
        (" as it is ", "address", "", "en-US", "as it is"),
    ],
)
def test_expand(text: str, kind: str, form: str, language: str, spoken: str) -> None:
    assert expand(text, kind, form, language) == spoken
