"""Where each part of a JSON text stands, so that a fault can be shown with its line. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast

Location = tuple[str | int, ...]

_STRING: Final = cast("Any", json.decoder).scanstring
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SCALAR: Final = re.compile(r"[^ \t\r\n,\]}]+")


class Located:
    """The offsets of a JSON text's values; a member of an object stands where its name does."""

    def __init__(self, text: str) -> None:
        """``text`` is JSON that ``json.loads`` has read. Raises ``RecursionError`` where it is nested too deep."""
        self._text = text
        self._offsets: dict[Location, int] = {}
        self._value(_skip(text, 0), ())

    def line(self, location: Location) -> tuple[int, int]:
        """Line and column (from 1) of a place, or of the nearest place around it that is there."""
        while location and location not in self._offsets:
            location = location[:-1]
        offset = self._offsets.get(location, 0)
        return self._text.count("\n", 0, offset) + 1, offset - self._text.rfind("\n", 0, offset)

    def _value(self, at: int, location: Location) -> int:
        self._offsets.setdefault(location, at)
        match self._text[at]:
            case "{":
                return self._object(at, location)
            case "[":
                return self._array(at, location)
            case '"':
                return int(_STRING(self._text, at + 1, False)[1])
            case _:
                found = _SCALAR.match(self._text, at)
                return found.end() if found else at + 1

    def _object(self, at: int, location: Location) -> int:
        at = _skip(self._text, at + 1)
        while self._text[at] != "}":
            name, end = _STRING(self._text, at + 1, False)
            self._offsets[(*location, name)] = at
            at = _skip(self._text, _skip(self._text, end) + 1)
            at = self._more(self._value(at, (*location, name)))
        return at + 1

    def _array(self, at: int, location: Location) -> int:
        at, index = _skip(self._text, at + 1), 0
        while self._text[at] != "]":
            at, index = self._more(self._value(at, (*location, index))), index + 1
        return at + 1

    def _more(self, at: int) -> int:
        at = _skip(self._text, at)
        return _skip(self._text, at + 1) if self._text[at] == "," else at


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def fault_of(error: json.JSONDecodeError) -> str:
    """What is wrong with a text that is no JSON."""
    return f"{error.lineno}:{error.colno}: it is no JSON: {error.msg[:1].lower()}{error.msg[1:]}"
