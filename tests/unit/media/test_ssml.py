"""Text and SSML become scripts; what is wrong is said with its place."""

from __future__ import annotations

import time

import pytest

from ringline.errors import InvalidArgument
from ringline.media import check_text
from ringline.media.script import PLAIN, Pause, Speak, Style
from ringline.media.ssml import MAX_CHARACTERS, parse


def pieces(text: str) -> tuple[object, ...]:
    return parse(text).pieces


def test_plain_text_is_one_piece_with_its_white_space_folded() -> None:
    assert pieces("  Hello,\n\tworld & <friends>  ") == (Speak("Hello, world & <friends>"),)


@pytest.mark.parametrize(
    ("attribute", "milliseconds"),
    [
        ('time="500ms"', 500),
        ('time="1.5s"', 1500),
        ('time="+2s"', 2000),
        ('strength="weak"', 250),
        ('strength="x-strong"', 1000),
        ("", 500),
    ],
)
def test_breaks_become_pauses(attribute: str, milliseconds: int) -> None:
    assert pieces(f"<speak>one<break {attribute}/>two</speak>") == (
        Speak("one"),
        Pause(milliseconds),
        Speak("two"),
    )


def test_a_break_of_no_strength_is_no_pause() -> None:
    assert pieces('<speak>one<break strength="none"/> two</speak>') == (Speak("one two"),)


@pytest.mark.parametrize(
    ("attribute", "style"),
    [
        ('rate="slow"', Style(rate=0.8)),
        ('rate="80%"', Style(rate=0.8)),
        ('rate="1.5"', Style(rate=1.5)),
        ('rate="+20%"', Style(rate=1.2)),
        ('rate="-50%"', Style(rate=0.5)),
        ('rate="900%"', Style(rate=3.0)),
        ('pitch="high"', Style(pitch=1.15)),
        ('pitch="+12st"', Style(pitch=2.0)),
        ('pitch="-10%"', Style(pitch=0.9)),
        ('volume="+6dB"', Style(volume=6.0)),
        ('volume="100"', Style(volume=0.0)),
        ('volume="silent"', Style(volume=-96.0)),
        ('volume="0"', Style(volume=-96.0)),
    ],
)
def test_prosody(attribute: str, style: Style) -> None:
    (piece,) = pieces(f"<speak><prosody {attribute}>word</prosody></speak>")
    assert isinstance(piece, Speak)
    assert piece.style.rate == pytest.approx(style.rate)
    assert piece.style.pitch == pytest.approx(style.pitch)
    assert piece.style.volume == pytest.approx(style.volume)


def test_prosody_nests_and_ends() -> None:
    found = pieces(
        '<speak>a<prosody rate="50%">b<prosody rate="+100%" pitch="low">c</prosody>d</prosody>e</speak>'
    )
    assert found == (
        Speak("a"),
        Speak("b", Style(rate=0.5)),
        Speak("c", Style(rate=1.0, pitch=0.85)),
        Speak("d", Style(rate=0.5)),
        Speak("e"),
    )


def test_say_as_keeps_kind_and_format_for_the_engine() -> None:
    found = pieces('<speak>On <say-as interpret-as="DATE" format="mdy">1/2/2026</say-as></speak>')
    assert found == (Speak("On "), Speak("1/2/2026", Style(say_as="date", say_format="mdy")))


def test_paragraphs_and_sentences_are_set_apart_once() -> None:
    found = pieces("<speak><p><s>One.</s><s>Two.</s></p><p>Three.</p></speak>")
    assert found == (
        Speak("One."),
        Pause(250),
        Speak("Two."),
        Pause(500),
        Speak("Three."),
        Pause(500),
    )


def test_sub_speaks_its_alias_instead() -> None:
    assert pieces('<speak>The <sub alias="world wide web">WWW</sub>.</speak>') == (
        Speak("The world wide web."),
    )


def test_text_of_unknown_elements_is_spoken() -> None:
    found = pieces(
        '<speak xmlns:x="urn:x"><x:y>One</x:y> <audio src="file:///etc/passwd">two</audio><mark name="m"/></speak>'
    )
    assert found == (Speak("One two"),)


def test_standard_entities_and_cdata_are_text() -> None:
    assert pieces("<speak>a &amp; b &#65; <![CDATA[<c>]]></speak>") == (Speak("a & b A <c>"),)


def test_variables_in_attributes_wait_for_their_values() -> None:
    check_text(
        '<speak>Hi ${name}<break time="${pause}"/><prosody rate="${rate}" volume="${v}">x</prosody></speak>'
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<speak>one<break></speak>", ("well-formed", "line 1", "column")),
        ("<speak>\n\none & two</speak>", ("well-formed", "line 3")),
        ("<speak>a&nbsp;b</speak>", ("line 1",)),
        ('<speak>x<break time="soon"/></speak>', ("soon", "500ms", "line 1, column 9")),
        ('<speak>x<break time="-1s"/></speak>', ("-1s",)),
        ('<speak>x<break time="11s"/></speak>', ("at most 10 s",)),
        ('<speak>x<break strength="mighty"/></speak>', ("mighty", "x-strong")),
        ('<speak><prosody rate="quick">x</prosody></speak>', ("quick", "x-fast")),
        ('<speak><prosody rate="5dB">x</prosody></speak>', ("5dB",)),
        ('<speak><prosody volume="3st">x</prosody></speak>', ("3st",)),
        ('<!DOCTYPE speak [<!ENTITY a "b">]><speak>&a;</speak>', ("DOCTYPE",)),
        ('<?xml version="1.0"?><!DOCTYPE speak SYSTEM "file:///etc/passwd"><speak>x</speak>', ("DOCTYPE",)),
        ("<!-- x --><p>text</p>", ("outermost", "<speak>")),
        ("<speak>" + "<p>" * 40 + "x" + "</p>" * 40 + "</speak>", ("levels",)),
        ("<speak>" + "<b/>" * 1100 + "x</speak>", ("elements",)),
        ("<speak>x" + '<break time="10s"/>' * 20 + "</speak>", ("add up",)),
        ("<speak></speak>", ("nothing that can be spoken",)),
        ("", ("nothing that can be spoken",)),
        (" ... !? \n", ("nothing that can be spoken",)),
        ("bell \x07", ("U+0007", "position 6")),
        ("null \x00", ("U+0000",)),
        ("half \ud800", ("U+D800",)),
        ("x" * (MAX_CHARACTERS + 1), ("5001", "5000")),
        ("x" * 100_000, ("100000", "5000")),
    ],
)
def test_what_is_wrong_is_named(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_text(text)
    for word in words:
        assert word in caught.value.message
    assert caught.value.details == [{"field": "text"}]
    assert len(caught.value.message) < 300


def test_entity_bombs_never_expand() -> None:
    bomb = '<!DOCTYPE l [<!ENTITY a "lol">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
    )
    started = time.perf_counter()
    with pytest.raises(InvalidArgument, match="DOCTYPE"):
        check_text(bomb + "]><speak>&j;</speak>")
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    "text", ["x" * MAX_CHARACTERS, "Grüße, 世界, नमस्ते, مرحبا", "7", "a\u200db \N{EM DASH} c 🎉"]
)
def test_what_can_be_spoken_passes(text: str) -> None:
    check_text(text)


def test_a_script_counts_what_engines_work_on() -> None:
    script = parse('<speak>abc<break time="1s"/>de<break time="20ms"/></speak>')
    assert script.characters == 5
    assert script.pause_ms == 1020
    assert Style() == PLAIN
