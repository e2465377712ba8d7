"""Asking the vendors what they have: all at once, within a time, in the operator's order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter

from ringline.clock import Clock
from ringline.customers.limiter import Limiter
from ringline.errors import ResourceExhausted, Unavailable
from ringline.metrics import registry
from ringline.vendors.base import Vendor
from ringline.vendors.errors import NotSupported, VendorError
from ringline.vendors.models import Capability, Offer, Search
from ringline.vendors.registry import Vendors

log = structlog.get_logger(__name__)

SEARCH_SECONDS: Final = 10.0
KEPT_SECONDS: Final = 5.0
"""The same question again within this time is not asked of the vendors, who count."""
_MOST_KEPT: Final = 200
_SPARE: Final = 20
"""More than wanted is asked for: some may be ours already."""

BURST: Final = 120
PER_SECOND: Final = 2.0
"""Questions of one customer that vendors are asked: they count all of ours together."""

VIRTUAL: Final = "virtual"

_searches = Counter(
    "ringline_number_searches",
    "Searches of numbers by vendor and outcome: found, nothing, failed, late.",
    ["vendor", "outcome"],
    registry=registry,
)


@dataclass(slots=True)
class _Kept:
    until: float
    asked: asyncio.Task[list[Offer]]


class AvailableNumberService:
    """``ours`` says whether a number exists here already, whoever has it."""

    def __init__(self, vendors: Vendors, ours: Callable[[str], bool], clock: Clock) -> None:
        self._vendors = vendors
        self._ours = ours
        self._clock = clock
        self._kept: dict[Search, _Kept] = {}
        self._limiter = Limiter(PER_SECOND, BURST, now=clock.monotonic)

    async def virtual(self, wanted: Search) -> list[Offer]:
        """Virtual numbers that are free."""
        vendor = self._vendors.get(VIRTUAL)
        return [] if vendor is None else await vendor.search(wanted)

    async def normal(self, customer_id: UUID, wanted: Search) -> list[Offer]:
        """Numbers of the telephone network that are not ours yet.

        Raises ``Unavailable`` where nobody answered, ``ResourceExhausted`` for a customer who asks too much.
        """
        offers = await self._cached(customer_id, replace(wanted, limit=wanted.limit + _SPARE))
        return [offer for offer in offers if not self._ours(offer.number)][: wanted.limit]

    async def _cached(self, customer_id: UUID, wanted: Search) -> list[Offer]:
        now = self._clock.monotonic()
        for search in [search for search, kept in self._kept.items() if kept.until <= now]:
            del self._kept[search]
        kept = self._kept.get(wanted)
        if kept is None:
            if (wait := self._limiter.take(customer_id)) > 0:
                raise ResourceExhausted(
                    f"More than {BURST} searches in a minute; try again in {max(1, round(wait))} s.",
                    details=[{"retry_after": max(1, round(wait))}],
                )
            asked = asyncio.create_task(self._ask(wanted), name="number search")
            kept = _Kept(now + KEPT_SECONDS, asked)
            if len(self._kept) < _MOST_KEPT:
                self._kept[wanted] = kept
                asked.add_done_callback(lambda task: self._settled(wanted, task))
        # who goes away does not end the search of the others
        return await asyncio.shield(kept.asked)

    def _settled(self, wanted: Search, task: asyncio.Task[list[Offer]]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._kept.pop(wanted, None)

    async def _ask(self, wanted: Search) -> list[Offer]:
        vendors = [vendor for vendor in self._vendors.able(Capability.SEARCH) if vendor.name != VIRTUAL]
        answers = await asyncio.gather(*(self._one(vendor, wanted) for vendor in vendors))
        faults = [answer for answer in answers if isinstance(answer, str)]
        if len(faults) == len(vendors):
            why = "; ".join(faults) or "no vendor of numbers is set up here"
            raise Unavailable(f"No numbers can be looked up now: {why}.", reason="NUMBER_VENDOR_UNAVAILABLE")
        found: dict[str, Offer] = {}
        for answer in answers:
            if not isinstance(answer, str):
                for offer in answer:
                    found.setdefault(offer.number, offer)
        return list(found.values())

    async def _one(self, vendor: Vendor, wanted: Search) -> list[Offer] | str:
        """What a vendor has, or why it did not say."""
        try:
            async with asyncio.timeout(SEARCH_SECONDS):
                found = await vendor.search(wanted)
        except NotSupported:
            return []
        except VendorError as error:
            _searches.labels(vendor.name, "failed").inc()
            log.warning("number_search_failed", vendor=vendor.name, error=error.message)
            return error.message
        except TimeoutError:
            _searches.labels(vendor.name, "late").inc()
            log.warning("number_search_failed", vendor=vendor.name, error="late")
            return f"{vendor.name} did not answer in {SEARCH_SECONDS:g} s"
        except Exception:
            _searches.labels(vendor.name, "failed").inc()
            log.exception("number_search_failed", vendor=vendor.name)
            return f"{vendor.name} answered what cannot be read"
        _searches.labels(vendor.name, "found" if found else "nothing").inc()
        return found
