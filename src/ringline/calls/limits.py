"""How many calls a customer, an extension and a trunk may have at once, and how fast they may be placed.

Nothing is counted twice: what lasts is what the switchboard has, so a crash leaves nothing behind, and the calls of a
controller before count as soon as they are restored. Where several controllers stand beside each other each adds what
it heard last of the others (``calls.elsewhere``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from ringline.calls import metrics
from ringline.calls.call import ZERO
from ringline.calls.tally import Tally
from ringline.errors import ResourceExhausted

TOO_MANY_CALLS = "too_many_calls"
TOO_MANY_CALLS_OF_ACCOUNT = "too_many_calls_of_account"
RETRY_SECONDS = 1
_MOST_BUCKETS = 10_000
_HAIR = 1e-6
_TELL_SECONDS = 5.0
"""So long after the last one others are told how many calls of a customer were placed."""
_MOST_DEBT_SECONDS = 5.0
"""What others placed beyond the pace is waited for no longer."""


class LimitReached(ResourceExhausted):
    """429: the customer has, or places, as many calls as it may; the message names the limit and its value."""

    default_reason = "LIMIT_REACHED"


@dataclass(frozen=True, slots=True)
class Caps:
    """``max_calls`` at once, ``calls_per_second`` placed; 0 is no limit."""

    max_calls: int = 0
    calls_per_second: int = 0


class Set(Protocol):
    """What was set for one customer (``outbound.OutboundConfig``); 0 is the installation's."""

    @property
    def max_calls(self) -> int: ...

    @property
    def calls_per_second(self) -> int: ...


class Others(Protocol):
    """What of limits is used on other controllers (``calls.elsewhere.Elsewhere``)."""

    def present(self, key: UUID) -> int: ...

    def waiting(self, customer_id: UUID) -> int: ...


class _Nobody:
    """There is one controller."""

    def present(self, key: UUID) -> int:
        return 0

    def waiting(self, customer_id: UUID) -> int:
        return 0


