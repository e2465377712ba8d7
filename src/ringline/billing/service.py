"""Reading billing accounts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row

from ringline.billing.tables import billing_accounts
from ringline.errors import NotFound
from ringline.http import PageQuery, page_statement
from ringline.storage import Database
from ringline.storage.rows import live, one


class BillingAccountNotFound(NotFound):
    """404: no such billing account."""

    default_reason = "BILLING_ACCOUNT_NOT_FOUND"


class BillingService:
    """A customer's billing accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, customer_id: UUID, query: PageQuery) -> list[Row[Any]]:
        statement = page_statement(live(billing_accounts, customer_id), billing_accounts, query)
        async with self._database.connect() as connection:
            return list((await connection.execute(statement)).all())

    async def get(self, customer_id: UUID, account_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            return _found(await one(connection, billing_accounts, customer_id, account_id))

    async def own(self, customer_id: UUID) -> Row[Any]:
        """The account that the customer's charges go to: the first one it was given."""
        statement = live(billing_accounts, customer_id).order_by(billing_accounts.c.tm_create).limit(1)
        async with self._database.connect() as connection:
            return _found((await connection.execute(statement)).first())


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise BillingAccountNotFound(
            "There is no such billing account; GET /v1.0/billing_accounts lists yours."
        )
    return row
