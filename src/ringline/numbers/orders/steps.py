"""One step of an order: what is asked of the vendor, and what its answer changes.

A purchase is asked for only after ``sent`` was stored, and again only after the vendor has said that it never heard
of it. Configuring and releasing may be repeated at any time.
"""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import usage
from ringline.clock import Clock
from ringline.numbers import metrics
from ringline.numbers.address import address_of
from ringline.numbers.directory import NumberDirectory
from ringline.numbers.months import month_after
from ringline.numbers.orders import store
from ringline.numbers.orders.models import NumberOrder
from ringline.numbers.states import OrderKind, OrderState, Reason, Status
from ringline.numbers.tables import numbers
from ringline.storage import Database
from ringline.vendors.base import Vendor
from ringline.vendors.errors import (
    NotSupported,
    VendorBusy,
    VendorError,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
    VendorUncertain,
    VendorUnknown,
)
from ringline.vendors.models import Capability, Held, Order, Purchase
from ringline.vendors.registry import Vendors

log = structlog.get_logger(__name__)

ASKING_SECONDS: Final = 60.0
"""The longest that a vendor is waited for. Leases are longer, so that nobody asks besides."""
SETTLE: Final = timedelta(seconds=30)
"""After a request whose answer was lost the vendor may still be at work on it: "never heard of it" is believed only
when this has passed.
"""
FORGOTTEN: Final = timedelta(hours=1)
"""The same for an order that the vendor once had."""
GIVE_UP: Final = timedelta(hours=24)
"""A purchase of which the vendor has not heard by then is called off."""
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 900.0
OPERATOR_PAUSE: Final = 3600.0
"""Before the next try of something that somebody must mend first, unless a worker starts before."""
LONGER: Final = timedelta(seconds=1.25 * LONGEST_PAUSE)
"""Longer than any other pause."""
STRANGE_TRIES: Final = 10
"""After so many (some two hours) a vendor that does not know a number of ours will not get to know it."""
_SHOWN: Final = 300
_UNSALEABLE: Final = "numbers cannot be bought at the moment; tell whoever runs this installation"


def pause(attempts: int) -> timedelta:
    """How long to wait after this many tries: growing, and never the same for many orders."""
    seconds = min(FIRST_PAUSE * 2 ** min(attempts, 10), LONGEST_PAUSE)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, guards nothing


class OrderSteps:
    """Takes orders on. Whoever calls has the order's lease; it is given back or the order has ended."""

    def __init__(
        self, database: Database, vendors: Vendors, directory: NumberDirectory, clock: Clock
    ) -> None:
        self._database = database
        self._vendors = vendors
        self._directory = directory
        self._clock = clock

    async def take(self, order: NumberOrder) -> None:
        """Do what is to be done next. Raises ``DatabaseUnavailable``; the lease ends by itself then."""
        vendor = self._vendors.get(order.vendor)
        if vendor is None:
            await self._put_off(order, order.state, f"{order.vendor} is not set up", OPERATOR_PAUSE)
            return
        match order.kind:
            case OrderKind.BUY:
                await (self._buy if order.state is OrderState.INTENDED else self._look)(order, vendor)
            case OrderKind.CONFIGURE:
                await self._configure(order, vendor)
            case OrderKind.RELEASE:
                await self._release(order, vendor)

    async def said(self, order: NumberOrder, said: Order) -> bool:
        """Act on what a vendor says of a purchase, by its answer or by a webhook; whether that was news."""
        now = self._clock.now()
        async with self._database.begin() as connection:
            number = await store.locked_number(connection, order.number_id)
            match said.state:
                case "pending":
                    first = now + pause(0)
                    news = await store.pending(connection, order, said.reference, first, now)
                case "done":
                    news = await self._bought(connection, order, number, said)
                case "failed":
                    news = await self._rejected(connection, order, number, said)
        if news:
            log.info(
                "number_order_changed",
                order_id=str(order.id),
                customer_id=str(order.customer_id),
                number=order.number,
                vendor=order.vendor,
                state=said.state,
                reason=said.reason[:_SHOWN],
            )
            metrics.orders.labels(order.vendor, order.kind.value, said.state).inc()
            await self._directory.refresh(order.number_id)
        return news

    async def sold_after_all(self, order: NumberOrder, said: Order) -> bool:
        """A vendor has sold what it refused before: the customer was told "no", so it is given back before it costs a
        second month. Not where somebody has the number by now.
        """
        async with self._database.begin() as connection:
            return await store.add_release(
                connection, order, said.number_reference or order.number_reference, self._clock.now()
            )

    async def _buy(self, order: NumberOrder, vendor: Vendor) -> None:
        now = self._clock.now()
        if now - order.tm_create > GIVE_UP:
            await self.said(order, Order("failed", reason=f"{order.vendor} could not be reached"))
            return
        async with self._database.begin() as connection:
            sent = await store.sending(connection, order, now)
            if sent is None:
                await store.give_back(connection, order)
                return
        try:
            answer = await self._ask(vendor.buy(Purchase(sent.id, sent.number)))
        except (VendorRefused, VendorUnknown, NotSupported) as error:
            await self._refused(order, sent, vendor, error.message)
        except VendorMisconfigured as error:
            log.error("vendor_misconfigured", vendor=vendor.name, error=error.message)
            await self.said(sent, Order("failed", reason=_UNSALEABLE))
        except (VendorBusy, VendorUnavailable) as error:
            at_least = error.retry_after if isinstance(error, VendorBusy) else 0.0
            await self._put_off(sent, OrderState.INTENDED, error.message, at_least)
        except VendorError as error:
            await self._put_off(sent, OrderState.SENT, error.message)
        else:
            await self._heard(sent, answer)

    async def _refused(self, before: NumberOrder, sent: NumberOrder, vendor: Vendor, words: str) -> None:
        """Not sold; perhaps because an earlier request was carried out after it had been given up."""
        if before.tm_sent is not None:
            try:
                found = await self._ask(vendor.find_order(Purchase(sent.id, sent.number), sent.reference))
            except VendorError as error:
                await self._put_off(sent, OrderState.SENT, error.message)
                return
            if found is not None:
                await self._heard(sent, found)
                return
        await self.said(sent, Order("failed", reason=words))

    async def _look(self, order: NumberOrder, vendor: Vendor) -> None:
        """A purchase that the vendor may have: ask for it, never buy."""
        try:
            found = await self._ask(vendor.find_order(Purchase(order.id, order.number), order.reference))
        except VendorError as error:
            at_least = error.retry_after if isinstance(error, VendorBusy) else 0.0
            await self._put_off(order, order.state, error.message, at_least)
            return
        if found is not None:
            await self._heard(order, found)
            return
        patience = SETTLE if order.state is OrderState.SENT else FORGOTTEN
        since = self._clock.now() - (order.tm_sent or order.tm_create)
        if since >= patience:
            log.warning(
                "number_order_unknown", order_id=str(order.id), vendor=vendor.name, number=order.number
            )
            metrics.orders.labels(order.vendor, order.kind.value, "lost").inc()
            await self._put_off(order, OrderState.INTENDED, f"{order.vendor} does not know of it", soon=True)
        else:
            await self._put_off(order, order.state, f"{order.vendor} does not know of it")

    async def _heard(self, order: NumberOrder, answer: Order) -> None:
        if not await self.said(order, answer):
            # still pending, or a webhook was faster
            await self._put_off(order, order.state, "")
            return
        async with self._database.connect() as connection:
            await store.give_back(connection, order)

    async def _configure(self, order: NumberOrder, vendor: Vendor) -> None:
        async with self._database.connect() as connection:
            number = await store.locked_number(connection, order.number_id)
        if number is None or number.tm_delete is not None:
            await self._ended(order, OrderState.FAILED, "the number was given back")
            return
        order = await self._sent(order)
        held = Held(
            number.number,
            number.provider_reference_id,
            t38=number.t38_enabled,
            emergency=address_of(number.emergency_address) if number.emergency_enabled else None,
        )
        if held.emergency is not None and Capability.EMERGENCY_ADDRESS not in vendor.capabilities:
            await self._unconfigured(order, f"{vendor.name} has no emergency calls", held)
            return
        try:
            await self._ask(vendor.configure(held))
        except NotSupported:
            await self._ended(order, OrderState.DONE)
        except VendorRefused as error:
            if held.emergency is not None:
                await self._unconfigured(order, error.message, held)
            else:
                await self._put_off(order, order.state, error.message, OPERATOR_PAUSE)
        except VendorUnknown as error:
            # a number that was bought just now may not be in all of the vendor's books yet
            if order.attempts >= STRANGE_TRIES:
                await self._unconfigured(order, error.message, held)
            else:
                await self._put_off(order, order.state, error.message)
        except VendorError as error:
            at_least = OPERATOR_PAUSE if isinstance(error, VendorMisconfigured) else 0.0
            await self._put_off(order, order.state, error.message, at_least)
        else:
            await self._ended(order, OrderState.DONE)

    async def _unconfigured(self, order: NumberOrder, words: str, held: Held) -> None:
        """It cannot be done. Nobody is to rely on emergency calls that the vendor knows nothing of."""
        now, said = self._clock.now(), words[:_SHOWN]
        log.error("number_not_configured", vendor=order.vendor, number=order.number, error=said)
        async with self._database.begin() as connection:
            await store.locked_number(connection, order.number_id)
            over = await store.end(
                connection, order.id, OrderState.FAILED, now, reason=said, revision=order.revision
            )
            if not over:
                await store.give_back(connection, order)
                return
            if held.emergency is not None:
                values = {
                    "emergency_enabled": False,
                    "status_reason": f"{Reason.EMERGENCY_REFUSED.value}: {said}",
                    "tm_update": now,
                }
                row = await _set(connection, order, values)
                if row is not None:
                    # calls and texts are to arrive all the same
                    await store.want_configured(connection, row, now)
        self._count(order, "failed")

    async def _release(self, order: NumberOrder, vendor: Vendor) -> None:
        order = await self._sent(order)
        held = Held(order.number, order.number_reference, voice=False, messaging=False)
        try:
            await self._ask(vendor.release(held))
        except (VendorUnknown, NotSupported):
            await self._ended(order, OrderState.DONE)
        except (VendorRefused, VendorMisconfigured) as error:
            log.error(
                "number_not_released", vendor=vendor.name, number=order.number, error=error.message[:_SHOWN]
            )
            await self._put_off(order, order.state, error.message, OPERATOR_PAUSE)
        except VendorError as error:
            await self._put_off(order, order.state, error.message)
        else:
            await self._ended(order, OrderState.DONE)

    async def _sent(self, order: NumberOrder) -> NumberOrder:
        async with self._database.begin() as connection:
            return await store.sending(connection, order, self._clock.now()) or order

    async def _ask(self, asked: Any) -> Any:
        """The vendor's answer, or ``VendorError``: whatever else goes wrong leaves open what was done."""
        try:
            async with asyncio.timeout(ASKING_SECONDS):
                return await asked
        except VendorError:
            raise
        except TimeoutError as late:
            raise VendorUncertain(f"no answer in {ASKING_SECONDS:g} s") from late
        except Exception as error:
            log.exception("vendor_failed", error=repr(error))
            raise VendorUncertain("the vendor's answer was not understood") from error

    async def _bought(
        self, connection: AsyncConnection, order: NumberOrder, number: Any, said: Order
    ) -> bool:
        now = self._clock.now()
        if not await store.end(
            connection,
            order.id,
            OrderState.DONE,
            now,
            reference=said.reference,
            number_reference=said.number_reference,
        ):
            return False
        if number is not None and number.status == Status.PURCHASE_PENDING:
            values = {
                "status": Status.ACTIVE.value,
                "provider_reference_id": said.number_reference,
                "tm_purchase": now,
                "tm_renew": month_after(now, now.day),
                "tm_update": now,
            }
            row = await _set(connection, order, values)
            if row is not None:
                await store.want_configured(connection, row, now)
            return True
        # it was given back before it was bought
        await store.add(
            connection,
            customer_id=order.customer_id,
            number_id=order.number_id,
            number=order.number,
            vendor=order.vendor,
            kind=OrderKind.RELEASE,
            number_reference=said.number_reference,
            now=now,
        )
        return True

    async def _rejected(
        self, connection: AsyncConnection, order: NumberOrder, number: Any, said: Order
    ) -> bool:
        now = self._clock.now()
        reason = said.reason[:_SHOWN]
        if not await store.end(
            connection, order.id, OrderState.FAILED, now, reason=reason, reference=said.reference
        ):
            return False
        await usage.give_back(connection, order.number_id, now, f"{order.number} was not sold")
        if number is not None and number.status == Status.PURCHASE_PENDING:
            words = (
                f"{Reason.PURCHASE_REJECTED.value}: {reason}" if reason else Reason.PURCHASE_REJECTED.value
            )
            await _set(
                connection,
                order,
                {
                    "status": Status.DELETED.value,
                    "status_reason": words,
                    "tm_update": now,
                    "tm_delete": now,
                },
            )
        return True

    async def _ended(self, order: NumberOrder, state: OrderState, reason: str = "") -> None:
        async with self._database.begin() as connection:
            over = await store.end(
                connection, order.id, state, self._clock.now(), reason=reason, revision=order.revision
            )
            if not over:
                await store.give_back(connection, order)
        if over:
            self._count(order, state.value)
            log.info(
                "number_order_ended",
                order_id=str(order.id),
                number=order.number,
                vendor=order.vendor,
                kind=order.kind.value,
                state=state.value,
                reason=reason,
            )

    async def _put_off(
        self,
        order: NumberOrder,
        state: OrderState,
        reason: str,
        at_least: float = 0.0,
        *,
        soon: bool = False,
    ) -> None:
        now = self._clock.now()
        wait = timedelta() if soon else max(pause(order.attempts), timedelta(seconds=at_least))
        async with self._database.begin() as connection:
            await store.put_off(
                connection, order, state=state, next_at=now + wait, now=now, reason=reason[:_SHOWN]
            )
        if reason:
            log.warning(
                "number_order_put_off",
                order_id=str(order.id),
                number=order.number,
                vendor=order.vendor,
                kind=order.kind.value,
                state=state.value,
                reason=reason[:_SHOWN],
                seconds=round(wait.total_seconds(), 1),
            )
            self._count(order, "uncertain" if state is OrderState.SENT else "retried")

    def _count(self, order: NumberOrder, outcome: str) -> None:
        metrics.orders.labels(order.vendor, order.kind.value, outcome).inc()


async def _set(connection: AsyncConnection, order: NumberOrder, values: dict[str, Any]) -> Any:
    """Change the order's number, if it is live; its row as it is then."""
    statement = (
        update(numbers)
        .where(numbers.c.id == order.number_id, numbers.c.tm_delete.is_(None))
        .values(values)
        .returning(numbers)
    )
    return (await connection.execute(statement)).first()
