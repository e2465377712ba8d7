"""Text and SSML to a `Script`: a small parser of our own over expat, without DTD and entities.

Follows W3C SSML 1.1 for ``speak``, ``p``, ``s``, ``break``, ``prosody``, ``say-as`` and ``sub``; of any other
element the text is spoken, as the recommendation asks of processors that do not know it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import replace
from xml.parsers import expat

from ringline.errors import InvalidArgument

from .script import Pause, Piece, Script, Speak, Style

MAX_CHARACTERS = 5000
MAX_DEPTH = 32
MAX_ELEMENTS = 1000
MAX_BREAK_MS = 10_000
MAX_PAUSES_MS = 120_000

_STRENGTHS_MS = {"none": 0, "x-weak": 100, "weak": 250, "medium": 500, "strong": 750, "x-strong": 1000}
_RATES = {"x-slow": 0.6, "slow": 0.8, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.6}
_PITCHES = {"x-low": 0.7, "low": 0.85, "medium": 1.0, "default": 1.0, "high": 1.15, "x-high": 1.3}
_VOLUMES_DB = {
    "silent": -96.0,
    "x-soft": -12.0,
    "soft": -6.0,
    "medium": 0.0,
    "default": 0.0,
    "loud": 3.0,
    "x-loud": 6.0,
}
_BOUNDARIES_MS = {"p": 500, "s": 250}
_TYPICAL_PITCH_HZ = 120.0

_TIME = re.compile(r"\s*\+?(\d+(?:\.\d+)?)(ms|s)\s*\Z", re.ASCII)
_NUMBER = re.compile(r"\s*([+-]?)(\d+(?:\.\d+)?)\s*(%|st|Hz|dB|)\s*\Z", re.ASCII | re.IGNORECASE)
_SPACES = re.compile(r"\s+")


def check_text(text: str) -> None:
    """Whether ``text`` (plain or ``<speak>``) can be spoken; cheap enough for the path of a request.

    Raises `InvalidArgument` that says what is wrong and, in SSML, in which line and column.
    """
    parse(text)


def parse(text: str) -> Script:
    """The script of ``text``: SSML when it begins with ``<speak``, otherwise plain text, ``<`` and all."""
    if len(text) > MAX_CHARACTERS:
        raise _invalid(f"text has {len(text)} characters; at most {MAX_CHARACTERS} can be spoken at once")
    _check_characters(text)
    stripped = text.strip()
    if re.match(r"(<\?xml[^>]*\?>\s*)?(<!--|<!DOCTYPE|<speak[\s/>])", stripped, re.IGNORECASE):
        pieces = _Parser().parse(stripped)
    else:
        pieces = (Speak(_SPACES.sub(" ", stripped)),)
    if not any(c.isalnum() for piece in pieces if isinstance(piece, Speak) for c in piece.text):
        raise _invalid("text holds nothing that can be spoken: write at least one letter or digit")
    script = Script(pieces)
    if script.pause_ms > MAX_PAUSES_MS:
        raise _invalid(f"the breaks of the text add up to more than {MAX_PAUSES_MS // 1000} s")
    return script


def _check_characters(text: str) -> None:
    if text.isprintable():
        return
    for position, character in enumerate(text):
        if character.isprintable() or character in "\t\n\r":
            continue
        if unicodedata.category(character) in {"Cc", "Cs", "Cn", "Co"}:
            raise _invalid(
                f"text holds the control or unassigned character U+{ord(character):04X} at position "
                f"{position + 1}; remove it"
            )


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(message, details=[{"field": "text"}])


class _Parser:
    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._text: list[str] = []
        self._styles = [Style()]
        self._elements: list[str] = []
        self._count = 0
        self._muted = 0
        self._expat = parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def parse(self, text: str) -> tuple[Piece, ...]:
        try:
            # Bytes, so that an encoding named in an XML declaration cannot contradict what is there.
            self._expat.Parse(re.sub(r"^<\?xml[^>]*\?>", "", text).encode(), True)
        except expat.ExpatError as error:
            what = expat.ErrorString(error.code)
            raise _invalid(
                f"the SSML is not well-formed: {what} at line {error.lineno}, column {error.offset + 1}"
            ) from None
        self._flush()
        while self._pieces and isinstance(self._pieces[-1], Pause) and self._pieces[-1].milliseconds == 0:
            self._pieces.pop()
        return tuple(self._pieces)

    def _fault(self, what: str) -> InvalidArgument:
        line, column = self._expat.CurrentLineNumber, self._expat.CurrentColumnNumber + 1
        return _invalid(f"{what} at line {line}, column {column} of the SSML")

    def _doctype(self, *_: object) -> None:
        raise self._fault("a DOCTYPE is not allowed")

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        name = qualified.rpartition(":")[2].lower()
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._elements) >= MAX_DEPTH:
            raise self._fault(f"more than {MAX_ELEMENTS} elements or {MAX_DEPTH} levels")
        if not self._elements and name != "speak":
            raise self._fault("the outermost element has to be <speak>, not")
        self._elements.append(name)
        style = self._styles[-1]
        if name in _BOUNDARIES_MS:
            self._boundary(name)
        elif name == "break":
            self._flush()
            self._pause(self._break_ms(attributes))
        elif name == "prosody":
            self._flush()
            style = self._prosody(style, attributes)
        elif name == "say-as":
            self._flush()
            style = self._say_as(style, attributes)
        elif name == "sub":
            self._text.append(attributes.get("alias", ""))
        elif name in {"metadata", "meta", "desc"}:
            self._text.append(" ")
        if name in {"sub", "metadata", "desc"} and (name != "sub" or "alias" in attributes):
            self._muted += 1
        self._styles.append(style)

    def _end(self, _: str) -> None:
        name = self._elements.pop()
        if name in {"prosody", "say-as"}:
            self._flush()
        elif name in _BOUNDARIES_MS:
            self._boundary(name)
        elif name in {"sub", "metadata", "desc"} and self._muted:
            self._muted -= 1
        self._styles.pop()

    def _characters(self, data: str) -> None:
        if not self._muted:
            self._text.append(data)

    def _flush(self) -> None:
        text = _SPACES.sub(" ", "".join(self._text))
        self._text.clear()
        if not text.strip():
            return
        style = self._styles[-1]
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, Speak) and last.style == style and not style.say_as:
            self._pieces[-1] = Speak(last.text + text, style)
        else:
            self._pieces.append(Speak(text, style))

    def _boundary(self, name: str) -> None:
        """Paragraphs and sentences are set apart, but nothing is added beside a break or at the beginning."""
        self._flush()
        wanted = _BOUNDARIES_MS[name]
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, Speak):
            self._pieces.append(Pause(wanted))
        elif last is not None and last.milliseconds < wanted:
            self._pieces[-1] = Pause(wanted)

    def _pause(self, milliseconds: int) -> None:
        if milliseconds:
            self._pieces.append(Pause(milliseconds))

    def _break_ms(self, attributes: dict[str, str]) -> int:
        if "${" in attributes.get("time", attributes.get("strength", "")):
            return 0  # a variable: judged when the call has put its value in
        if "time" in attributes:
            match = _TIME.match(attributes["time"])
            if match is None:
                raise self._fault(
                    f'<break time="{attributes["time"][:40]}"> is not a time such as "500ms" or "1.5s"'
                )
            milliseconds = round(float(match[1]) * (1000 if match[2] == "s" else 1))
            if milliseconds > MAX_BREAK_MS:
                raise self._fault(f"a <break> lasts at most {MAX_BREAK_MS // 1000} s")
            return milliseconds
        strength = attributes.get("strength", "medium")
        if strength not in _STRENGTHS_MS:
            raise self._fault(f'<break strength="{strength[:40]}"> is none of {", ".join(_STRENGTHS_MS)}')
        return _STRENGTHS_MS[strength]

    def _say_as(self, style: Style, attributes: dict[str, str]) -> Style:
        kind = attributes.get("interpret-as", "").strip().lower()
        return replace(style, say_as=kind, say_format=attributes.get("format", "").strip().lower())

    def _prosody(self, style: Style, attributes: dict[str, str]) -> Style:
        if "rate" in attributes:
            rate = self._factor("rate", attributes["rate"], style.rate, _RATES)
            style = replace(style, rate=min(max(rate, 0.4), 3.0))
        if "pitch" in attributes:
            pitch = self._factor("pitch", attributes["pitch"], style.pitch, _PITCHES)
            style = replace(style, pitch=min(max(pitch, 0.5), 2.0))
        if "volume" in attributes:
            volume = self._decibel(attributes["volume"], style.volume)
            style = replace(style, volume=min(max(volume, -96.0), 12.0))
        return style

    def _factor(self, attribute: str, value: str, current: float, names: dict[str, float]) -> float:
        """SSML 1.1, 3.2.4: a bare percentage or number is of the default, one with a sign is a change."""
        if "${" in value:
            return current
        if value.strip().lower() in names:
            return names[value.strip().lower()]
        match = _NUMBER.match(value)
        unit = match[3].lower() if match else ""
        if match is None or unit == "db" or (attribute == "rate" and unit in {"st", "hz"}):
            raise self._prosody_fault(attribute, value, names)
        sign, number = match[1], float(match[2])
        signed = -number if sign == "-" else number
        if unit == "st":
            return float(current * 2 ** (min(max(signed, -24.0), 24.0) / 12))
        if unit == "hz":
            return current + signed / _TYPICAL_PITCH_HZ if sign else number / _TYPICAL_PITCH_HZ
        if unit == "%":
            return current * (1 + signed / 100) if sign else number / 100
        return current * (1 + signed) if sign else number

    def _decibel(self, value: str, current: float) -> float:
        name = value.strip().lower()
        if "${" in value:
            return current
        if name in _VOLUMES_DB:
            return _VOLUMES_DB[name]
        match = _NUMBER.match(value)
        unit = match[3].lower() if match else ""
        if match is None or unit in {"st", "hz"}:
            raise self._prosody_fault("volume", value, _VOLUMES_DB)
        signed = -float(match[2]) if match[1] == "-" else float(match[2])
        if unit == "db":
            return current + signed
        share = 1 + signed / 100 if match[1] else signed / 100
        return current + 20 * math.log10(share) if share > 1e-4 else -96.0

    def _prosody_fault(self, attribute: str, value: str, names: dict[str, float]) -> InvalidArgument:
        known = ", ".join(names)
        return self._fault(f'<prosody {attribute}="{value[:40]}"> is neither a number nor one of {known}')
