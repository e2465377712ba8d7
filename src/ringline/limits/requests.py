"""How many requests a customer, and each of its credentials, may send: token buckets in memory.

Two buckets judge a request: its credential's and its customer's. Nothing waits in here: where a bucket is empty the
request is refused, and told when the next one would be taken. Other processes' share is made known by
``limits.sharing``.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from ringline.http import Principal

MOST_BUCKETS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Rate:
    """``per_second`` on average, ``burst`` at once. 0 a second is no limit."""

    per_second: int
    burst: int


class Bucket:
    """What is left of one limit. ``taken`` counts what was taken here since it was last told to others."""

    __slots__ = (
        "_left",
        "_limit",
        "_name",
        "_now",
        "_policy",
        "_since",
        "burst",
        "rate",
        "settled",
        "synced",
        "taken",
        "total",
    )

    def __init__(self, name: str, rate: Rate, now: Callable[[], float]) -> None:
        self.rate = float(rate.per_second)
        self.burst = float(max(rate.burst, rate.per_second, 1))
        self._now = now
        since = now()
        self._left, self._since = self.burst, since
        self.taken = 0
        # what was left, and when, when others' use was last known; and how much had been used by then
        self.settled, self.synced = self.burst, since
        self.total = -1
        self._limit = str(int(self.burst))
        self._name = f'"{name}"'
        window = max(1, round(self.burst / self.rate)) if self.rate else 1
        self._policy = f"{self._name};q={self._limit};w={window}"

    def left(self, now: float) -> float:
        """Requests that may be sent now; fewer than none where other processes took more than there were."""
        return min(self.burst, self._left + (now - self._since) * self.rate)

    def take(self, now: float) -> float:
        """Take one. Returns 0, or the seconds until there is one."""
        left = min(self.burst, self._left + (now - self._since) * self.rate)
        if left < 1.0:
            return (1.0 - left) / self.rate
        self._left, self._since = left - 1.0, now
        self.taken += 1
        return 0.0

    def give_back(self) -> None:
        """What was taken was not used."""
        self._left = min(self.burst, self._left + 1.0)
        self.taken -= 1

    def used_elsewhere(self, others: int, own: int, now: float) -> None:
        """Others took so many, and we ``own``, since this was last said."""
        left = self.settled + (now - self.synced) * self.rate - own - others
        # what was taken here while the answer was on its way is not among ``own``
        self._left, self._since = min(self.burst, left) - self.taken, now
        self.settled, self.synced = self._left + self.taken, now

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What an answer says of it: the usual headers, and those of the IETF's draft (ratelimit-headers)."""
        left = self.left(self._now())
        remaining = int(left) if left > 0 else 0
        seconds = math.ceil((self.burst - left) / self.rate)
        return (
            ("X-RateLimit-Limit", self._limit),
            ("X-RateLimit-Remaining", str(remaining)),
            ("X-RateLimit-Reset", str(int(time.time()) + seconds)),
            ("RateLimit-Policy", self._policy),
            ("RateLimit", f"{self._name};r={remaining};t={seconds}"),
        )


class Requests:
    """Judges each request (``ringline.http.Rates``)."""

    def __init__(
        self,
        of_customer: Callable[[UUID], Rate],
        of_credential: Callable[[UUID], Rate],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Both are asked with a customer's id; ``changed`` says that their answers may have."""
        self._of_customer = of_customer
        self._of_credential = of_credential
        self._now = now
        self.customers: OrderedDict[UUID, Bucket] = OrderedDict()
        self.credentials: OrderedDict[UUID, Bucket] = OrderedDict()

    def take(self, principal: Principal) -> tuple[Bucket | None, float, str]:
        """Count a request. The tighter bucket, 0 or the seconds to wait, and whose bucket that is."""
        now = self._now()
        customer_id = principal.customer_id
        whole = self.customers.get(customer_id)
        if whole is None:
            whole = self._made(self.customers, customer_id, "customer", self._of_customer(customer_id))
        key = principal.accesskey_id or principal.agent_id or customer_id
        own = self.credentials.get(key)
        if own is None:
            own = self._made(self.credentials, key, "credential", self._of_credential(customer_id))
        if own.rate and (wait := own.take(now)):
            return own, wait, "this credential"
        if whole.rate and (wait := whole.take(now)):
            if own.rate:
                own.give_back()
            return whole, wait, "your customer"
        if not whole.rate or (own.rate and own.left(now) < whole.left(now)):
            whole = own
        return (whole if whole.rate else None), 0.0, ""

    def left(self, principal: Principal) -> tuple[int | None, int | None]:
        """How many requests the customer, and this credential, may send now; ``None`` where others count them."""
        now = self._now()
        key = principal.accesskey_id or principal.agent_id or principal.customer_id
        found = self.customers.get(principal.customer_id), self.credentials.get(key)
        customer, credential = (None if one is None else max(0, int(one.left(now))) for one in found)
        return customer, credential

    def changed(self) -> None:
        """Limits were set: buckets of another size are made anew, full."""
        for key, bucket in list(self.customers.items()):
            wanted = Bucket("", self._of_customer(key), self._now)
            if (bucket.rate, bucket.burst) != (wanted.rate, wanted.burst):
                del self.customers[key]
                self.credentials.clear()

    def _made(self, buckets: OrderedDict[UUID, Bucket], key: UUID, name: str, rate: Rate) -> Bucket:
        if len(buckets) >= MOST_BUCKETS:
            buckets.popitem(last=False)
        made = buckets[key] = Bucket(name, rate, self._now)
        return made
