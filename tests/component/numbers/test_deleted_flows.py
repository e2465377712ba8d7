"""Flows that are deleted while a number is being pointed at them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, update

from ringline.billing import BalanceDirectory
from ringline.clock import SystemClock
from ringline.customers import CustomerDirectory, Identity
from ringline.customers.tables import customers
from ringline.errors import NotFound, PermissionDenied
from ringline.flows import store as flow_store
from ringline.flows.definitions import FlowDefinitions
from ringline.http import utc_now
from ringline.numbers import NumberDirectory, NumberOrders, NumberRenewals, NumberService, NumberShop
from ringline.numbers.errors import NumberNotAvailable
from ringline.numbers.models import NumberChange, NumberCreate
from ringline.numbers.service import forget_flow
from ringline.numbers.tables import numbers
from ringline.storage import Database
from ringline.vendors.registry import Vendors


class House:
    """Numbers and flows as one process has them, and the flows of another process."""

    def __init__(self, database: Database) -> None:
        self.database, self.customer = database, uuid4()
        clock, directory = SystemClock(), NumberDirectory(database)
        owners, balances = CustomerDirectory(database), BalanceDirectory(database)
        orders = NumberOrders(database, Vendors([]), directory, clock)
        renewals = NumberRenewals(database, directory, owners, balances)
        self.flows = FlowDefinitions(database, forgetting=(forget_flow,))
        self.others_flows = FlowDefinitions(database, forgetting=(forget_flow,))
        self.service = NumberService(
            database, directory, self.flows.exists, orders, renewals, hold_flow=flow_store.hold_flow
        )
        self.owners = owners
        self.shop = NumberShop(database, directory, Vendors([]), self.service, orders, owners, balances)

    async def open(self) -> None:
        async with self.database.begin() as connection:
            await connection.execute(
                insert(customers).values(id=self.customer, domain_label=uuid4().hex, tm_create=utc_now())
            )

    async def flow(self) -> UUID:
        made = await self.flows.create(self.customer, {"name": "one", "actions": [], "detail": ""})
        assert await self.flows.exists(self.customer, made.id)
        return UUID(str(made.id))

    async def number(self, **more: Any) -> Any:
        wanted = NumberCreate(number=f"+899{uuid4().int % 10**9:09d}", **more)
        return await self.shop.create(self.customer, wanted, None)

    async def flow_of(self, number_id: UUID) -> UUID | None:
        async with self.database.connect() as connection:
            found: UUID | None = await connection.scalar(
                select(numbers.c.call_flow_id).where(numbers.c.id == number_id)
            )
            return found


@pytest.fixture
async def house(database: Database) -> House:
    made = House(database)
    await made.open()
    return made


async def test_a_flow_that_somebody_else_has_deleted_is_not_assigned(house: House) -> None:
    number, flow_id = await house.number(), await house.flow()
    await house.others_flows.delete(house.customer, flow_id)
    with pytest.raises(NotFound, match="call_flow_id"):
        await house.service.update(house.customer, number.id, NumberChange(call_flow_id=flow_id))
    with pytest.raises(NotFound, match="call_flow_id"):
        await house.number(call_flow_id=flow_id)
    assert await house.flow_of(number.id) is None


async def test_a_flow_deleted_in_the_same_moment_is_on_no_number(house: House) -> None:
    for _ in range(10):
        number, flow_id = await house.number(name="race"), await house.flow()
        change = NumberChange(call_flow_id=flow_id)
        await asyncio.gather(
            house.service.update(house.customer, number.id, change),
            house.flows.delete(house.customer, flow_id),
            return_exceptions=True,
        )
        assert await house.flow_of(number.id) is None
        await house.service.delete(house.customer, number.id)


async def test_a_telephone_number_takes_a_verified_customer_where_that_is_required(house: House) -> None:
    house.shop.identity = Identity(required=True)
    wanted = NumberCreate(number="+12125550123")
    await house.owners.refresh(house.customer)
    with pytest.raises(PermissionDenied) as refused:
        await house.shop.create(house.customer, wanted, None)
    assert refused.value.reason == "IDENTITY_VERIFICATION_REQUIRED"
    assert (await house.number()).type == "virtual", "it reaches nobody outside"
    async with house.database.begin() as connection:
        mine = update(customers).where(customers.c.id == house.customer)
        await connection.execute(mine.values(identity_verification_status="verified"))
    await house.owners.refresh(house.customer)
    # there is no vendor in this house that could sell it
    with pytest.raises(NumberNotAvailable):
        await house.shop.create(house.customer, wanted, None)