class Limits:
    """Judges before anything is placed. Synchronous, and looks only into memory."""

    def __init__(
        self,
        tally: Tally,
        of: Callable[[UUID], Set | None],
        default: Caps,
        *,
        account: Callable[[UUID], int] = lambda _: 0,
        account_calls: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``default``: the installation's, for whom nothing was set. ``account`` to the calls at once that an
        extension or a trunk may have by its own ``max_calls``, ``account_calls`` for those where it is 0.
        """
        self._tally = tally
        self._of = of
        self._default = default
        self._account = account
        self._account_calls = account_calls
        self._now = now
        self._reserved: Counter[UUID] = Counter()
        self._buckets: dict[UUID, tuple[float, float]] = {}
        self._placed: dict[UUID, tuple[int, float]] | None = None
        self.others: Others = _Nobody()
        self.waiting: Callable[[UUID], bool] = lambda _: False
        """Whether calls of a customer wait for their turn (``calls.pacing``)."""

    def caps(self, customer_id: UUID) -> Caps:
        """What is in force for a customer."""
        found = self._of(customer_id)
        return self._default if found is None else self.effective(found.max_calls, found.calls_per_second)

    def effective(self, max_calls: int, calls_per_second: int) -> Caps:
        """What these settings amount to."""
        return Caps(max_calls or self._default.max_calls, calls_per_second or self._default.calls_per_second)

    def take(self, customer_id: UUID, calls: int) -> None:
        """``calls`` are about to be placed, before anything else happens. Raises ``LimitReached``."""
        if not calls:
            return
        caps = self.caps(customer_id)
        present = self.present(customer_id)
        if caps.max_calls and present + calls > caps.max_calls:
            raise self.reached(
                "max_calls",
                caps.max_calls,
                f"You may have {caps.max_calls} calls at once (max_calls); {present} last now and {calls} more"
                " are asked for.",
                RETRY_SECONDS,
            )
        if caps.calls_per_second and (wait := self._wait(customer_id, calls, caps.calls_per_second)):
            raise self.reached(
                "calls_per_second",
                caps.calls_per_second,
                f"You may place {caps.calls_per_second} calls within a second (calls_per_second); {calls} more are"
                " asked for. Place them later, or fewer at once.",
                max(1, round(wait + 0.5)),
            )

    @contextmanager
    def reserve(self, customer_id: UUID, calls: int) -> Iterator[None]:
        """As ``take``, and they count as present within: for whoever waits for a database in between."""
        self.take(customer_id, calls)
        with self.hold(customer_id, calls):
            yield

    @contextmanager
    def hold(self, customer_id: UUID, calls: int) -> Iterator[None]:
        """Calls that were granted count as present within."""
        self._reserved[customer_id] += calls
        try:
            yield
        finally:
            self._reserved[customer_id] -= calls
            if self._reserved[customer_id] <= 0:
                del self._reserved[customer_id]

    def grant(self, customer_id: UUID, wanted: int) -> int:
        """How many of ``wanted`` calls may be placed now; so many are taken from the customer's pace."""
        caps = self.caps(customer_id)
        granted = wanted
        if caps.max_calls:
            granted = min(granted, max(0, caps.max_calls - self.present(customer_id)))
        if caps.calls_per_second and granted:
            left = self._left(customer_id, caps.calls_per_second)
            granted = min(granted, max(0, int(left + _HAIR)))
            self._keep(customer_id, left - granted)
            self._note(customer_id, granted)
        return granted

    def give_back(self, customer_id: UUID, calls: int) -> None:
        """Calls that were granted are not placed."""
        if calls and (rate := self.caps(customer_id).calls_per_second):
            self._keep(customer_id, self._left(customer_id, rate) + calls)
            self._note(customer_id, -calls)

    def seconds(self, customer_id: UUID, calls: int) -> float:
        """How long it takes until the pace lets so many calls be placed; 0: what they wait for is something else."""
        rate = self.caps(customer_id).calls_per_second
        return max(0.0, (calls - self._left(customer_id, rate)) / rate) if rate else 0.0

    def refusal(self, customer_id: UUID, account_id: UUID = ZERO) -> str | None:
        """Why one more call that comes in is not taken (a reason for ``calls_refused``), ``None`` where it is.

        ``account_id`` is the extension or trunk that dials.
        """
        if account_id != ZERO:
            limit = self._account(account_id) or self._account_calls
            if limit and self._tally.of_account(account_id) + self.others.present(account_id) >= limit:
                return TOO_MANY_CALLS_OF_ACCOUNT
        most = self.caps(customer_id).max_calls
        if most and self.present(customer_id) >= most:
            return TOO_MANY_CALLS
        return None

    def present(self, customer_id: UUID) -> int:
        """Calls of a customer that last, and those about to be placed; on all controllers."""
        here = self._tally.of_customer(customer_id) + self._reserved[customer_id]
        return here + self.others.present(customer_id)

    # several controllers

    def share(self, others: Others) -> None:
        """There are ``others``, and they are told what is placed here."""
        self.others = others
        self._placed = {}

    def lasting(self) -> dict[UUID, int]:
        """Of each customer, extension and trunk the calls here that last, and those about to be placed."""
        found = dict(self._tally.all())
        for customer_id, calls in self._reserved.items():
            found[customer_id] = found.get(customer_id, 0) + calls
        return found

    def placed(self) -> dict[UUID, int]:
        """How many calls of each customer were placed here since it began to place any; idle ones are left out."""
        if self._placed is None:
            return {}
        long_ago = self._now() - _TELL_SECONDS
        for customer_id in [one for one, (_, last) in self._placed.items() if last < long_ago]:
            del self._placed[customer_id]
        return {customer_id: calls for customer_id, (calls, _) in self._placed.items()}

    def placed_elsewhere(self, customer_id: UUID, calls: int) -> None:
        """Another controller placed so many: over time all together keep the customer's pace."""
        if rate := self.caps(customer_id).calls_per_second:
            left = max(self._left(customer_id, rate) - calls, -rate * _MOST_DEBT_SECONDS)
            self._keep(customer_id, min(float(rate), left))

    def _note(self, customer_id: UUID, calls: int) -> None:
        if self._placed is not None and calls:
            before, _ = self._placed.get(customer_id, (0, 0.0))
            self._placed[customer_id] = before + calls, self._now()

    def _wait(self, customer_id: UUID, calls: int, rate: int) -> float:
        """Take from a bucket that holds one second's worth; 0, or the seconds until that many are there.

        What waits for its turn takes each one as it comes. So that flows can call meanwhile they may take a second's
        worth in advance, and those that wait do so a little longer.
        """
        left = self._left(customer_id, rate)
        floor = -rate if self.waiting(customer_id) else 0
        if left - calls < floor - _HAIR:
            self._keep(customer_id, left)
            return (calls + floor - left) / rate
        self._keep(customer_id, left - calls)
        self._note(customer_id, calls)
        return 0.0

    def _left(self, customer_id: UUID, rate: int) -> float:
        now = self._now()
        left, since = self._buckets.get(customer_id, (float(rate), now))
        return min(float(rate), left + (now - since) * rate)

    def _keep(self, customer_id: UUID, left: float) -> None:
        if len(self._buckets) >= _MOST_BUCKETS:
            self._buckets.clear()
        self._buckets[customer_id] = (left, self._now())

    @staticmethod
    def reached(name: str, value: int, message: str, seconds: int) -> LimitReached:
        """The error of a limit, counted."""
        metrics.limits_reached.labels(name).inc()
        return LimitReached(
            message, details=[{"limit": name, "value": value, "retry_after": seconds, "message": message}]
        )
