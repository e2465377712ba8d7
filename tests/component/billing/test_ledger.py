"""The ledger and holds on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ringline.billing import holds, ledger
from ringline.billing.errors import (
    AmountInvalid,
    BalanceTooSmall,
    BillingAccountNotFound,
    InsufficientBalance,
)
from ringline.billing.ledger import Charge, Entry, Posted
from ringline.billing.models import Refund
from ringline.billing.rate_book import RateBook
from ringline.billing.rates import BUILT_IN, Rate
from ringline.billing.tables import billing_accounts, billing_holds, billings, rates
from ringline.billing.topups import Topups
from ringline.billing.usage import Use, charge, give_back
from ringline.customers.tables import customers
from ringline.storage import Database

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OUT = BUILT_IN["call_pstn_outgoing"]
VIRTUAL = BUILT_IN["call_vn"]


async def make_account(
    database: Database, credit: int = 0, token: int = 0, plan: str = "free"
) -> tuple[UUID, UUID]:
    """A customer and its account, whose balance stands in the ledger."""
    customer_id, account_id = uuid4(), uuid4()
    async with database.begin() as connection:
        row = {
            "id": customer_id,
            "domain_label": f"l{customer_id.hex[:12]}",
            "billing_account_id": account_id,
        }
        await connection.execute(sa.insert(customers).values(**row, tm_create=NOW))
        values = {"id": account_id, "customer_id": customer_id, "plan_type": plan, "tm_create": NOW}
        await connection.execute(sa.insert(billing_accounts).values(**values))
        if credit or token:
            await ledger.post(connection, [entry(customer_id, account_id, credit, token)])
    return customer_id, account_id


def entry(customer_id: UUID, account_id: UUID, credit: int, token: int = 0, key: str = "") -> Entry:
    return Entry(
        account_id=account_id,
        customer_id=customer_id,
        transaction_type="top_up",
        reference_type="credit_adjustment",
        reference_id=account_id,
        idempotency_key=key or uuid4().hex,
        tm=NOW,
        amount_credit=credit,
        amount_token=token,
    )


def usage(
    customer_id: UUID, account_id: UUID, rate: Rate, used: int, reference: UUID | None = None, **more: Any
) -> Charge:
    reference = reference or uuid4()
    return Charge(
        account_id=account_id,
        customer_id=customer_id,
        rate=rate,
        usage=used,
        reference_type="call",
        reference_id=reference,
        idempotency_key=f"call {reference}",
        tm=NOW,
        **more,
    )


async def account_of(database: Database, account_id: UUID) -> Any:
    async with database.connect() as connection:
        return (
            await connection.execute(sa.select(billing_accounts).where(billing_accounts.c.id == account_id))
        ).one()


async def post(database: Database, *entries: Entry) -> list[Posted]:
    async with database.begin() as connection:
        return await ledger.post(connection, entries)


async def test_entries_change_the_balance_and_say_what_it_was_then(database: Database) -> None:
    customer_id, account_id = await make_account(database)
    first, second = await post(
        database, entry(customer_id, account_id, 500, 3), entry(customer_id, account_id, -200, 0)
    )
    assert (first.balance_credit, first.balance_token) == (500, 3)
    assert (second.balance_credit, second.balance_token, second.replayed) == (300, 3, False)
    row = await account_of(database, account_id)
    assert (row.balance_credit, row.balance_token, row.tm_last_topup) == (300, 3, NOW)


async def test_a_known_key_changes_nothing(database: Database) -> None:
    customer_id, account_id = await make_account(database)
    given = entry(customer_id, account_id, 500, key="a payment")
    (first,) = await post(database, given)
    (again, same) = await post(database, given, entry(customer_id, account_id, 900, key="a payment"))
    assert again.replayed and same.replayed and again.id == same.id == first.id
    assert (again.entry, again.balance_credit) == (given, 500)
    assert (await account_of(database, account_id)).balance_credit == 500
    # the key is the account's own
    customer_id, other = await make_account(database)
    (elsewhere,) = await post(database, entry(customer_id, other, 7, key="a payment"))
    assert not elsewhere.replayed


async def test_the_same_key_at_once_is_posted_once(database: Database) -> None:
    customer_id, account_id = await make_account(database)
    given = entry(customer_id, account_id, 500, key="a payment")
    done = await asyncio.gather(*(post(database, given) for _ in range(10)))
    assert sum(not one.replayed for (one,) in done) == 1
    assert (await account_of(database, account_id)).balance_credit == 500


async def test_an_unknown_account_and_a_balance_without_end_are_refused(database: Database) -> None:
    customer_id, account_id = await make_account(database, 5)
    with pytest.raises(BillingAccountNotFound):
        await post(database, entry(customer_id, account_id, 1), entry(customer_id, uuid4(), 1))
    with pytest.raises(AmountInvalid):
        await post(
            database, entry(customer_id, account_id, 1), entry(customer_id, account_id, ledger.LARGEST)
        )
    assert (await account_of(database, account_id)).balance_credit == 5


@pytest.mark.parametrize(
    "statement", ["UPDATE billings SET amount_credit = 1", "DELETE FROM billings", "TRUNCATE billings"]
)
async def test_nobody_rewrites_the_ledger(database: Database, statement: str) -> None:
    await make_account(database, 5)
    with pytest.raises(IntegrityError, match="append-only"):
        async with database.begin() as connection:
            await connection.execute(sa.text(statement))


async def test_tokens_pay_first_and_credit_the_rest(database: Database) -> None:
    customer_id, account_id = await make_account(database, 10_000, 2)
    async with database.begin() as connection:
        posted = await ledger.charge(connection, usage(customer_id, account_id, VIRTUAL, 290))
    entry = posted.entry
    assert (entry.usage_duration, entry.billable_units) == (290, 5)
    assert (entry.amount_token, entry.amount_credit) == (-2, -3_000)
    assert (posted.balance_token, posted.balance_credit) == (0, 7_000)


async def test_what_the_balance_does_not_cover_is_refused_unless_it_was_used(database: Database) -> None:
    customer_id, account_id = await make_account(database, 8_000)
    text = usage(customer_id, account_id, BUILT_IN["sms"], 2)
    with pytest.raises(InsufficientBalance) as refused:
        async with database.begin() as connection:
            await ledger.charge(connection, text)
    assert refused.value.details == [{"needed_credit": 16_000, "available_credit": 8_000}]
    assert "$0.016" in refused.value.message
    async with database.begin() as connection:
        posted = await ledger.charge(connection, usage(customer_id, account_id, OUT, 120, forced=True))
    assert posted.balance_credit == -4_000


async def test_holds_do_not_promise_money_twice(database: Database) -> None:
    _, account_id = await make_account(database, 60_000)

    async def one() -> bool:
        async with database.begin() as connection:
            return await holds.hold(connection, account_id, uuid4(), OUT, 3, 3) is not None

    done = await asyncio.gather(*(one() for _ in range(12)))
    assert sum(done) == 3
    row = await account_of(database, account_id)
    assert (row.held_credit, row.balance_credit) == (54_000, 60_000)


async def test_a_hold_is_raised_and_never_lowered(database: Database) -> None:
    _, account_id = await make_account(database, 20_000)
    reference = uuid4()

    async def take(units: int, least: int) -> holds.Held | None:
        async with database.begin() as connection:
            return await holds.hold(connection, account_id, reference, OUT, units, least)

    first = await take(2, 1)
    assert first is not None and (first.units, first.amount_credit) == (2, 12_000)
    assert (again := await take(1, 1)) is not None and again.units == 2
    assert (most := await take(9, 3)) is not None and (most.units, most.amount_credit) == (3, 18_000)
    assert await take(9, 4) is None
    row = await account_of(database, account_id)
    assert row.held_credit == 18_000


async def test_settling_gives_back_what_was_not_used(database: Database) -> None:
    customer_id, account_id = await make_account(database, 20_000, 1)
    reference = uuid4()
    async with database.begin() as connection:
        held = await holds.hold(connection, account_id, reference, VIRTUAL, 10, 10)
    assert held is not None and (held.amount_token, held.amount_credit) == (1, 9_000)
    spent = usage(customer_id, account_id, VIRTUAL, 61, reference)
    for replayed in (False, True):
        async with database.begin() as connection:
            (posted,) = await holds.settle(connection, [spent])
        assert posted.replayed is replayed
        assert (posted.entry.amount_token, posted.entry.amount_credit) == (-1, -1_000)
    row = await account_of(database, account_id)
    assert (row.held_token, row.held_credit, row.balance_token, row.balance_credit) == (0, 0, 0, 19_000)
    async with database.connect() as connection:
        statement = sa.select(billing_holds).where(billing_holds.c.account_id == account_id)
        assert (await connection.execute(statement)).first() is None


async def test_a_charge_does_not_take_what_is_promised_to_another(database: Database) -> None:
    customer_id, account_id = await make_account(database, 12_000, 1)
    async with database.begin() as connection:
        assert await holds.hold(connection, account_id, uuid4(), VIRTUAL, 5, 5) is not None
    with pytest.raises(InsufficientBalance):
        async with database.begin() as connection:
            await ledger.charge(connection, usage(customer_id, account_id, BUILT_IN["sms"], 2))
    async with database.begin() as connection:
        posted = await ledger.charge(connection, usage(customer_id, account_id, VIRTUAL, 1))
    assert (posted.entry.amount_token, posted.entry.amount_credit) == (0, -1_000)


async def test_many_holds_and_settlements_go_together(database: Database) -> None:
    accounts = [await make_account(database, 100_000) for _ in range(3)]
    wanted = [holds.Wanted(uuid4(), account_id, OUT, 2, 1) for _, account_id in accounts for _ in range(4)]
    async with database.begin() as connection:
        held = await holds.take(connection, wanted)
    assert [one.units for one in held.values() if one is not None] == [2] * 12
    of = {account_id: customer_id for customer_id, account_id in accounts}
    charges = [usage(of[one.account_id], one.account_id, OUT, 60, one.reference_id) for one in wanted]
    async with database.begin() as connection:
        posted = await holds.settle(connection, charges)
    assert [one.entry.reference_id for one in posted] == [one.reference_id for one in wanted]
    for _, account_id in accounts:
        row = await account_of(database, account_id)
        assert (row.balance_credit, row.held_credit) == (76_000, 0)


async def test_an_unlimited_plan_promises_whatever_is_asked_and_pays_nothing(database: Database) -> None:
    customer_id, account_id = await make_account(database, plan="unlimited")
    reference = uuid4()
    async with database.begin() as connection:
        held = await holds.hold(connection, account_id, reference, OUT, 100, 100)
        assert held is not None and (held.units, held.amount_credit) == (100, 0)
        (posted,) = await holds.settle(connection, [usage(customer_id, account_id, OUT, 61, reference)])
        text = await ledger.charge(connection, usage(customer_id, account_id, BUILT_IN["sms"], 3))
    assert (posted.entry.billable_units, posted.entry.amount_credit, posted.balance_credit) == (2, 0, 0)
    assert (text.entry.billable_units, text.entry.amount_credit) == (3, 0)


async def test_what_fails_gives_back_what_was_not_refunded_before(database: Database) -> None:
    customer_id, account_id = await make_account(database, 100_000)
    reference = uuid4()
    use = Use("sms", "+491701234567", "sms", reference, pieces=3)
    async with database.begin() as connection:
        await charge(connection, customer_id, [use], NOW)
    async with database.connect() as connection:
        statement = sa.select(billings.c.id).where(billings.c.reference_id == reference)
        billing_id = (await connection.execute(statement)).scalar_one()
    await Topups(database).refund(billing_id, Refund(credit=10_000), None)

    async def fails() -> None:
        async with database.begin() as connection:
            await give_back(connection, reference, NOW, "it failed")

    await asyncio.gather(*(fails() for _ in range(3)))
    async with database.connect() as connection:
        account = (
            await connection.execute(sa.select(billing_accounts).where(billing_accounts.c.id == account_id))
        ).one()
    assert account.balance_credit == 100_000
    # nothing is left of it that could be refunded
    with pytest.raises(BalanceTooSmall):
        await Topups(database).refund(billing_id, Refund(), None)


async def test_holds_that_nobody_extends_expire(database: Database) -> None:
    _, account_id = await make_account(database, 100_000)
    reference = uuid4()
    async with database.begin() as connection:
        await holds.hold(connection, account_id, reference, OUT, 1, 1, life=timedelta(seconds=-1))
        found = await holds.expired(connection, datetime.now(UTC), 10_000)
        mine = [held for held in found if held.reference_id == reference]
        assert len(mine) == 1
        await holds.release(connection, mine)
        await holds.release(connection, mine)
    assert (await account_of(database, account_id)).held_credit == 0


async def test_rates_are_followed(database: Database) -> None:
    book = RateBook(database)
    await book.start()
    try:
        assert book.find("call_pstn_outgoing", "+15551234567", NOW).credit_per_unit == 6_000
        assert book.find("call_pstn_outgoing", "+15551234567", NOW).id != BUILT_IN["sms"].id
        prefix = str(uuid4().int)[:12]
        row = {
            "id": uuid4(),
            "kind": "call_pstn_outgoing",
            "prefix": prefix,
            "credit_per_unit": 9,
            "unit_seconds": 1,
        }
        async with database.begin() as connection:
            await connection.execute(sa.insert(rates).values(**row, revision=0, tm_start=NOW, tm_create=NOW))
        async with asyncio.timeout(20):
            while book.find("call_pstn_outgoing", f"+{prefix}5", NOW).credit_per_unit != 9:
                await asyncio.sleep(0.02)
        assert (
            book.find("call_pstn_outgoing", f"+{prefix}5", NOW - timedelta(seconds=1)).credit_per_unit
            == 6_000
        )
    finally:
        await book.close()


async def test_the_sum_of_the_ledger_is_the_balance(database: Database) -> None:
    customer_id, account_id = await make_account(database, 1_000_000, 10)
    for used in (1, 59, 60, 61, 3_600):
        async with database.begin() as connection:
            await ledger.charge(connection, usage(customer_id, account_id, VIRTUAL, used))
    sums = sa.select(sa.func.sum(billings.c.amount_credit), sa.func.sum(billings.c.amount_token))
    async with database.connect() as connection:
        credit, token = (await connection.execute(sums.where(billings.c.account_id == account_id))).one()
    row = await account_of(database, account_id)
    assert (row.balance_credit, row.balance_token) == (credit, token) == (945_000, 0)
