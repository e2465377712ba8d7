"""Statements of a request that forget whose rows they are about."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.numbers.tables import numbers
from ringline.storage import Database, tenancy
from ringline.storage.tenancy import UnboundStatement

OWN = uuid4()
FORGOTTEN = sa.select(numbers.c.number).where(numbers.c.id == uuid4())


async def refused(database: Database, statement: sa.Executable, customer_id: UUID | None = OWN) -> bool:
    """Whether it is; what is refused is counted once, and nothing else is."""
    before, was_refused = tenancy.unbound._value.get(), False
    with tenancy.bound(customer_id):
        try:
            async with database.begin() as connection:
                await connection.execute(statement)
        except UnboundStatement:
            was_refused = True
    assert tenancy.unbound._value.get() - before == was_refused
    return was_refused


async def test_what_names_the_customer_is_not_refused(database: Database) -> None:
    bound = FORGOTTEN.where(numbers.c.customer_id == OWN)
    assert not await refused(database, bound)
    assert await refused(database, bound, uuid4()), "another one's id is not enough"
    among = sa.select(numbers.c.id).where(
        numbers.c.customer_id == sa.any_(sa.literal([OWN], sa.ARRAY(sa.Uuid)))
    )
    assert not await refused(database, among)
    many = sa.text("SELECT count(*) FROM jsonb_populate_recordset(NULL::numbers, CAST(:rows AS jsonb))")
    many = many.bindparams(rows=f'[{{"customer_id": "{OWN}"}}]')
    assert not await refused(database, many)


@pytest.mark.parametrize(
    "forgotten",
    [
        FORGOTTEN,
        sa.update(numbers).where(numbers.c.id == uuid4()).values(name="x"),
        sa.delete(numbers).where(numbers.c.id == uuid4()),
    ],
    ids=["select", "update", "delete"],
)
async def test_what_forgets_the_customer_is_refused(database: Database, forgotten: sa.Executable) -> None:
    assert await refused(database, forgotten)


async def test_what_no_customer_has_is_not_looked_at(database: Database) -> None:
    assert not await refused(database, sa.text("SELECT 1"))
    assert not await refused(database, FORGOTTEN, None), "of an administrator of the installation"


async def test_what_looks_across_customers_says_so(database: Database) -> None:
    with tenancy.bound(OWN):
        with tenancy.across():
            before = tenancy.unbound._value.get()
            async with database.connect() as connection:
                await connection.execute(FORGOTTEN)
            assert tenancy.unbound._value.get() == before
        with pytest.raises(UnboundStatement):
            async with database.connect() as connection:
                await connection.execute(FORGOTTEN)
        assert tenancy.unbound._value.get() == before + 1, "bound again behind it"


async def test_what_is_refused_has_changed_nothing(database: Database) -> None:
    """Nor has what went before it in its transaction; the connection is as good as before."""
    made = sa.text("CREATE TABLE IF NOT EXISTS unbound_trial ()")
    with tenancy.bound(OWN), pytest.raises(UnboundStatement):
        async with database.begin() as connection:
            await connection.execute(made)
            await connection.execute(sa.delete(numbers))
    async with database.connect() as connection:
        assert await connection.scalar(sa.text("SELECT to_regclass('unbound_trial') IS NULL"))


async def test_an_operator_may_have_it_reported_only(database: Database) -> None:
    reporting = Database(database.url, pool_size=1, refuse_unbound=False)
    before = tenancy.unbound._value.get()
    with tenancy.bound(OWN):
        async with reporting.connect() as connection:
            await connection.execute(FORGOTTEN)
    assert tenancy.unbound._value.get() == before + 1
    await reporting.close()


async def test_tasks_that_a_request_starts_have_work_of_their_own(database: Database) -> None:
    before = tenancy.unbound._value.get()

    async def work() -> None:
        async with database.connect() as connection:
            await connection.execute(FORGOTTEN)

    with tenancy.bound(OWN):
        await asyncio.create_task(work())
    assert tenancy.unbound._value.get() == before
