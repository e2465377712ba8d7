"""Numbers of a range by arithmetic: those that match a pattern, counted, ranked and in order without a list.

A pattern is digits, ``*`` for any one of them, and may stand anywhere in the number.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

ANY: Final = "*"
_STRETCH: Final = re.compile(r"\*+")


class Template:
    """Numbers of so many digits of which some are fixed: ``*7*`` is the ten times ten with a 7 in the middle."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.size: int = 10 ** text.count(ANY)
        """How many there are."""
        self._fixed = int(text.replace(ANY, "0"))
        # what is free, from the right: each stretch as its weight in the number and how many values it has
        self._free = [
            (int(10 ** (len(text) - stretch.end())), int(10 ** (stretch.end() - stretch.start())))
            for stretch in reversed(list(_STRETCH.finditer(text)))
        ]

    def at(self, rank: int) -> int:
        """The one of this rank, counted from 0 in ascending order."""
        number = self._fixed
        for weight, values in self._free:
            rank, here = divmod(rank, values)
            number += here * weight
        return number

    def rank_from(self, number: int) -> int:
        """The rank of the first that is not below ``number``; ``size`` where none is."""
        return bisect_left(range(self.size), number, key=self.at)


def templates(prefix: str, digits: int, pattern: str) -> list[Template]:
    """The numbers of ``prefix`` and so many digits that have ``pattern`` in them, as templates of the digits.

    Templates overlap (``77`` is at two places of ``777``); one that another one contains is left out.
    """
    whole = len(prefix) + digits
    found: dict[str, None] = {}
    for offset in range(whole - len(pattern) + 1):
        wanted = ANY * offset + pattern + ANY * (whole - offset - len(pattern))
        if all(want in (ANY, have) for want, have in zip(wanted, prefix, strict=False)):
            found[wanted[len(prefix) :]] = None
    texts = list(found)
    return [
        Template(text)
        for text in texts
        if not any(other != text and _contains(other, text) for other in texts)
    ]


def ascending(spaces: list[Template], start: int = 0) -> Iterator[int]:
    """All numbers of the templates from ``start`` on, each once, in ascending order."""
    last = -1
    for number in heapq.merge(*(_from(space, start) for space in spaces)):
        if number != last:
            last = number
            yield number


def _from(space: Template, start: int) -> Iterator[int]:
    return map(space.at, range(space.rank_from(start), space.size))


def _contains(wide: str, narrow: str) -> bool:
    return all(one in (ANY, other) for one, other in zip(wide, narrow, strict=True))
