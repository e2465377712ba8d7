"""Words that handsets say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringline.messages.keywords import MAX_KEYWORD, Word, keyword, word

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u202e"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("STOP", Word.STOP),
        ("stop", Word.STOP),
        ("  Stop.\n", Word.STOP),
        ("s.t.o.p", Word.STOP),
        ("Stop all!", Word.STOP),
        ("STOPALL", Word.STOP),
        ("“Unsubscribe”", Word.STOP),
        ("cancel", Word.STOP),
        ("End", Word.STOP),
        ("quit 🛑", Word.STOP),
        ("ＳＴＯＰ", Word.STOP),
        ("S\u200bTO\u2060P\ufeff", Word.STOP),
        ("STOP" + 300 * "\u200b", Word.STOP),
        ("\u3164STOP\uffa0", Word.STOP),
        ("help?", Word.HELP),
        ("Info", Word.HELP),
        ("START", Word.START),
        ("Yes!", Word.START),
        ("unstop", Word.START),
        ("stop by at five", None),
        ("don't stop", None),
        ("STO", None),
        ("", None),
        ("!!!", None),
        ("HOURS", None),
        ("STOP" + " " * 300, None),
    ],
)
def test_the_whole_text_is_the_word(text: str, meant: Word | None) -> None:
    assert word(text) is meant


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("HOURS", "HOURS"),
        (" hours? please", "HOURS"),
        ("¿Horas?", "HORAS"),
        ("h\u200bours", "HOURS"),
        (900 * "\u200b" + "\u115fhours", "HOURS"),
        ("— opening hours", "OPENING"),
        ("ｈｏｕｒｓ", "HOURS"),
        ("straße", "STRASSE"),
        ("42 apples", "42"),
        ("👍", ""),
        ("", ""),
    ],
)
def test_the_first_word(text: str, first: str) -> None:
    assert keyword(text) == first


@given(
    st.sampled_from(["STOP", "HELP", "START", "unsubscribe", "Yes"]),
    st.lists(st.sampled_from([*INVISIBLE, " ", ".", "!", "\t"]), max_size=20),
    st.randoms(use_true_random=False),
)
def test_what_cannot_be_seen_or_means_nothing_changes_nothing(
    said: str, noise: list[str], order: object
) -> None:
    letters = list(said)
    for index, sign in enumerate(noise):
        letters.insert(index % (len(letters) + 1), sign)
    assert word("".join(letters)) is word(said) is not None


@given(st.text(max_size=2000))
def test_any_text_has_a_first_word_or_none(text: str) -> None:
    found = keyword(text)
    assert len(found) <= MAX_KEYWORD
    assert not set(found) & set(" \t\n\u200b.!")
