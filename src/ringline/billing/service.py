"""Reading, changing and choosing billing accounts."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4, uuid5

import sqlalchemy as sa
import structlog
from sqlalchemy import Row, Select
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import accounts, ledger
from ringline.billing.errors import BillingAccountNotFound, BillingNotFound
from ringline.billing.models import (
    AccountChange,
    AccountCreate,
    AccountQuery,
    BillingAccountAnswer,
    BillingQuery,
)
from ringline.billing.tables import billing_accounts, billings
from ringline.errors import NotFound, PermissionDenied
from ringline.events import Event, emit
from ringline.http import PageQuery, Principal, page_statement, utc_now
from ringline.storage import Database, tenancy
from ringline.storage.rows import live, one

log = structlog.get_logger(__name__)

_customers = sa.table(
    "customers",
    sa.column("id", sa.Uuid),
    sa.column("billing_account_id", sa.Uuid),
    sa.column("tm_update", sa.DateTime(timezone=True)),
    sa.column("tm_delete", sa.DateTime(timezone=True)),
)


class BillingService:
    """Billing accounts: a customer's own for itself, everybody's for the installation's administrator."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, principal: Principal, query: AccountQuery) -> list[Row[Any]]:
        """Raises ``PermissionDenied`` where everybody's are asked for."""
        return await self._page(billing_accounts, principal, query, sa.select(billing_accounts))

    async def get(self, principal: Principal, account_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            return await visible(connection, principal, account_id)

    async def own(self, customer_id: UUID) -> Row[Any]:
        """The account that the customer's charges go to: the one it chose, else the first one it was given."""
        chosen = sa.select(_customers.c.billing_account_id).where(_customers.c.id == customer_id)
        statement = (
            live(billing_accounts, customer_id)
            .order_by(
                (billing_accounts.c.id == chosen.scalar_subquery()).desc(), billing_accounts.c.tm_create
            )
            .limit(1)
        )
        async with self._database.connect() as connection:
            return _found((await connection.execute(statement)).first())

    async def create(self, wanted: AccountCreate, seed: UUID | None) -> Row[Any]:
        """A further account of a customer, which is charged once the customer chooses it. Raises ``NotFound``."""
        account_id = uuid4() if seed is None else uuid5(seed, "billing_account")
        async with self._database.begin() as connection:
            owner = sa.select(_customers.c.id).where(
                _customers.c.id == wanted.customer_id, _customers.c.tm_delete.is_(None)
            )
            if (await connection.execute(owner)).first() is None:
                raise NotFound(
                    f"`customer_id`: there is no customer {wanted.customer_id}.", reason="CUSTOMER_NOT_FOUND"
                )
            known = await _row(connection, account_id)
            if known is None:
                await accounts.create(
                    connection,
                    account_id=account_id,
                    customer_id=wanted.customer_id,
                    plan=wanted.plan_type,
                    name=wanted.name,
                    detail=wanted.detail,
                )
                known = await reread(connection, account_id)
        log.info("billing_account_created", account_id=str(account_id), customer_id=str(wanted.customer_id))
        return known

    async def update(self, principal: Principal, account_id: UUID, wanted: AccountChange) -> Row[Any]:
        """Change what ``wanted`` names and leave the rest. Raises ``PermissionDenied`` for a plan."""
        values = wanted.model_dump(include=wanted.model_fields_set)
        plan = values.get("plan_type")
        async with self._database.begin() as connection:
            known = await visible(connection, principal, account_id)
            changed = plan is not None and plan != known.plan_type
            if changed and not principal.is_project_admin:
                raise PermissionDenied(
                    "`plan_type`: the plan is changed by the installation's administrator only; leave it out."
                )
            await ledger.lock(connection, (account_id,))
            await connection.execute(
                sa.update(billing_accounts)
                .where(
                    billing_accounts.c.id == account_id, billing_accounts.c.customer_id == known.customer_id
                )
                .values(**values, tm_update=utc_now())
            )
            if changed:
                # what the new one allows this month beyond what is left comes at once
                await accounts.allow(connection, [account_id], utc_now())
                log.info("plan_changed", account_id=str(account_id), before=known.plan_type, plan=plan)
            return await reread(connection, account_id)

    async def choose(self, customer_id: UUID, account_id: UUID) -> Row[Any]:
        """Have the customer's charges go to another of its accounts from now on."""
        async with self._database.begin() as connection:
            statement = live(billing_accounts, customer_id).where(billing_accounts.c.id == account_id)
            row = _found((await connection.execute(statement)).first())
            await connection.execute(
                sa.update(_customers)
                .where(_customers.c.id == customer_id)
                .values(billing_account_id=account_id, tm_update=utc_now())
            )
        log.info("billing_account_chosen", customer_id=str(customer_id), account_id=str(account_id))
        return row

    async def entries(self, principal: Principal, query: BillingQuery) -> list[Row[Any]]:
        """A page of the ledger. Raises ``PermissionDenied`` where everybody's is asked for."""
        statement = sa.select(billings)
        for name in ("account_id", "reference_type", "reference_id", "transaction_type", "cost_type"):
            if wanted := getattr(query, name):
                statement = statement.where(billings.c[name] == wanted)
        if query.tm_start is not None:
            statement = statement.where(billings.c.tm_create >= query.tm_start)
        if query.tm_end is not None:
            statement = statement.where(billings.c.tm_create < query.tm_end)
        return await self._page(billings, principal, query, statement)

    async def entry(self, principal: Principal, billing_id: UUID) -> Row[Any]:
        statement = sa.select(billings).where(billings.c.id == billing_id)
        if not principal.is_project_admin:
            statement = statement.where(billings.c.customer_id == principal.customer_id)
        async with self._database.connect() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            raise BillingNotFound("There is no such entry in the ledger; GET /v1.0/billings lists yours.")
        return row

    async def _page(
        self, table: sa.Table, principal: Principal, query: AccountQuery, statement: Select[Any]
    ) -> list[Row[Any]]:
        if query.all_customers and not principal.is_project_admin:
            raise PermissionDenied(
                "`all_customers`: what others pay is the installation's administrator's to see; leave it out."
            )
        if not principal.is_project_admin and query.customer_id not in {None, principal.customer_id}:
            return []
        if not principal.is_project_admin or (query.customer_id is None and not query.all_customers):
            statement = statement.where(table.c.customer_id == principal.customer_id)
        if query.customer_id is not None:
            statement = statement.where(table.c.customer_id == query.customer_id)
        if "tm_delete" in table.c:
            statement = statement.where(table.c.tm_delete.is_(None))
        page: PageQuery = query
        async with self._database.connect() as connection:
            return list((await connection.execute(page_statement(statement, table, page))).all())


async def visible(connection: AsyncConnection, principal: Principal, account_id: UUID) -> Row[Any]:
    """An account that the one who asks may see. Raises ``BillingAccountNotFound``."""
    if principal.is_project_admin:
        return _found(await _row(connection, account_id))
    return _found(await one(connection, billing_accounts, principal.customer_id, account_id))


async def reread(connection: AsyncConnection, account_id: UUID) -> Row[Any]:
    """An account as the transaction leaves it."""
    with tenancy.across():
        return _found(await _row(connection, account_id))


async def announce(connection: AsyncConnection, account_id: UUID) -> Row[Any]:
    """Tell that an account's balance was changed otherwise than by use; returns it as it is now.

    To be called last. That it was topped up, or got another name or plan, a trigger tells (migration 0033).
    """
    row = await reread(connection, account_id)
    event = Event(
        type="billing_account_updated",
        customer_id=row.customer_id,
        resource="billing_account",
        resource_id=account_id,
        data=BillingAccountAnswer.model_validate(row).model_dump(mode="json"),
        tm_create=utc_now(),
    )
    await emit(connection, [event])
    return row


async def _row(connection: AsyncConnection, account_id: UUID) -> Row[Any] | None:
    statement = sa.select(billing_accounts).where(
        billing_accounts.c.id == account_id, billing_accounts.c.tm_delete.is_(None)
    )
    row: Row[Any] | None = (await connection.execute(statement)).first()
    return row


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise BillingAccountNotFound(
            "There is no such billing account; GET /v1.0/billing_accounts lists yours."
        )
    return row
