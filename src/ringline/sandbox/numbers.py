"""What the sandbox has for sale: looked up by arithmetic on its blocks, in an order that is always the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ringline.sandbox.blocks import BLOCK_SIZE, BLOCKS, FREE_DIGITS, SINGLES, Block, Single

_STRIDE: Final = (
    3571  # has no factor with 10,000 in common: goes through a block once, in no order that people see
)


@dataclass(frozen=True, slots=True)
class Offered:
    """A number for sale."""

    number: str
    country: str
    kind: str
    region: str
    city: str
    postal_code: str
    features: tuple[str, ...]

    def shown(self) -> dict[str, Any]:
        """As the API shows it; by hand, because a thousand by ``asdict`` hold up the audio of calls."""
        return {
            "number": self.number,
            "country": self.country,
            "kind": self.kind,
            "region": self.region,
            "city": self.city,
            "postal_code": self.postal_code,
            "features": self.features,
        }


_PLACES: Final[dict[str, Block]] = {block.prefix: block for block in BLOCKS}
_SINGLES: Final[dict[str, Single]] = {single.number: single for single in SINGLES}
TOTAL: Final = len(SINGLES) + len(BLOCKS) * BLOCK_SIZE


def find(number: str) -> Offered | None:
    """This very number, if the sandbox has it at all."""
    if (single := _SINGLES.get(number)) is not None:
        return _offered(number, single)
    block = _PLACES.get(number[:-FREE_DIGITS])
    rest = number[-FREE_DIGITS:]
    if block is None or not (rest.isascii() and rest.isdigit()):
        return None
    return _offered(number, block)


def search(
    *,
    country: str,
    kind: str = "",
    region: str = "",
    contains: str = "",
    features: tuple[str, ...] = (),
    limit: int,
    taken: Callable[[str], bool],
) -> list[Offered]:
    """At most ``limit`` numbers that are not taken. ``contains``: digits, ``*`` for any one, anywhere in it."""

    def fits(one: Block | Single) -> bool:
        return (
            one.country == country
            and (not kind or one.kind == kind)
            and (not region or region.casefold() in (one.region.casefold(), one.city.casefold()))
            and set(features) <= set(one.features)
        )

    singles = (
        _offered(single.number, single)
        for single in SINGLES
        if fits(single) and _matches(single.number, contains)
    )
    streams = [_of_block(block, contains) for block in BLOCKS if fits(block)]
    found = itertools.chain(singles, _in_turn(streams))
    return list(itertools.islice((one for one in found if not taken(one.number)), limit))


def _of_block(block: Block, contains: str) -> Iterator[Offered]:
    for number in _numbers(block, contains):
        yield _offered(number, block)


def _numbers(block: Block, contains: str) -> Iterator[str]:
    if not contains:
        start = sum(block.prefix.encode()) * 37 % BLOCK_SIZE
        for index in range(BLOCK_SIZE):
            yield f"{block.prefix}{(start + index * _STRIDE) % BLOCK_SIZE:0{FREE_DIGITS}d}"
        return
    digits = block.prefix[1:]
    whole = len(digits) + FREE_DIGITS
    seen: set[str] = set()
    for offset in range(whole - len(contains) + 1):
        if not all(
            wanted in ("*", digits[offset + place])
            for place, wanted in enumerate(contains)
            if offset + place < len(digits)
        ):
            continue
        free = [
            contains[place - offset] if offset <= place < offset + len(contains) else "*"
            for place in range(len(digits), whole)
        ]
        for chosen in itertools.product(*("0123456789" if one == "*" else one for one in free)):
            number = block.prefix + "".join(chosen)
            if number not in seen:
                seen.add(number)
                yield number


def _matches(number: str, contains: str) -> bool:
    digits = number[1:]
    return any(
        all(wanted in ("*", digits[offset + place]) for place, wanted in enumerate(contains))
        for offset in range(len(digits) - len(contains) + 1)
    )


def _in_turn(streams: list[Iterator[Offered]]) -> Iterator[Offered]:
    """One of each, then the next of each: a short answer shows several places."""
    while streams:
        left = []
        for stream in streams:
            one = next(stream, None)
            if one is not None:
                yield one
                left.append(stream)
        streams = left


def _offered(number: str, place: Block | Single) -> Offered:
    return Offered(
        number=number,
        country=place.country,
        kind=place.kind,
        region=place.region,
        city=place.city,
        postal_code=place.postal_code,
        features=place.features,
    )
