"""One call that costs money: its rate, what was promised to it, and how long that lasts."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from math import ceil
from typing import Final
from uuid import UUID

from ringline.billing.rates import Rate
from ringline.calls.call import Call
from ringline.cdrs.record import Fare
from ringline.charging.kinds import Kind

PORTION_SECONDS: Final = 60
"""How much is promised at a time, in whole units of the rate."""
LEAD_SECONDS: Final = 10.0
"""How long before the end of what was promised more is asked for."""


def least(rate: Rate) -> int:
    """Without so many units no call begins."""
    return max(1, rate.minimum_units)


def portion(rate: Rate) -> int:
    """How many units are promised at a time."""
    size = rate.unit_seconds
    return max(least(rate), ceil(PORTION_SECONDS / size) if size else 1)


class Meter:
    """Kept while the call lasts. ``units`` are promised in memory, of which the database has confirmed ``held``."""

    __slots__ = ("account_id", "call", "cut", "held", "kind", "last", "rate", "timer", "told", "units")

    def __init__(self, call: Call, account_id: UUID, kind: Kind, rate: Rate) -> None:
        self.call = call
        self.account_id = account_id
        self.kind = kind
        self.rate = rate
        self.units = 0
        self.held = 0
        self.last = False
        """The money does not reach further than ``units``."""
        self.cut = False
        """It was ended for that."""
        self.told = False
        """The parties have heard the tone."""
        self.timer: asyncio.TimerHandle | None = None

    @property
    def least(self) -> int:
        """Without so many units it does not begin."""
        return least(self.rate)

    @property
    def portion(self) -> int:
        """How many units are promised at a time."""
        return portion(self.rate)

    @property
    def until(self) -> datetime | None:
        """When what was promised is used up; nothing while it is not answered, or where units have no length."""
        answered = self.call.tm_progressing
        if answered is None or not self.rate.unit_seconds:
            return None
        return answered + timedelta(seconds=self.rate.seconds(self.units))

    @property
    def lead(self) -> float:
        """How long before ``until`` more is asked for: less where little was promised."""
        return min(LEAD_SECONDS, self.rate.seconds(self.units) / 2)

    def wanted(self, now: datetime) -> int:
        """How many units should be promised altogether: what is used at ``now``, and a portion more."""
        answered = self.call.tm_progressing
        used = 0
        if answered is not None and self.rate.unit_seconds:
            used = ceil(max(0.0, (now - answered).total_seconds()) / self.rate.unit_seconds)
        return max(self.units, used) + self.portion

    def fare(self) -> Fare:
        """By what the call is charged as it ended. One that we ended because of money used no more than it had."""
        most = self.units if self.cut else None
        return Fare(self.account_id, self.kind.cost_type, self.kind.number, self.rate, most)

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
