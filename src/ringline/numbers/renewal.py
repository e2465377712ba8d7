"""A number's months: paid when they begin. A number that cannot be paid is suspended until it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Row, Select, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import BalanceDirectory, rates, usage
from ringline.billing.rates import Rates
from ringline.billing.usage import Use
from ringline.customers import CustomerDirectory
from ringline.errors import InvalidArgument, PaymentRequired, PermissionDenied
from ringline.http import Principal, utc_now
from ringline.numbers import metrics
from ringline.numbers.directory import NumberDirectory
from ringline.numbers.errors import NumberUnpaid
from ringline.numbers.models import NumberRenewal
from ringline.numbers.months import month_after
from ringline.numbers.orders import store
from ringline.numbers.states import Reason, Status
from ringline.numbers.tables import numbers
from ringline.storage import Database

log = structlog.get_logger(__name__)

AHEAD: Final = timedelta(days=27)
"""How early a month can be paid: less than a month, so that nobody pays twice by asking twice."""
BATCH: Final = 500


class NumberRenewals:
    """Pays months of numbers: each that is paid is a row of ``number_orders`` (kind ``renew``), once for a number."""

    def __init__(
        self,
        database: Database,
        directory: NumberDirectory,
        customers: CustomerDirectory,
        balances: BalanceDirectory,
    ) -> None:
        self._database = database
        self._directory = directory
        self._customers = customers
        self._balances = balances
        self.rates = Rates()
        """What months cost (``billing.RateBook``)."""

    async def sweep(self) -> None:
        """Renew what is due, and suspend what cannot be paid. May run twice, and in several processes."""
        after: tuple[datetime, UUID] | None = None
        while True:
            now = utc_now()
            async with self._database.connect() as connection:
                due = _due(now).order_by(numbers.c.tm_renew, numbers.c.id).limit(BATCH)
                if after is not None:
                    due = due.where(tuple_(numbers.c.tm_renew, numbers.c.id) > after)
                rows = (await connection.execute(due)).all()
            for row in rows:
                if self._pays([row], now):
                    try:
                        await self._renew(row, now)
                        continue
                    except PaymentRequired:
                        log.info("number_not_paid", number=row.number)
                if row.status == Status.ACTIVE:
                    await self._suspend(row, now)
            if len(rows) < BATCH:
                return
            after = (rows[-1].tm_renew, rows[-1].id)

    async def renew(self, principal: Principal, wanted: NumberRenewal) -> list[Row[Any]]:
        """Pay the next month of numbers that fall due by then; those that were renewed.

        Raises ``NumberUnpaid`` when the customer's balance does not cover all of them: none is renewed then.
        """
        if wanted.all_customers and not principal.is_project_admin:
            raise PermissionDenied(
                "`all_customers`: only an administrator of the installation who has logged in may renew the numbers "
                "of others."
            )
        now = utc_now()
        until = _until(wanted, now)
        statement = _due(until)
        if not wanted.all_customers:
            statement = statement.where(numbers.c.customer_id == principal.customer_id)
        async with self._database.connect() as connection:
            ordered = statement.order_by(numbers.c.tm_renew, numbers.c.id).limit(BATCH)
            rows = (await connection.execute(ordered)).all()
        if rows and not wanted.all_customers and not self._pays(rows, now):
            price = self._price(rows, now)
            raise NumberUnpaid(
                f"{len(rows)} numbers cost {rates.dollars(price)} for a month, which your "
                "balance does not cover; add credit and try again. GET /v1.0/billing_account shows it.",
                details=[{"needed_credit": price}],
            )
        done: list[Row[Any]] = []
        for row in rows:
            if not self._pays([row], now):
                continue
            try:
                renewed = await self._renew(row, until)
            except PaymentRequired:
                if not done and not wanted.all_customers:
                    raise
                continue
            if renewed is not None:
                done.append(renewed)
        return done

    async def settle(self, connection: AsyncConnection, row: Row[Any]) -> dict[str, Any]:
        """Pay a number (its locked row) that is overdue, so that it may be active again; what changes in its row.

        Raises ``NumberUnpaid``.
        """
        now = utc_now()
        if row.tm_renew is None or row.tm_renew > now:
            return {}
        if not self._pays([row], now):
            price = self._price([row], now)
            raise NumberUnpaid(
                f"{row.number} is suspended because its month is not paid, and your balance does not cover "
                f"{rates.dollars(price)}; add credit and try again (GET /v1.0/billing_account).",
                details=[{"needed_credit": price}],
            )
        return await self._paid(connection, row, now)

    def _pays(self, rows: Sequence[Row[Any]], now: datetime) -> bool:
        """Whether the customer's balance, as it is known here, pays for a month of all of these."""
        customer = self._customers.by_id(rows[0].customer_id)
        return customer is not None and self._balances.covers(
            customer.billing_account_id, self._price(rows, now)
        )

    def _price(self, rows: Sequence[Row[Any]], now: datetime) -> int:
        """Micro-US-dollars."""
        found = [self.rates.find("number_renew", row.number, now) for row in rows]
        return sum(rate.price(rate.units(1), 0)[1] for rate in found)

    async def _renew(self, due: Row[Any], until: datetime) -> Row[Any] | None:
        """Pay one number that is due by ``until``, unless somebody was faster; its row.

        Raises ``InsufficientBalance`` where the account has less than is known here; nothing changes then.
        """
        async with self._database.begin() as connection:
            row = await store.own_locked_number(connection, due.customer_id, due.id)
            if row is None or row.tm_renew is None or row.tm_renew > until:
                return None
            values = await self._paid(connection, row, utc_now())
            if row.status == Status.SUSPENDED and row.status_reason == Reason.RENEWAL_UNPAID:
                values |= {"status": Status.ACTIVE.value, "status_reason": ""}
            mine = (numbers.c.id == row.id, numbers.c.customer_id == row.customer_id)
            statement = update(numbers).where(*mine).values(values).returning(numbers)
            renewed: Row[Any] = (await connection.execute(statement)).one()
        await self._directory.refresh(row.id)
        log.info("number_renewed", customer_id=str(row.customer_id), number=row.number)
        return renewed

    async def _paid(self, connection: AsyncConnection, row: Row[Any], now: datetime) -> dict[str, Any]:
        """Note the month that begins at ``tm_renew``, or now where that is over by now; the row's new values."""
        day = (row.tm_purchase or row.tm_renew).day
        begin = row.tm_renew
        following = month_after(begin, day)
        if following <= now:
            # it was suspended for months: those are not owed
            begin, following = now, month_after(now, now.day)
        period = begin.astimezone(UTC).date()
        if await store.add_renewal(connection, row, period, now):
            month = Use("number_renew", row.number, "number_renew", row.id, key=period.isoformat())
            await usage.charge(connection, row.customer_id, [month], now)
            metrics.renewals.labels("renewed").inc()
        return {"tm_renew": following, "tm_update": now}

    async def _suspend(self, row: Row[Any], now: datetime) -> None:
        async with self._database.begin() as connection:
            statement = (
                update(numbers)
                .where(
                    numbers.c.id == row.id,
                    numbers.c.tm_delete.is_(None),
                    numbers.c.status == Status.ACTIVE.value,
                    numbers.c.tm_renew == row.tm_renew,
                )
                .values(
                    status=Status.SUSPENDED.value, status_reason=Reason.RENEWAL_UNPAID.value, tm_update=now
                )
            )
            changed = (await connection.execute(statement)).rowcount
        if changed:
            metrics.renewals.labels("unpaid").inc()
            log.warning("number_unpaid", customer_id=str(row.customer_id), number=row.number)
            await self._directory.refresh(row.id)


def _due(until: datetime) -> Select[Any]:
    return select(numbers).where(
        numbers.c.tm_delete.is_(None),
        numbers.c.tm_renew <= until,
        numbers.c.status.in_((Status.ACTIVE.value, Status.SUSPENDED.value)),
    )


def _until(wanted: NumberRenewal, now: datetime) -> datetime:
    if wanted.tm_renew is None:
        return now + timedelta(days=wanted.days)
    until = wanted.tm_renew if wanted.tm_renew.tzinfo else wanted.tm_renew.replace(tzinfo=UTC)
    if wanted.days or until > now + AHEAD:
        message = "a time of at most 27 days ahead, and not together with `days`"
        raise InvalidArgument(
            f"`tm_renew`: must be {message}.",
            details=[{"field": "tm_renew", "message": f"must be {message}"}],
        )
    return until
