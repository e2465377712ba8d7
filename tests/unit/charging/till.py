"""Meters with everything around them faked: time moves when a test says so, and so does the database."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from ringline.billing.directory import Balance
from ringline.billing.rates import Rate, Rates
from ringline.calls.call import Call
from ringline.calls.states import Direction, Status
from ringline.charging.meter import Meter
from ringline.charging.meters import Meters
from ringline.charging.purses import Purses
from ringline.sip.address import Address

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTES = Rate(kind="call_pstn_outgoing", credit_per_unit=6_000, unit_seconds=60)
SECONDS = Rate(kind="call_pstn_outgoing", credit_per_unit=100, unit_seconds=1)


class Timer:
    def __init__(self, do: Callable[[Meter], None], meter: Meter) -> None:
        self.do, self.meter, self.cancelled = do, meter, False

    def cancel(self) -> None:
        self.cancelled = True


class Time:
    """A clock, and timers that fire when it passes them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")

    def later(self, delay: float, do: Callable[[Meter], None], meter: Meter) -> Any:
        timer = Timer(do, meter)
        heapq.heappush(self._timers, (self.seconds + delay, next(self._order), timer))
        return timer

    def pass_to(self, seconds: float) -> None:
        while self._timers and self._timers[0][0] <= seconds:
            due, _, timer = heapq.heappop(self._timers)
            self.seconds = max(self.seconds, due)
            if not timer.cancelled:
                timer.do(timer.meter)
        self.seconds = seconds


class Till:
    """One account with ``credit`` and ``token``, and the calls of its customer."""

    def __init__(self, credit: int, *rates: Rate, token: int = 0, plan: str = "free") -> None:
        self.time = Time()
        self.customer_id, self.account_id = uuid4(), uuid4()
        self.balance = Balance(self.account_id, plan, credit, token)
        self.asked: dict[UUID, int] = {}
        self.forgotten: list[UUID] = []
        self.ended: dict[UUID, float] = {}
        self.warned: list[tuple[UUID, float]] = []
        customers: Any = SimpleNamespace(by_id=self._customer)
        accounts: Any = SimpleNamespace(by_id=lambda _: self.balance)
        self.purses = Purses(accounts)
        self.meters: Meters = Meters(
            customers,
            self.purses,
            Rates(replace(rate, id=uuid4()) for rate in rates),
            self,
            self.time,
            ending=self,
            warn=lambda call: self.warned.append((call.id, self.time.seconds)),
            later=self.time.later,
        )

    def _customer(self, customer_id: UUID) -> Any:
        known = customer_id == self.customer_id
        return SimpleNamespace(billing_account_id=self.account_id) if known else None

    # what the meters ask for

    def hold(self, meter: Meter, units: int) -> None:
        self.asked[meter.call.id] = units

    def forget(self, call_id: UUID) -> None:
        self.asked.pop(call_id, None)
        self.forgotten.append(call_id)

    def hang_up(self, call: Call, cause: int = 16) -> bool:
        self.ended[call.id] = self.time.seconds
        self.hangs_up(call, cause)
        return True

    # what happens

    def call(self, to: str = "+15559876543", **more: Any) -> Call:
        call_id = uuid4()
        row: dict[str, Any] = {
            "id": call_id,
            "customer_id": self.customer_id,
            "direction": Direction.OUTGOING,
            "source": Address(type="tel", target="+15551234567"),
            "destination": Address(type="tel", target=to),
            "channel_id": f"call-{call_id}",
            "status": Status.DIALING,
            "tm_create": self.time.now(),
        }
        return Call(**row | more)

    def begins(self, **more: Any) -> Call:
        call = self.call(**more)
        assert self.meters.begun(call) == ""
        return call

    def answers(self, call: Call) -> Call:
        call.advance(Status.PROGRESSING, self.time.now())
        self.meters.answered(call)
        return call

    def hangs_up(self, call: Call, cause: int = 16) -> None:
        if call.status is not Status.HANGUP:
            call.end(cause, self.time.now())
            self.meters.call_ended(call)

    def writes(self, call: Call, units: int | None = None, *, seen: bool = True) -> None:
        """The database holds what was asked for, or only ``units``; ``seen``: the mirror of accounts shows it."""
        granted = self.asked.pop(call.id) if units is None else units
        self.asked.pop(call.id, None)
        rate = self.meters._rates.find("call_pstn_outgoing", call.destination.target, call.tm_create)
        if seen:
            before = getattr(self, "_seen", {})
            self._seen = {**before, call.id: granted * rate.credit_per_unit}
            held = sum(self._seen.values())
            self.balance = Balance(
                self.account_id, self.balance.plan, self.balance.credit, self.balance.tokens, held, 0
            )
        self.meters.held(call.id, granted)

    def units(self, call: Call) -> int:
        units: int = self.meters.cdr(call)["billable_units"]
        return units
