"""Templates of paths as the router takes them: a parameter is nothing that a fixed path beside it is called."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable

_PARAMETER = re.compile(r"\{(\w+)\}")


def apart(paths: Iterable[str]) -> Callable[[str], str]:
    """What makes a template of one of ``paths``, in which ``{name}`` stands for one segment.

    Beside ``/numbers/renew`` the template ``/numbers/{number_id}`` does not match that path: it has its
    own methods and no others (RFC 9110 section 15.5.6).
    """
    beside: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in paths:
        segments = path.split("/")
        for index, segment in enumerate(segments):
            if not _PARAMETER.search(segment):
                beside[_shape(segments[:index])].add(segment)

    def template(path: str) -> str:
        segments = path.split("/")
        return "/".join(
            _narrowed(segment, beside.get(_shape(segments[:index]), set()))
            for index, segment in enumerate(segments)
        )

    return template


def _shape(segments: Iterable[str]) -> tuple[str, ...]:
    """Two templates that differ in the names of their parameters only have the same."""
    return tuple(_PARAMETER.sub("{}", segment) for segment in segments)


def _narrowed(segment: str, fixed: set[str]) -> str:
    found = _PARAMETER.fullmatch(segment)
    if found is None or not fixed:
        return segment
    words = "|".join(re.escape(word) for word in sorted(fixed))
    return f"{{{found[1]}:(?!(?:{words})(?:/|$))[^/]+}}"
