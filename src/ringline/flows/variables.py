"""Variables of a flow: ``${name}`` in the text of any option, replaced just before the action runs.

What is put in is never looked through again: a value that came from a caller or a web server stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote
from xml.sax.saxutils import escape

from ringline.errors import InvalidArgument

RESERVED_PREFIX: Final = "voipbin."
MAX_KEYS: Final = 100
MAX_VALUE_BYTES: Final = 32 * 1024
MAX_TOTAL_BYTES: Final = 64 * 1024
MAX_RESULT: Final = 128 * 1024
"""Characters of all texts of one option together, once their variables were put in."""

_REFERENCE = re.compile(r"\$\{([^{}]{1,256})\}")

Lookup = Callable[[str], str]


class TooLong(Exception):
    """An option grew past ``MAX_RESULT`` characters when its variables were put in."""


def check(variables: Mapping[str, str], field: str = "variables") -> dict[str, str]:
    """The variables that a caller may set, within VoIPBIN's limits; ``voipbin.`` names are left out."""
    kept = {key: value for key, value in variables.items() if not key.lower().startswith(RESERVED_PREFIX)}
    if len(kept) > MAX_KEYS:
        raise InvalidArgument(f"{field}: {len(kept)} variables are too many; at most {MAX_KEYS} are possible")
    total = 0
    for key, value in kept.items():
        if not key or len(key) > 256 or "{" in key or "}" in key:
            raise InvalidArgument(f"{field}: a name has 1 to 256 characters and no braces, not {key[:40]!r}")
        size = len(value.encode())
        if size > MAX_VALUE_BYTES:
            raise InvalidArgument(f"{field}.{key}: {size} bytes are too many; at most {MAX_VALUE_BYTES}")
        total += size + len(key.encode())
    if total > MAX_TOTAL_BYTES:
        raise InvalidArgument(f"{field}: {total} bytes in all are too many; at most {MAX_TOTAL_BYTES}")
    return kept


def substitute(value: Any, lookup: Lookup) -> Any:
    """A copy of JSON data with every ``${name}`` in its texts replaced; a missing name gives ``""``.

    Raises ``TooLong`` as soon as the result is longer than ``MAX_RESULT``, before the rest of it is made.
    """
    return _Substitution(lookup).of(value)


def fill_url(template: str, lookup: Lookup) -> str:
    """A URL with its variables put in as what they are: parts of a path or a query, which lead nowhere else.

    A variable at the very beginning, or in the host, stands for just that and is put in as it is.
    """
    schema, mark, rest = template.partition("://")
    path_at = (
        len(schema) + len(mark) + len(re.split(r"[/?#]", rest, maxsplit=1)[0]) if mark else len(template)
    )
    query_at = next((at for at, character in enumerate(template) if character in "?#"), len(template))

    def put(at: int, text: str) -> str:
        if at < path_at:
            return text
        return quote(text, safe="/" if at < query_at else "")

    return _filled(template, lookup, put)


def fill_json(template: str, lookup: Lookup) -> str:
    """JSON with its variables put in: one within a string stays within it, whatever quotes it holds.

    Outside of strings it is put in as it is, so that it may be a number, or JSON itself.
    """
    quotes = [match.start() for match in re.finditer(r'\\.|"', template) if match[0] == '"']

    def put(at: int, text: str) -> str:
        inside = sum(quote_at < at for quote_at in quotes) % 2 == 1
        return json.dumps(text)[1:-1] if inside else text

    return _filled(template, lookup, put)


def _filled(template: str, lookup: Lookup, put: Callable[[int, str], str]) -> str:
    grown = 0

    def replacement(match: re.Match[str]) -> str:
        nonlocal grown
        text = put(match.start(), lookup(match[1].strip()))
        grown += len(text) - len(match[0])
        if match.end() + grown > MAX_RESULT:
            raise TooLong
        return text

    filled = _REFERENCE.sub(replacement, template)
    if len(filled) > MAX_RESULT:
        raise TooLong
    return filled


class _Substitution:
    """One option's replacements, which share one limit."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._room = MAX_RESULT

    def of(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value) if "${" in value else value
        if isinstance(value, dict):
            return {key: self.of(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item) for item in value]
        return value

    def _text(self, value: str) -> str:
        # SSML is XML: what is put into it is text there and no markup
        wrap = escape if value.lstrip().startswith("<speak") else str
        grown = 0

        def replacement(match: re.Match[str]) -> str:
            nonlocal grown
            text = wrap(self._lookup(match[1].strip()))
            grown += len(text) - len(match[0])
            if match.end() + grown > self._room:
                raise TooLong
            return text

        result = _REFERENCE.sub(replacement, value)
        self._room -= len(result)
        if self._room < 0:
            raise TooLong
        return result


def references(text: str) -> list[str]:
    """The names of the variables in a text."""
    return [name.strip() for name in _REFERENCE.findall(text)]


def has_reference(text: str) -> bool:
    """Whether the text names a variable, so that its final form is known only at run time."""
    return _REFERENCE.search(text) is not None
