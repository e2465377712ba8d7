"""A vendor in memory that keeps its books, and does at each request what the test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import ClassVar
from uuid import UUID

from ringline.vendors.base import Vendor
from ringline.vendors.errors import VendorError, VendorRefused, VendorUncertain, VendorUnknown
from ringline.vendors.models import Capability, Held, Offer, Order, OrderState, Purchase


class FakeVendor(Vendor):
    """Sells any number that it has not sold. ``before`` and ``after`` a request is done a test may raise or wait.

    ``confirms`` orders at once, or leaves them pending until ``decide``.
    """

    name: ClassVar[str] = "fake"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.SEARCH,
            Capability.BUY,
            Capability.RELEASE,
            Capability.CONFIGURE_VOICE,
            Capability.EMERGENCY_ADDRESS,
        }
    )

    def __init__(self) -> None:
        self.confirms = True
        self.orders: dict[UUID, Order] = {}
        self.numbers: dict[UUID, str] = {}
        self.held: dict[str, Held | None] = {}
        self.bought: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.not_sold: set[str] = set()
        self.before: dict[str, list[VendorError | Callable[[], object]]] = {}
        self.after: dict[str, list[VendorError | Callable[[], object]]] = {}
        self.delay = 0.0

    async def find(self, number: str) -> Offer | None:
        await self._begin("find")
        taken = number in self.held or number in self.not_sold
        return None if taken else Offer(number, "US", "local")

    async def buy(self, purchase: Purchase) -> Order:
        await self._begin("buy")
        if purchase.number in self.held or purchase.number in self.not_sold:
            raise VendorRefused("fake: the number is gone")
        self.bought[purchase.number] += 1
        state: OrderState = "done" if self.confirms else "pending"
        order = Order(state, f"order-{purchase.id}", f"number-{purchase.number}" if self.confirms else "")
        self.orders[purchase.id] = order
        self.numbers[purchase.id] = purchase.number
        self.held[purchase.number] = None
        self._end("buy")
        return order

    async def find_order(self, purchase: Purchase, reference: str) -> Order | None:
        await self._begin("find_order")
        self._end("find_order")
        return self.orders.get(purchase.id)

    async def configure(self, held: Held) -> None:
        await self._begin("configure")
        if held.number not in self.held:
            raise VendorUnknown("fake: no such number")
        if held.emergency is not None and held.emergency.street == "Nowhere 1":
            raise VendorRefused("fake: there is no such street")
        self.held[held.number] = held
        self._end("configure")

    async def release(self, held: Held) -> None:
        await self._begin("release")
        self.held.pop(held.number, None)
        self._end("release")

    async def check(self) -> str:
        return f"{len(self.held)} numbers"

    def decide(self, purchase_id: UUID, state: OrderState, reason: str = "") -> Order:
        """Confirm or reject a pending order, as days later."""
        number = self.numbers[purchase_id]
        if state == "failed":
            self.held.pop(number, None)
        order = Order(state, f"order-{purchase_id}", f"number-{number}", reason)
        self.orders[purchase_id] = order
        return order

    async def _begin(self, what: str) -> None:
        self.asked[what] += 1
        await asyncio.sleep(self.delay)
        self._play(self.before.get(what))

    def _end(self, what: str) -> None:
        self._play(self.after.get(what))

    def _play(self, script: list[VendorError | Callable[[], object]] | None) -> None:
        if script:
            step = script.pop(0)
            if isinstance(step, VendorError):
                raise step
            step()


def lost() -> VendorUncertain:
    """What comes of an answer that is cut off."""
    return VendorUncertain("fake: the answer was cut off")
