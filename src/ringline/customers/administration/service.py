"""What the administrator of the installation does with customers."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError

from ringline.customers import mailed, making
from ringline.customers.administration.models import CustomerAdminChange, CustomerCreate, CustomersQuery
from ringline.customers.directory import AccesskeyDirectory, AgentDirectory, CustomerDirectory
from ringline.customers.entry.leaving import CustomerNotFound
from ringline.customers.entry.letters import Letters
from ringline.customers.entry.signup import Post
from ringline.customers.service import CustomerService
from ringline.customers.tables import customers
from ringline.errors import AlreadyExists
from ringline.http import page_statement
from ringline.storage import Database

log = structlog.get_logger(__name__)


class CustomersService:
    """All customers."""

    def __init__(
        self,
        database: Database,
        directories: tuple[CustomerDirectory, AgentDirectory, AccesskeyDirectory],
        own: CustomerService,
        furnish: making.Furnish,
        letters: Letters,
        post: Post,
    ) -> None:
        self._database = database
        self._customers, self._agents, self._keys = directories
        self._own = own
        self._furnish = furnish
        self._letters = letters
        self._post = post

    async def page(self, query: CustomersQuery) -> list[Row[Any]]:
        async with self._database.connect() as connection:
            return list((await connection.execute(listing(query))).all())

    async def get(self, customer_id: UUID) -> Row[Any]:
        """Also one that was deleted. Raises ``CustomerNotFound``."""
        async with self._database.connect() as connection:
            row = (
                await connection.execute(sa.select(customers).where(customers.c.id == customer_id))
            ).first()
        if row is None:
            raise CustomerNotFound("There is no such customer; GET /v1.0/customers lists them.")
        return row

    async def create(self, wanted: CustomerCreate) -> making.Made:
        """A customer, and a mail to its admin. Raises ``AlreadyExists`` for a login or a label that is taken, and
        ``InvalidArgument``.
        """
        self._own.check_webhook(wanted.webhook_uri)
        values: dict[str, Any] = {
            **wanted.model_dump(exclude={"domain_label"}),
            "email": wanted.email.lower(),
            "status": "active",
        }
        if wanted.domain_label is not None:
            values["domain_label"] = wanted.domain_label
        try:
            async with self._database.begin() as connection:
                customer_id = uuid4()
                if wanted.domain_label is not None:
                    await self._own.take_label(connection, customer_id, wanted.domain_label)
                made = await making.make(
                    connection,
                    self._furnish,
                    values,
                    username=wanted.email.lower(),
                    customer_id=customer_id,
                )
                token = await mailed.issue(
                    connection, "reset", made.customer.id, made.agent.id, mailed.VERIFY_LIFE
                )
        except IntegrityError as error:
            field = (
                "email"
                if making.name_taken(error)
                else "domain_label"
                if "domain_label" in str(error.orig)
                else ""
            )
            if not field:
                raise
            raise AlreadyExists(
                f"`{field}`: another customer has it; choose another one.",
                details=[{"field": field, "message": "is taken"}],
            ) from error
        await self._customers.refresh(made.customer.id)
        await self._agents.refresh(made.agent.id)
        await self._keys.refresh(made.accesskey.id)
        self._post(self._letters.welcome(made.customer.email, made.agent.username, token))
        log.info("customer_created", customer_id=str(made.customer.id))
        return made

    async def update(self, customer_id: UUID, wanted: CustomerAdminChange) -> Row[Any]:
        """Change what ``wanted`` names. Raises ``CustomerNotFound``, ``InvalidArgument``, ``AlreadyExists``."""
        return await self._own.update(customer_id, wanted)


def listing(query: CustomersQuery) -> sa.Select[Any]:
    """The page of customers that a query asks for."""
    rows = customers.c
    statement = sa.select(customers)
    if query.status is None:
        statement = statement.where(rows.tm_delete.is_(None))
    else:
        statement = statement.where(rows.status == query.status)
    if query.email is not None:
        statement = statement.where(sa.func.lower(rows.email) == query.email.lower())
    if query.name is not None:
        statement = statement.where(rows.name.icontains(query.name, autoescape=True))
    if query.domain_label is not None:
        statement = statement.where(rows.domain_label == query.domain_label.lower())
    return page_statement(statement, customers, query)
