"""Virtual numbers, ``+899`` and nine digits, of which we are the vendor ourselves: nothing is bought of anybody.

There are 10^9 of them and no list of them: what is free is what is not taken, found by arithmetic.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import ClassVar, Final, Protocol

from ringline.vendors.base import Vendor
from ringline.vendors.models import Capability, Held, Offer, Order, Purchase, Search
from ringline.vendors.patterns import Template, ascending, templates

PREFIX: Final = "+899"
DIGITS: Final = 9
TOTAL: Final = 10**DIGITS
FIRST: Final = 100_000_001
"""Where proposals in order begin, as in VoIPBIN's examples; the numbers below it come last."""

_SMALL: Final = 2_000
"""So many are looked at one after the other, and no more: then chance finds free ones faster."""
_ROW: Final = 32
"""After so many taken ones in a row it is asked where the row ends."""
_JUMP: Final = 200
"""Going to the end of a row costs as much as looking at so many."""


class Taken(Protocol):
    """The virtual numbers that exist, by their nine digits."""

    def __contains__(self, number: object, /) -> bool: ...

    def next_free(self, number: int, /) -> int:
        """The first from this one on that does not exist."""


class VirtualVendor(Vendor):
    """Whether a number is free is said by the numbers that exist; buying one here is saying yes."""

    name: ClassVar[str] = "virtual"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.SEARCH, Capability.BUY, Capability.RELEASE}
    )

    def __init__(self, taken: Taken) -> None:
        self._taken = taken

    async def check(self) -> str:
        return f"{PREFIX} and {DIGITS} digits, no account needed"

    async def search(self, wanted: Search) -> list[Offer]:
        found = free(wanted.contains, wanted.limit, self._taken, at_random=wanted.order == "random")
        return [_offer(f"{PREFIX}{number:0{DIGITS}d}") for number in found]

    async def find(self, number: str) -> Offer | None:
        digits = number.removeprefix(PREFIX)
        if (
            not number.startswith(PREFIX)
            or len(digits) != DIGITS
            or not (digits.isascii() and digits.isdigit())
        ):
            return None
        return None if int(digits) in self._taken else _offer(number)

    async def buy(self, purchase: Purchase) -> Order:
        return Order("done", str(purchase.id), purchase.number)

    async def find_order(self, purchase: Purchase, reference: str) -> Order | None:
        return await self.buy(purchase)

    async def release(self, held: Held) -> None:
        """Nothing to give back to anybody."""


def free(contains: str, limit: int, taken: Taken, *, at_random: bool = False) -> list[int]:
    """At most ``limit`` free numbers that match, by their nine digits, in the order in which they are proposed.

    Where more than ``_SMALL`` taken ones are in the way, those behind them are chosen by chance.
    """
    spaces = templates(PREFIX[1:], DIGITS, contains)
    total = sum(space.size for space in spaces)
    if at_random:
        if total > _SMALL:
            return _chance(spaces, limit, taken, set())
        every = [number for number in ascending(spaces) if number not in taken]
        return random.sample(every, min(limit, len(every)))
    found = list(itertools.islice(_in_order(spaces, taken), limit))
    if len(found) < limit and total > _SMALL:
        found += sorted(_chance(spaces, limit - len(found), taken, set(found)), key=_place)
    return found


def _in_order(spaces: list[Template], taken: Taken) -> Iterator[int]:
    """Free ones from ``FIRST`` on, then from 0; ends early where too many are taken."""
    patience, row = _SMALL, 0
    for low, high in ((FIRST, TOTAL), (0, FIRST)):
        position = low
        while position < high:
            for number in ascending(spaces, position):
                if number >= high:
                    position = high
                    break
                if number not in taken:
                    row = 0
                    yield number
                    continue
                patience -= 1
                if patience <= 0:
                    return
                row += 1
                if row % _ROW == 0 and (following := taken.next_free(number)) - number > _JUMP:
                    position = following
                    break
            else:
                break


def _chance(spaces: list[Template], limit: int, taken: Taken, found: set[int]) -> list[int]:
    sizes = [space.size for space in spaces]
    chosen: list[int] = []
    for space in random.choices(spaces, sizes, k=_SMALL):  # noqa: S311 - proposes numbers, guards nothing
        number = space.at(random.randrange(space.size))  # noqa: S311 - likewise
        if number not in taken and number not in found:
            found.add(number)
            chosen.append(number)
            if len(chosen) == limit:
                break
    return chosen


def _place(number: int) -> int:
    """Its place in the order of proposals."""
    return (number - FIRST) % TOTAL


def _offer(number: str) -> Offer:
    # none of the kinds fits a number of no country
    return Offer(number, "", "national")
