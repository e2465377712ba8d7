"""JSON and URIs as ARI wants them. orjson where it is installed, else the standard library."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote as _quote

Scalar = str | int | float | bool
Query = Mapping[str, "Scalar | Sequence[str] | None"]

_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")

loads: Callable[[str | bytes], Any]
dumps: Callable[[Any], bytes]

try:
    import orjson
except ImportError:  # pragma: no cover - the tests run with orjson
    loads = json.loads

    def dumps(value: Any) -> bytes:
        """``value`` as compact UTF-8 JSON."""
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
else:
    loads = orjson.loads
    dumps = orjson.dumps


def quote(value: str) -> str:
    """One part of a path: everything but letters, digits and ``-._~`` is escaped, a slash too.

    Asterisk wants ``%2F`` in the name of a recording in a sub-folder; a plain slash is a 404.
    """
    return value if _PLAIN.fullmatch(value) else _quote(value, safe="")


def text(value: Scalar | Sequence[str]) -> str:
    """A parameter as ARI reads it: ``true``/``false``, decimal numbers, lists joined by commas."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    # A key given twice would count only once, the last: lists are one value (measured on 22.10).
    return ",".join(value)


def with_query(uri: str, query: Query | None) -> str:
    """``uri`` with the parameters that are not None appended."""
    if not query:
        return uri
    pairs = [f"{name}={_quote(text(value), safe='')}" for name, value in query.items() if value is not None]
    if not pairs:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}{'&'.join(pairs)}"


def subject(uri: str) -> str:
    """The object that a request is about (``channels/ID`` of ``channels/ID/play?...``): what keeps its
    order."""
    parts = uri.partition("?")[0].split("/", 2)
    return "/".join(parts[:2])
