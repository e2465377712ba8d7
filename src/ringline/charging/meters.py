"""The meters of all live calls: who may begin, for how long it may last, and when it ends for want of money.

Everything here is decided inside the event, from memory (``purses``). What was promised is written behind
(``books``), which says what became of it; the database has the last word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from ringline.billing.rates import Rate
from ringline.calls.call import ZERO, Call
from ringline.calls.states import UNANSWERED, Status
from ringline.cdrs import record
from ringline.cdrs.record import Fare
from ringline.charging import kinds, metrics
from ringline.charging.kinds import Kind
from ringline.charging.meter import Meter, least, portion
from ringline.charging.purses import Purses, Share
from ringline.clock import Clock
from ringline.sip.address import Address
from ringline.sip.cause import Cause

log = structlog.get_logger(__name__)

TONE_SECONDS: Final = 2.0
"""How long before the end the parties hear that it comes."""
USED_UP: Final = "the balance was used up"
NOT_COVERED: Final = "INSUFFICIENT_BALANCE: the balance does not pay for the call"


class Customers(Protocol):
    """``customers.CustomerDirectory``."""

    def by_id(self, row_id: UUID) -> Any: ...


class Rates(Protocol):
    """The rates in memory (``billing.rates.Rates``)."""

    def find(self, kind: str, number: str, at: datetime) -> Rate: ...


class Ending(Protocol):
    """Who ends calls (``calls.switchboard.Switchboard``)."""

    def hang_up(self, call: Call, cause: int = ...) -> bool: ...


class Books(Protocol):
    """Who writes behind what is held (``charging.books.Books``)."""

    def hold(self, meter: Meter, units: int) -> None: ...

    def forget(self, call_id: UUID) -> None: ...


Later = Callable[[float, Callable[[Meter], None], Meter], asyncio.TimerHandle]


class Meters:
    """Every call that costs money has a meter from its beginning to its end (``calls.switchboard.Metering``)."""

    def __init__(
        self,
        customers: Customers,
        purses: Purses,
        rates: Rates,
        books: Books,
        clock: Clock,
        *,
        ending: Ending,
        warn: Callable[[Call], None],
        later: Later | None = None,
    ) -> None:
        """``warn`` lets the parties of a call hear a short tone. ``later`` is ``call_later`` of the event loop."""
        self._customers = customers
        self._purses = purses
        self._rates = rates
        self._books = books
        self._clock = clock
        self._ending = ending
        self._warn = warn
        self._later = later or (
            lambda delay, do, meter: asyncio.get_running_loop().call_later(delay, do, meter)
        )
        self._meters: dict[UUID, Meter] = {}

    def __len__(self) -> int:
        return len(self._meters)

    def meter(self, call_id: UUID) -> Meter | None:
        """That of a live call that costs money."""
        return self._meters.get(call_id)

    # before a call begins

    def check(self, customer_id: UUID, destinations: Iterable[Address]) -> None:
        """Whether legs to these can begin together. Raises ``InsufficientBalance`` with what that takes."""
        self._share(customer_id, destinations)

    @contextmanager
    def reserve(self, customer_id: UUID, destinations: Iterable[Address]) -> Iterator[None]:
        """As ``check``; and nobody else begins with that money while a request has its calls stored."""
        legs = [*destinations]
        share = self._share(customer_id, legs)
        if share is None:
            yield
            return
        # what they will be promised when they begin, as far as there is so much
        now = self._clock.now()
        rates = [self._rates.find(*kind, now) for kind in kinds.paid(legs)]
        with self._purses.reserve(share, [(rate, portion(rate)) for rate in rates]):
            yield

    def refuses(self, call: Call) -> bool:
        """Whether a call that comes in cannot be paid, or the leg that a phone's call leads to."""
        account_id = self._account(call.customer_id)
        if account_id is None:
            return False
        for kind in (kinds.of(call), kinds.onward(call)):
            rate, units = self._first(kind, call.tm_create)
            found = None if rate.free else self._purses.affordable(account_id, rate)
            if found is not None and found < units:
                return True
        return False

    # what the switchboard tells

    def begun(self, call: Call) -> str:
        """The call is about to begin. Why it may not, or ``""``: then money is promised to it."""
        meter = self._new(call)
        if meter is None:
            return ""
        if self._purses.unlimited(meter.account_id):
            call.fare = meter.fare()
            return ""
        found = self._purses.affordable(meter.account_id, meter.rate, reserved=False)
        if found is not None and found < meter.least:
            log.info("call_not_covered", call_id=str(call.id), customer_id=str(call.customer_id))
            return NOT_COVERED
        self._meters[call.id] = meter
        self._promise(meter, meter.portion)
        return ""

    def answered(self, call: Call) -> None:
        """The call's time counts from now on."""
        meter = self._meters.get(call.id)
        if meter is not None:
            self._arm(meter)

    def call_ended(self, call: Call) -> None:
        """The call has its final record: what it did not use is free again."""
        meter = self._meters.pop(call.id, None)
        if meter is None:
            return
        meter.stop()
        self._books.forget(call.id)
        call.fare = meter.fare()
        self._purses.held(call.id)
        used = record.units_of(meter.rate, record.seconds_between(call.tm_progressing, call.tm_hangup))
        left = max(0, meter.held - used)
        by_token = meter.rate.token_per_unit and not meter.rate.credit_per_unit
        share = Share(meter.account_id)
        if by_token:
            share.token = left * meter.rate.token_per_unit
        elif not meter.rate.token_per_unit:
            share.credit = left * meter.rate.credit_per_unit
        # where some units are tokens' and some are credit's, what comes back shows when it is settled
        self._purses.give_back(call.id, share)

    # what the books tell

    def held(self, call_id: UUID, units: int) -> None:
        """The database holds so many units for the call altogether."""
        meter = self._meters.get(call_id)
        self._purses.held(call_id)
        if meter is None:
            return
        meter.held = units
        if units >= meter.units:
            return
        meter.units, meter.last = units, True
        if units < meter.least:
            self._cut(meter)
        else:
            self._arm(meter)

    def settled(self, call_id: UUID) -> None:
        """The call has been paid, and nothing is held for it any more."""
        self._purses.settled(call_id)

    def returning(self, account_id: UUID) -> bool:
        """Whether something comes back to the account in a moment."""
        return self._purses.returning(account_id)

    # what was known before this controller

    def restore(
        self, calls: Iterable[Call], holds: Mapping[UUID, int], payers: Mapping[UUID, UUID] | None = None
    ) -> None:
        """Go on with calls of a former controller; ``holds``: units that the database holds for them.

        ``payers``: whose money that is, for the customer may have chosen another account since they began.
        """
        for call in calls:
            meter = None if call.ended or call.id in self._meters else self._new(call)
            if meter is None:
                continue
            if payers is not None:
                meter.account_id = payers.get(call.id, meter.account_id)
            if self._purses.unlimited(meter.account_id):
                call.fare = meter.fare()
                continue
            meter.units = meter.held = holds.get(call.id, 0)
            self._meters[call.id] = meter
            if not meter.units:
                self._promise(meter, self._more(meter, meter.wanted(self._clock.now())))
            if call.status is Status.PROGRESSING:
                self._arm(meter)

    def fare(self, call: Call) -> Fare:
        """By what a call that has ended is charged; what nobody has metered was not seen to end."""
        noted: Fare | None = call.fare
        if noted is not None:
            return noted
        kind = kinds.of(call)
        rate = self._rates.find(kind.cost_type, kind.number, call.tm_create)
        account_id = self._account(call.customer_id) or ZERO
        return Fare(account_id, kind.cost_type, kind.number, rate, bounded=not rate.free)

    def cdr(self, call: Call) -> dict[str, Any]:
        """The call detail record of a call that has ended."""
        return record.row(call.row(), self.fare(call))

    # steps

    def _new(self, call: Call) -> Meter | None:
        account_id = self._account(call.customer_id)
        if account_id is None:
            return None
        kind = kinds.of(call)
        rate = self._rates.find(kind.cost_type, kind.number, call.tm_create)
        if rate.free:
            call.fare = Fare(account_id, kind.cost_type, kind.number, rate)
            return None
        return Meter(call, account_id, kind, rate)

    def _account(self, customer_id: UUID) -> UUID | None:
        customer = self._customers.by_id(customer_id)
        found: UUID | None = None if customer is None else customer.billing_account_id
        return found

    def _share(self, customer_id: UUID, destinations: Iterable[Address]) -> Share | None:
        legs = kinds.paid(destinations)
        account_id = self._account(customer_id)
        if not legs or account_id is None:
            return None
        now = self._clock.now()
        wanted = [self._first(kind, now) for kind in legs]
        what = "The call" if len(legs) == 1 else f"To begin {len(legs)} calls"
        return self._purses.check(account_id, wanted, what)

    def _first(self, kind: Kind, now: datetime) -> tuple[Rate, int]:
        rate = self._rates.find(kind.cost_type, kind.number, now)
        return rate, least(rate)

    def _promise(self, meter: Meter, units: int) -> int:
        """Promise ``units`` more, as far as the money reaches; how many it were."""
        found = self._purses.affordable(meter.account_id, meter.rate, reserved=False)
        if found is not None and found < units:
            units = max(0, found)
        if units:
            meter.units += units
            self._purses.promise(meter.call.id, meter.account_id, meter.rate, units)
            self._books.hold(meter, meter.units)
        return units

    def _more(self, meter: Meter, wanted: int) -> int:
        return max(0, wanted - meter.units)

    def _arm(self, meter: Meter) -> None:
        """What is to be done next with a call that is answered."""
        meter.stop()
        until = meter.until
        if until is None or meter.call.ending:
            return
        left = (until - self._clock.now()).total_seconds()
        if not meter.last:
            meter.timer = self._later(max(0.0, left - meter.lead), self._extend, meter)
        elif left > TONE_SECONDS:
            meter.timer = self._later(left - TONE_SECONDS, self._announce, meter)
        else:
            self._tell(meter)
            meter.timer = self._later(max(0.0, left), self._over, meter)

    def _extend(self, meter: Meter) -> None:
        """More is wanted in time. Without any the end is near, unless some comes in before it."""
        wanted = self._more(meter, meter.wanted(self._clock.now()))
        meter.last = self._promise(meter, wanted) == 0
        self._arm(meter)

    def _announce(self, meter: Meter) -> None:
        if self._promise(meter, meter.portion):
            meter.last = meter.told = False
            self._arm(meter)
            return
        self._tell(meter)
        until = meter.until
        left = 0.0 if until is None else (until - self._clock.now()).total_seconds()
        meter.timer = self._later(max(0.0, left), self._over, meter)

    def _tell(self, meter: Meter) -> None:
        if not meter.call.ending and not meter.told:
            meter.told = True
            self._warn(meter.call)

    def _over(self, meter: Meter) -> None:
        if self._promise(meter, meter.portion):
            # somebody has paid in the last moment
            meter.last = meter.told = False
            self._arm(meter)
            return
        self._cut(meter)

    def _cut(self, meter: Meter) -> None:
        """The money is used up: the call ends now."""
        call = meter.call
        if call.ending:
            return
        meter.stop()
        meter.cut = True
        call.hangup_detail = USED_UP if call.tm_progressing is not None else NOT_COVERED
        metrics.cut_off.inc()
        log.info("call_cut_off", call_id=str(call.id), customer_id=str(call.customer_id), units=meter.units)
        if call.status in UNANSWERED:
            self._ending.hang_up(call, Cause.SWITCH_CONGESTION)
            return
        call.end_cause = int(Cause.CALL_DURATION_TIMEOUT)
        self._ending.hang_up(call)
