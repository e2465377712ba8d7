"""Getting a number: a virtual one from ourselves, a normal one from the first vendor that sells it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

import structlog
from sqlalchemy import Row, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import BalanceDirectory, rates, tiers, usage
from ringline.billing.rates import Rates
from ringline.billing.usage import Use
from ringline.customers import CustomerDirectory, Identity
from ringline.errors import InvalidArgument
from ringline.http import utc_now
from ringline.numbers.directory import NumberDirectory
from ringline.numbers.errors import (
    NumberLimitReached,
    NumberNotAvailable,
    NumberOwned,
    NumberUnpaid,
    PurchaseRejected,
    VendorsUnavailable,
)
from ringline.numbers.models import NumberCreate, NumberType
from ringline.numbers.orders import NumberOrders, store
from ringline.numbers.service import ATTEND_SECONDS, NumberService, check_emergency
from ringline.numbers.states import OrderKind, Reason, Status
from ringline.numbers.tables import numbers
from ringline.sip import e164
from ringline.storage import Database, tenancy
from ringline.vendors.base import Vendor
from ringline.vendors.errors import VendorError
from ringline.vendors.models import Capability
from ringline.vendors.registry import Vendors

log = structlog.get_logger(__name__)

FIND_SECONDS: Final = 12.0
"""How long all vendors together are asked whether they sell a number."""
_VIRTUAL: Final = tiers.Tier(
    "virtual numbers",
    numbers,
    "Give one back (DELETE /v1.0/numbers/{id})",
    field="number",
    error=NumberLimitReached,
    more=(numbers.c.type == "virtual",),
)
_NOT_AVAILABLE: Final = (
    "`number`: {} is not available. GET /v1.0/available_numbers lists numbers that are; it may have been taken by "
    "another customer meanwhile."
)


class NumberShop:
    """Where customers get numbers. One number has one owner: the unique index on live numbers decides."""

    def __init__(
        self,
        database: Database,
        directory: NumberDirectory,
        vendors: Vendors,
        service: NumberService,
        orders: NumberOrders,
        customers: CustomerDirectory,
        balances: BalanceDirectory,
    ) -> None:
        self._database = database
        self._directory = directory
        self._vendors = vendors
        self._service = service
        self._orders = orders
        self._customers = customers
        self._balances = balances
        self.identity = Identity()
        self.rates = Rates()
        """What numbers cost (``billing.RateBook``)."""
        self._asking: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}

    async def create(self, customer_id: UUID, wanted: NumberCreate, seed: UUID | None) -> Row[Any]:
        """The number, active or with its purchase under way. ``seed`` as in ``Request.idempotency_seed``.

        Raises ``InvalidArgument``, ``NumberOwned``, ``NumberNotAvailable``, ``NumberUnpaid``,
        ``NumberLimitReached``, ``PurchaseRejected``, ``VendorsUnavailable``, and ``FLOW_NOT_FOUND`` for a flow.
        """
        number_type = self._type(customer_id, wanted)
        number_id = uuid4() if seed is None else uuid5(seed, "number")
        if seed is not None and (made := await self._made(customer_id, number_id)) is not None:
            return made
        values = wanted.model_dump(exclude={"number", "type"})
        check_emergency(number_type, values, values)
        await self._service.check_flows(customer_id, wanted)
        values |= {
            "id": number_id,
            "customer_id": customer_id,
            "number": wanted.number,
            "type": number_type,
        }
        if number_type == "virtual":
            return await self._virtual(values)
        self.identity.check(self._customers.by_id(customer_id), "A telephone number")
        return await self._normal(values)

    def _type(self, customer_id: UUID, wanted: NumberCreate) -> NumberType:
        customer = self._customers.by_id(customer_id)
        country = customer.country.upper() if customer is not None and customer.country else "US"
        if wanted.number.startswith(e164.VIRTUAL_PREFIX) and not e164.is_virtual(wanted.number):
            message = "a virtual number is +899 followed by exactly nine digits, for example +899100000001"
            raise InvalidArgument(f"`number`: {message}.", details=[{"field": "number", "message": message}])
        e164.check(wanted.number, "number", region=country)
        found: NumberType = "virtual" if e164.is_virtual(wanted.number) else "normal"
        if wanted.type not in (None, found):
            message = f"{wanted.number} is a {found} number (virtual ones begin with +899); leave `type` out"
            raise InvalidArgument(f"`type`: {message}.", details=[{"field": "type", "message": message}])
        return found

    async def _made(self, customer_id: UUID, number_id: UUID) -> Row[Any] | None:
        """What an earlier request with the same key has made."""
        statement = select(numbers).where(numbers.c.customer_id == customer_id, numbers.c.id == number_id)
        async with self._database.connect() as connection:
            row = (await connection.execute(statement)).first()
        return None if row is None else _sold(row)

    async def _virtual(self, values: dict[str, Any]) -> Row[Any]:
        now = utc_now()
        customer_id, number = values["customer_id"], values["number"]
        async with self._claimed(customer_id, number), self._database.begin() as connection:
            await self._service.hold_flows(connection, customer_id, values)
            await self._check_free(connection, customer_id, number)
            await tiers.check(connection, customer_id, _VIRTUAL)
            row = await _insert(connection, {**values, "status": Status.ACTIVE.value}, now)
        await self._directory.refresh(row.id)
        log.info("number_created", customer_id=str(customer_id), number_id=str(row.id), number=number)
        return row

    async def _normal(self, values: dict[str, Any]) -> Row[Any]:
        customer_id, number, now = values["customer_id"], values["number"], utc_now()
        # one after another for a number in this process, so that the vendor is asked once
        async with self._one_at_a_time(number):
            async with self._database.connect() as connection:
                await self._check_free(connection, customer_id, number)
            self._check_balance(customer_id, number)
            vendor = await self._seller(number)
            async with self._claimed(customer_id, number), self._database.begin() as connection:
                await self._service.hold_flows(connection, customer_id, values)
                pending = {
                    **values,
                    "status": Status.PURCHASE_PENDING.value,
                    "provider_name": vendor.name,
                }
                row = await _insert(connection, pending, now)
                await store.add(
                    connection,
                    customer_id=customer_id,
                    number_id=row.id,
                    number=number,
                    vendor=vendor.name,
                    kind=OrderKind.BUY,
                    now=now,
                )
                # paid with the order, given back when the vendor does not sell it (``orders.steps``)
                await usage.charge(connection, customer_id, [Use("number", number, "number", row.id)], now)
        log.info(
            "number_ordered",
            customer_id=str(customer_id),
            number_id=str(row.id),
            number=number,
            vendor=vendor.name,
        )
        await self._directory.refresh(row.id)
        await self._orders.attend(row.id, ATTEND_SECONDS)
        return await self._made(customer_id, row.id) or row

    def _check_balance(self, customer_id: UUID, number: str) -> None:
        """Before a vendor is asked; the charge itself is made with the order."""
        customer = self._customers.by_id(customer_id)
        account_id = None if customer is None else customer.billing_account_id
        rate = self.rates.find("number", number, utc_now())
        if not self._balances.affords(account_id, rate, rate.units(1)):
            price = rate.price(rate.units(1), 0)[1]
            raise NumberUnpaid(
                f"A number costs {rates.dollars(price)}, which your balance does not cover; add "
                "credit and try again (GET /v1.0/billing_account), or take a virtual number (+899), which is free.",
                details=[{"needed_credit": price}],
            )

    async def _seller(self, number: str) -> Vendor:
        """The first vendor, in the operator's order, that sells the number now."""
        able = [
            vendor
            for vendor in self._vendors.able(Capability.BUY)
            if Capability.SEARCH in vendor.capabilities
        ]
        silent: list[str] = []
        try:
            async with asyncio.timeout(FIND_SECONDS):
                for vendor in able:
                    try:
                        if await vendor.find(number) is not None:
                            return vendor
                    except VendorError as error:
                        silent.append(vendor.name)
                        log.warning("number_not_looked_up", vendor=vendor.name, error=error.message)
        except TimeoutError:
            silent.append("timeout")
        if silent:
            raise VendorsUnavailable(
                f"Whether {number} can be bought cannot be found out now, because a provider of numbers does not "
                "answer; nothing was bought. Try again in a minute."
            )
        raise _not_available(number)

    async def _check_free(self, connection: AsyncConnection, customer_id: UUID, number: str) -> None:
        statement = select(numbers.c.id, numbers.c.customer_id).where(
            numbers.c.number == number, numbers.c.tm_delete.is_(None)
        )
        with tenancy.across():
            holder = (await connection.execute(statement)).first()
        if holder is None:
            return
        if holder.customer_id == customer_id:
            raise NumberOwned(
                f"`number`: {number} is yours already, with the id {holder.id}.",
                details=[{"field": "number", "message": "is yours already", "id": str(holder.id)}],
            )
        raise _not_available(number)

    @asynccontextmanager
    async def _claimed(self, customer_id: UUID, number: str) -> AsyncIterator[None]:
        """Says in words that somebody was faster."""
        try:
            yield
        except IntegrityError as error:
            if "uq_numbers_number" not in str(error.orig) and "uq_number_orders" not in str(error.orig):
                raise
            async with self._database.connect() as connection:
                await self._check_free(connection, customer_id, number)
            # nobody has it: it is being given back
            raise NumberNotAvailable(
                f"`number`: {number} is being given back at this moment; try again in a few minutes.",
                details=[{"field": "number", "message": "is being given back"}],
            ) from error

    @asynccontextmanager
    async def _one_at_a_time(self, number: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(number, asyncio.Lock())
        self._asking[number] += 1
        try:
            async with lock:
                yield
        finally:
            self._asking[number] -= 1
            if not self._asking[number]:
                del self._asking[number], self._locks[number]


async def _insert(connection: AsyncConnection, values: dict[str, Any], now: datetime) -> Row[Any]:
    statement = insert(numbers).values(**values, tm_create=now).returning(numbers)
    row: Row[Any] = (await connection.execute(statement)).one()
    return row


def _not_available(number: str) -> NumberNotAvailable:
    return NumberNotAvailable(
        _NOT_AVAILABLE.format(number), details=[{"field": "number", "message": "is not available"}]
    )


def _sold(row: Row[Any]) -> Row[Any]:
    if row.tm_delete is not None and row.status_reason.startswith(Reason.PURCHASE_REJECTED):
        words = row.status_reason.partition(": ")[2].rstrip(".") or "the provider gave no reason"
        raise PurchaseRejected(
            f"`number`: {row.number} was not sold: {words}. Nothing was bought.",
            details=[{"field": "number", "message": words}],
        )
    return row
