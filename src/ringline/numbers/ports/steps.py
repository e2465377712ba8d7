"""One step of a port: what its vendor is asked, and what the answer changes.

A vendor is asked to port only after that was stored, and again only after it has said that it never heard of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.clock import Clock
from ringline.errors import AlreadyExists
from ringline.numbers.ports import metrics, store
from ringline.numbers.ports.states import NumberStatus, Status, ended, may_follow
from ringline.numbers.service import HoldFlow
from ringline.numbers.tables import numbers as held_numbers
from ringline.storage import Database
from ringline.vendors.base import Vendor
from ringline.vendors.errors import (
    NotSupported,
    VendorBusy,
    VendorError,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
    VendorUnknown,
)
from ringline.vendors.models import Address, Letter, Port, PortProgress
from ringline.vendors.registry import Vendors

log = structlog.get_logger(__name__)

ASKING_SECONDS: Final = 120.0
"""The longest that a vendor is waited for: letters travel with the request."""
SETTLE: Final = timedelta(minutes=1)
"""After a request whose answer was lost the vendor may still be at work on it: "never heard of it" is believed only
when this has passed.
"""
FORGOTTEN: Final = timedelta(days=1)
"""The same for a port that the vendor once had."""
FIRST_LOOK, LONGEST_LOOK = 15.0, 900.0
"""Seconds between looks at a port that nobody reports of."""
OPERATOR_PAUSE: Final = 3600.0
"""Before the next try of something that somebody must mend first, unless a worker starts before."""
LONGER: Final = timedelta(seconds=1.25 * LONGEST_LOOK)
"""Longer than any other pause."""
_SHOWN: Final = 500
_NOT_NOW: Final = "the provider cannot be asked at the moment; tell whoever runs this installation"


class Acquire(Protocol):
    """``numbers.acquiring.acquired``."""

    def __call__(
        self,
        connection: AsyncConnection,
        *,
        customer_id: UUID,
        number: str,
        vendor: str,
        reference: str,
        name: str = "",
    ) -> Awaitable[UUID]: ...


class PortSteps:
    """Takes ports on. ``acquired`` is called after the commit with the ids of numbers that have become ours."""

    def __init__(
        self,
        database: Database,
        vendors: Vendors,
        clock: Clock,
        *,
        acquire: Acquire,
        acquired: Callable[[list[UUID]], Awaitable[None]],
        hold_flow: HoldFlow,
    ) -> None:
        self._database = database
        self._vendors = vendors
        self._clock = clock
        self._acquire = acquire
        self._acquired = acquired
        self._hold_flow = hold_flow

    async def take(self, row: Row[Any]) -> None:
        """Do what is to be done next with a port that is leased. Raises ``DatabaseUnavailable``."""
        vendor = self._vendors.get(row.provider_name)
        if vendor is None:
            await self._put_off(row, OPERATOR_PAUSE, _NOT_NOW)
            return
        try:
            async with asyncio.timeout(ASKING_SECONDS):
                progress = await self._ask(row, vendor)
        except TimeoutError:
            await self._put_off(row, _pause(row.attempts))
        except VendorBusy as busy:
            await self._put_off(row, max(busy.retry_after, 1.0), unsent=row.tm_sent is None)
        except VendorMisconfigured as wrong:
            log.error("number_port_vendor_misconfigured", vendor=vendor.name, why=wrong.message)
            await self._put_off(row, OPERATOR_PAUSE, _NOT_NOW, unsent=row.tm_sent is None)
        except VendorUnavailable:
            await self._put_off(row, _pause(row.attempts), unsent=row.tm_sent is None)
        except VendorError as error:
            log.warning("number_port_failed", port_id=str(row.id), vendor=vendor.name, why=error.message)
            await self._put_off(row, _pause(row.attempts))
        else:
            if progress is not None:
                await self.said(row, progress)

    async def said(self, row: Row[Any], progress: PortProgress) -> None:
        """Act on what a vendor says of a port; nothing of it may be new."""
        now = self._clock.now()
        async with self._database.begin() as connection:
            # held before any row is touched, as where a number's flows are set: their deletion waits, or came first
            flows = {
                column: flow_id
                for column in ("call_flow_id", "message_flow_id")
                if (flow_id := getattr(row, column)) is not None
                and await self._hold_flow(connection, row.customer_id, flow_id)
            }
            fresh = await store.locked(connection, row.id)
            if fresh is None or fresh.request_id != row.request_id or ended(Status(fresh.status)):
                return
            new = await self._take_over(connection, fresh, progress, flows)
            await self._step(connection, row, fresh, progress, now)
        if new:
            await self._acquired(new)

    async def _ask(self, row: Row[Any], vendor: Vendor) -> PortProgress | None:
        """What the vendor says now; ``None``: nothing, and the port has been put off."""
        if row.former_reference and not await self._withdraw(row, vendor):
            return None
        port = await self._port(row)
        if not row.reference:
            if row.tm_sent is None:
                return await self._submit(row, vendor)
            return await self._look_for(row, vendor, port)
        if row.cancel_requested:
            try:
                return await vendor.cancel_port(port, row.reference)
            except (VendorRefused, NotSupported) as refused:
                await self._not_cancelled(row, refused.message)
        progress = await vendor.find_port(port, row.reference)
        if progress is None and self._clock.now() - row.tm_submit >= FORGOTTEN:
            return PortProgress(
                "exception", reason="the provider knows nothing of this port; submit it again"
            )
        if progress is None:
            raise VendorUnknown(f"{vendor.name} knows nothing of {row.reference}")
        if progress.state == "draft" and not row.cancel_requested:
            return await self._port_at(row, vendor)
        return progress

    async def _submit(self, row: Row[Any], vendor: Vendor) -> PortProgress | None:
        if not await self._mark_sent(row):
            return None
        return await self._port_at(row, vendor)

    async def _port_at(self, row: Row[Any], vendor: Vendor) -> PortProgress:
        port = await self._port(row, whole=True)
        try:
            return await vendor.port(port)
        except (VendorRefused, VendorUnknown, NotSupported) as refused:
            return PortProgress("exception", reason=refused.message)

    async def _look_for(self, row: Row[Any], vendor: Vendor, port: Port) -> PortProgress | None:
        """What became of a request whose answer nobody has."""
        progress = await vendor.find_port(port, "")
        if progress is not None and progress.state == "draft" and not row.cancel_requested:
            return await self._port_at(row, vendor)
        if progress is not None:
            return progress
        since = self._clock.now() - row.tm_sent
        if since < SETTLE:
            await self._put_off(row, (SETTLE - since).total_seconds())
        else:
            await self._put_off(row, 0.0, unsent=True)
        return None

    async def _withdraw(self, row: Row[Any], vendor: Vendor) -> bool:
        """Call off the request that the present one replaces; whether it is gone."""
        goes_on = False
        former = await self._port(row, request_id=row.former_request_id)
        try:
            progress = await vendor.cancel_port(former, row.former_reference)
        except VendorUnknown:
            progress = PortProgress("cancelled")
        except (VendorRefused, NotSupported):
            # it goes on as it was: what the customer mended comes too late
            found = await vendor.find_port(former, row.former_reference)
            progress = PortProgress("cancelled") if found is None else found
            goes_on = progress.state != "cancelled"
        if progress.state == "ported":
            goes_on = True
        elif progress.state != "cancelled" and not goes_on:
            await self._put_off(row, _look(row.attempts))
            return False
        values: dict[str, Any] = {"former_reference": "", "former_request_id": None}
        if goes_on:
            values |= {"request_id": row.former_request_id, "reference": row.former_reference}
        async with self._database.begin() as connection:
            fresh = await store.locked(connection, row.id)
            if fresh is None or fresh.request_id != row.request_id:
                return False
            kept = await store.change(connection, row.id, values)
        if goes_on:
            await self.said(kept, progress)
        return not goes_on

    async def _mark_sent(self, row: Row[Any]) -> bool:
        """Store that the vendor is about to be asked; whether it is still to be."""
        now = self._clock.now()
        async with self._database.begin() as connection:
            fresh = await store.locked(connection, row.id)
            if fresh is None or fresh.request_id != row.request_id or ended(Status(fresh.status)):
                return False
            if fresh.cancel_requested:
                await store.free_numbers(connection, row.id)
                await store.change(connection, row.id, store.end(fresh, Status.CANCELLED, "", now))
                return False
            await store.change(connection, row.id, {"tm_sent": now})
        return True

    async def _not_cancelled(self, row: Row[Any], why: str) -> None:
        now = self._clock.now()
        async with self._database.begin() as connection:
            fresh = await store.locked(connection, row.id)
            if fresh is not None and fresh.request_id == row.request_id:
                reason = f"It cannot be called off any more: {why}"[:_SHOWN]
                step = store.step(fresh, Status(fresh.status), reason, now)
                await store.change(connection, row.id, {**step, "cancel_requested": False})

    async def _take_over(
        self,
        connection: AsyncConnection,
        fresh: Row[Any],
        progress: PortProgress,
        flows: dict[str, UUID],
    ) -> list[UUID]:
        """Make numbers that were ported ours; the ids of those that are new."""
        mine = (await store.numbers_of(connection, [fresh.id]))[fresh.id]
        done = dict(progress.number_references)
        if progress.state == "ported" and not done:
            done = {entry.number: "" for entry in mine}
        new = []
        for entry in mine:
            if entry.status != NumberStatus.WAITING.value:
                continue
            if entry.number not in done:
                if progress.state in {"ported", "cancelled"}:
                    why = progress.reason or f"the port was {progress.state} without it"
                    await store.number_failed(connection, fresh.id, entry.number, why)
                    metrics.numbers.labels("failed").inc()
                continue
            try:
                number_id = await self._acquire(
                    connection,
                    customer_id=fresh.customer_id,
                    number=entry.number,
                    vendor=fresh.provider_name,
                    reference=done[entry.number],
                    name=fresh.name,
                )
            except AlreadyExists as taken:
                log.error("number_ported_twice", port_id=str(fresh.id), number=entry.number)
                await store.number_failed(connection, fresh.id, entry.number, taken.message)
                metrics.numbers.labels("failed").inc()
                continue
            if flows:
                await connection.execute(
                    sa.update(held_numbers).where(held_numbers.c.id == number_id).values(flows)
                )
            await store.number_ported(connection, fresh.id, entry.number, number_id)
            metrics.numbers.labels("ported").inc()
            new.append(number_id)
        return new

    async def _step(
        self,
        connection: AsyncConnection,
        row: Row[Any],
        fresh: Row[Any],
        progress: PortProgress,
        now: datetime,
    ) -> None:
        present = Status(fresh.status)
        following = Status.SUBMITTED if progress.state == "draft" else Status(progress.state)
        reason = progress.reason[:_SHOWN]
        if following is not present and not may_follow(present, following):
            log.info("number_port_step_ignored", port_id=str(row.id), status=present, said=following)
            following, reason = present, fresh.reason
        if following is present and not reason and fresh.reason != _NOT_NOW:
            reason = fresh.reason
        news = (following, reason) != (present, fresh.reason)
        values: dict[str, Any] = {
            "reference": progress.reference or fresh.reference,
            "tm_foc": progress.tm_foc or fresh.tm_foc,
        }
        if news:
            values |= store.step(fresh, following, reason, now)
        if ended(following):
            values |= store.end(fresh, following, reason, now)
            await store.free_numbers(connection, row.id)
        elif not values["reference"] and following is Status.EXCEPTION:
            # the vendor has nothing of it: there is nothing to look at until it is submitted again
            cancelled = fresh.cancel_requested
            if cancelled:
                values |= store.end(fresh, Status.CANCELLED, reason, now)
                await store.free_numbers(connection, row.id)
            else:
                values |= {"tm_sent": None, "tm_lease": None, "tm_next": None}
        else:
            attempts = 0 if news else min(fresh.attempts + 1, 30)
            # what was asked for meanwhile is done at once: see ``store.rest``
            due = now + timedelta(seconds=_look(attempts))
            values |= {"attempts": attempts, **store.rest(row, due, now)}
        await store.change(connection, row.id, values)
        if news:
            metrics.changes.labels(fresh.provider_name, following.value).inc()
            log.info(
                "number_port_changed",
                port_id=str(row.id),
                customer_id=str(fresh.customer_id),
                vendor=fresh.provider_name,
                status=following.value,
                reason=reason,
            )

    async def _put_off(
        self, row: Row[Any], seconds: float, reason: str = "", *, unsent: bool = False
    ) -> None:
        """Look again later. ``unsent``: it is certain that the vendor has never taken the request.

        That what was asked now did not reach it says nothing of a former request, whose answer was lost.
        """
        now = self._clock.now()
        async with self._database.begin() as connection:
            fresh = await store.locked(connection, row.id)
            if fresh is None or fresh.request_id != row.request_id or ended(Status(fresh.status)):
                return
            due = now + timedelta(seconds=seconds)
            values = {"attempts": min(fresh.attempts + 1, 30), **store.rest(row, due, now)}
            if unsent and not fresh.reference:
                values["tm_sent"] = None
            if reason and fresh.status == Status.SUBMITTED.value:
                values["reason"] = reason
            await store.change(connection, row.id, values)

    async def _port(self, row: Row[Any], *, whole: bool = False, request_id: UUID | None = None) -> Port:
        """What the vendor is told; ``whole`` with the files."""
        files: dict[str, Letter] = {}
        async with self._database.connect() as connection:
            numbers = (await store.numbers_of(connection, [row.id]))[row.id]
            if whole:
                for file in await store.contents_of(connection, row.id):
                    files[file.kind] = Letter(file.name, file.content_type, file.content or b"")
        return Port(
            id=request_id or row.request_id,
            numbers=tuple(entry.number for entry in numbers if entry.status == NumberStatus.WAITING.value),
            carrier=row.carrier,
            account=row.account_number,
            owner=Address(**row.owner),
            authorised_person=row.authorised_person,
            pin=row.pin,
            wanted=row.wanted_date,
            letter=files.get("letter"),
            email=row.email,
            bill=files.get("bill"),
        )


def _pause(attempts: int) -> float:
    return _spread(min(2.0 * 2 ** min(attempts, 12), LONGEST_LOOK))


def _look(attempts: int) -> float:
    return _spread(min(FIRST_LOOK * 2 ** min(attempts, 12), LONGEST_LOOK))


def _spread(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing
