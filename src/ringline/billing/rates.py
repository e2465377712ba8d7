"""What things cost, in millionths of a US dollar, and which price is whose: the longest prefix, in time.

Source of the prices that are there from the start: VoIPBIN (``shared/spec/voipbin-api.md`` section 8).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, get_args
from uuid import UUID

DOLLAR: Final = 1_000_000

Kind = Literal[
    "call_pstn_outgoing",
    "call_pstn_incoming",
    "call_vn",
    "call_extension",
    "call_direct_ext",
    "sms",
    "email",
    "number",
    "number_renew",
]
"""VoIPBIN's ``cost_type``."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Rounding = Literal["up", "nearest", "down"]

EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
ZERO: Final = UUID(int=0)
LONGEST_PREFIX: Final = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The price of a unit of something, from ``tm_start`` until before ``tm_end``.

    A unit lasts ``unit_seconds``, or is a piece where that is 0. Where tokens are asked for they are taken first;
    units that they do not pay for cost ``credit_per_unit``, and without that cannot be had. ``minimum_units`` are
    paid whenever anything is. ``rounding`` says what becomes of a unit that was begun.
    """

    kind: str
    prefix: str = ""
    credit_per_unit: int = 0
    token_per_unit: int = 0
    unit_seconds: int = 0
    minimum_units: int = 1
    rounding: Rounding = "up"
    tm_start: datetime = EVER
    tm_end: datetime | None = None
    id: UUID = ZERO

    @property
    def free(self) -> bool:
        """Whether it costs nothing, however long it is."""
        return not self.credit_per_unit and not self.token_per_unit

    def units(self, usage: int) -> int:
        """How many units ``usage`` seconds (or pieces) are paid as. Nothing used is nothing."""
        if usage <= 0:
            return 0
        size = self.unit_seconds or 1
        whole, rest = divmod(usage, size)
        if rest and (self.rounding == "up" or (self.rounding == "nearest" and rest * 2 >= size)):
            whole += 1
        return max(whole, self.minimum_units)

    def seconds(self, units: int) -> int:
        """How long this many units last. 0 for what is counted in pieces."""
        return units * self.unit_seconds

    def price(self, units: int, tokens: int) -> tuple[int, int]:
        """Tokens and credit that ``units`` cost an account that has ``tokens``."""
        if not self.token_per_unit:
            return 0, units * self.credit_per_unit
        by_token = min(units, max(tokens, 0) // self.token_per_unit) if self.credit_per_unit else units
        return by_token * self.token_per_unit, (units - by_token) * self.credit_per_unit

    def affordable(self, tokens: int, credit: int) -> int | None:
        """How many units this pays for; nothing when there is no end of them."""
        if self.free:
            return None
        units = max(tokens, 0) // self.token_per_unit if self.token_per_unit else 0
        if self.credit_per_unit:
            units += max(credit, 0) // self.credit_per_unit
        return units


def _minutes(kind: Kind, credit: int, token: int = 0) -> Rate:
    return Rate(kind=kind, credit_per_unit=credit, token_per_unit=token, unit_seconds=60)


NUMBER_PURCHASE: Final = 5 * DOLLAR
NUMBER_RENEWAL: Final = 5 * DOLLAR
"""For a month."""
MESSAGE: Final = 8_000
"""For each part of a text to each destination."""

BUILT_IN: Final[dict[str, Rate]] = {
    rate.kind: rate
    for rate in (
        _minutes("call_pstn_outgoing", 6_000),
        _minutes("call_pstn_incoming", 4_500),
        _minutes("call_vn", 1_000, 1),
        _minutes("call_extension", 0),
        _minutes("call_direct_ext", 0),
        Rate(kind="sms", credit_per_unit=MESSAGE),
        Rate(kind="email", credit_per_unit=10_000),
        Rate(kind="number", credit_per_unit=NUMBER_PURCHASE),
        Rate(kind="number_renew", credit_per_unit=NUMBER_RENEWAL),
    )
}
"""What holds where the table of rates has nothing."""


@dataclass(slots=True)
class _Prices:
    """The rates of one kind."""

    by_prefix: dict[str, list[Rate]] = field(default_factory=dict)
    """In the order of their start."""
    lengths: dict[int, int] = field(default_factory=dict)
    """How many prefixes there are of each length."""
    longest_first: tuple[int, ...] = ()


class Rates:
    """Rates by kind and prefix. Looking one up takes as many dictionary reads as there are lengths of prefixes."""

    def __init__(self, rates: Iterable[Rate] = ()) -> None:
        self._kinds: dict[str, _Prices] = {}
        self._by_id: dict[UUID, Rate] = {}
        for rate in rates:
            self.put(rate)

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, kind: str, number: str, at: datetime) -> Rate:
        """The rate of the longest prefix of ``number`` (E.164 or ``""``) that has one at ``at``, of these the newest.

        Where there is none it is the built-in one: nothing is free because nobody has set a price. Raises
        ``KeyError`` for a kind that is none.
        """
        prices = self._kinds.get(kind)
        if prices is not None:
            digits = number.removeprefix("+")
            for length in prices.longest_first:
                if length > len(digits):
                    continue
                known = prices.by_prefix.get(digits[:length])
                if known is not None and (found := _newest(known, at)) is not None:
                    return found
        return BUILT_IN[kind]

    def all(self) -> Iterable[Rate]:
        """Every rate there is or was, in no order."""
        return self._by_id.values()

    def exact(self, kind: str, prefix: str, at: datetime) -> Rate | None:
        """The rate of this very prefix at ``at``."""
        prices = self._kinds.get(kind)
        known = () if prices is None else prices.by_prefix.get(prefix, ())
        return _newest(known, at)

    def put(self, rate: Rate) -> None:
        """Take a rate in, in place of an earlier one of the same id."""
        self.drop(rate.id)
        self._by_id[rate.id] = rate
        prices = self._kinds.setdefault(rate.kind, _Prices())
        known = prices.by_prefix.get(rate.prefix)
        if known is None:
            prices.by_prefix[rate.prefix] = [rate]
            length = len(rate.prefix)
            prices.lengths[length] = prices.lengths.get(length, 0) + 1
            if prices.lengths[length] == 1:
                prices.longest_first = tuple(sorted(prices.lengths, reverse=True))
        else:
            known.insert(bisect_right(known, rate.tm_start, key=_start), rate)

    def drop(self, rate_id: UUID) -> None:
        """Forget a rate."""
        gone = self._by_id.pop(rate_id, None)
        if gone is None:
            return
        prices = self._kinds[gone.kind]
        left = prices.by_prefix[gone.prefix]
        left.remove(gone)
        if left:
            return
        del prices.by_prefix[gone.prefix]
        length = len(gone.prefix)
        prices.lengths[length] -= 1
        if not prices.lengths[length]:
            del prices.lengths[length]
            prices.longest_first = tuple(sorted(prices.lengths, reverse=True))


def _newest(rates: Sequence[Rate], at: datetime) -> Rate | None:
    for rate in reversed(rates):
        if rate.tm_start <= at and (rate.tm_end is None or at < rate.tm_end):
            return rate
    return None


def _start(rate: Rate) -> datetime:
    return rate.tm_start


def dollars(amount: int) -> str:
    """An amount as a person reads it: ``$5.00``."""
    return f"${amount / DOLLAR:.2f}"
