"""Texts are paid with the intention to send them, for each part to each handset, and given back where they fail."""

from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa
from tests.component.messages.conftest import World

from ringline.billing.tables import billing_accounts, billings
from ringline.errors import PaymentRequired
from ringline.vendors.errors import VendorRefused

HANDSET = "+491701234567"
OTHER = "+491701234568"


async def left(world: World, customer: UUID) -> int:
    async with world.database.connect() as connection:
        found: int = (
            await connection.execute(
                sa.select(billing_accounts.c.balance_credit).where(billing_accounts.c.customer_id == customer)
            )
        ).scalar_one()
        posted = sa.select(sa.func.count()).where(billings.c.customer_id == customer)
        assert (await connection.execute(posted)).scalar_one() < 10
        return found


async def test_every_part_to_every_handset_and_back_what_failed(world: World) -> None:
    customer = await world.customer(credit=100_000)
    number, inside = await world.number(customer), await world.number(await world.customer())
    world.carrier.plan = [None, VendorRefused("fake: no such number")]
    await world.text(customer, number, HANDSET, OTHER, inside, text="x" * 161)
    assert await left(world, customer) == 100_000 - 4 * 8_000, "what stays inside is free"
    for _ in range(3):
        await world.turn()
    assert await left(world, customer) == 100_000 - 2 * 8_000


async def test_the_ledger_has_the_last_word(world: World) -> None:
    customer = await world.customer(credit=8_000)
    number = await world.number(customer)
    await world.text(customer, number, HANDSET)
    # the copy in memory has not heard of it
    with pytest.raises(PaymentRequired) as refused:
        await world.text(customer, number, OTHER)
    assert refused.value.details[0]["needed_credit"] == 8_000
    assert await left(world, customer) == 0
    assert len(await world.all(customer)) == 1
