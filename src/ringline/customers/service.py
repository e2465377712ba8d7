"""What customers may change about themselves, and the making of credentials."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Row, func, insert, select

from ringline.customers.directory import AccesskeyDirectory, CustomerDirectory
from ringline.customers.limiter import Limiter
from ringline.customers.models import AccesskeyChange, AccesskeyCreate, CustomerChange
from ringline.customers.passwords import verify_password
from ringline.customers.tables import accesskeys, agents, customers
from ringline.customers.tokens import Tokens, accesskey_hash, accesskey_prefix, new_accesskey
from ringline.errors import InvalidArgument, NotFound, ResourceExhausted, Unauthenticated
from ringline.http import PageQuery, Principal, page_statement, utc_now
from ringline.storage import Database
from ringline.storage.rows import change, live, one

log = structlog.get_logger(__name__)

SourceProblem = Callable[[UUID, UUID], str | None]
"""``(customer_id, number_id)`` to what forbids the number as a source, ``None`` when nothing does."""


class AccesskeyNotFound(NotFound):
    """404: no such access key."""

    default_reason = "ACCESSKEY_NOT_FOUND"


class CustomerService:
    """The customer of a request."""

    def __init__(
        self, database: Database, directory: CustomerDirectory, source_problem: SourceProblem
    ) -> None:
        self._database = database
        self._directory = directory
        self._source_problem = source_problem

    async def get(self, customer_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            row = (await connection.execute(select(customers).where(customers.c.id == customer_id))).first()
        if row is None:
            raise NotFound("This customer does not exist any more.", reason="CUSTOMER_NOT_FOUND")
        return row

    async def update(self, customer_id: UUID, wanted: CustomerChange) -> Row[Any]:
        """Change what ``wanted`` names and leave the rest."""
        values = wanted.model_dump(include=wanted.model_fields_set)
        number_id = wanted.default_outgoing_source_number_id
        if number_id is not None and (problem := self._source_problem(customer_id, number_id)):
            field = "default_outgoing_source_number_id"
            raise InvalidArgument(f"`{field}`: {problem}", details=[{"field": field, "message": problem}])
        async with self._database.begin() as connection:
            await connection.execute(
                customers.update()
                .where(customers.c.id == customer_id, customers.c.tm_delete.is_(None))
                .values(**values, tm_update=utc_now())
            )
        await self._directory.refresh(customer_id)
        return await self.get(customer_id)


class AccesskeyService:
    """A customer's access keys."""

    def __init__(self, database: Database, directory: AccesskeyDirectory) -> None:
        self._database = database
        self._directory = directory

    async def page(self, customer_id: UUID, query: PageQuery) -> list[Row[Any]]:
        statement = page_statement(live(accesskeys, customer_id), accesskeys, query)
        async with self._database.connect() as connection:
            return list((await connection.execute(statement)).all())

    async def get(self, customer_id: UUID, key_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            return _found(await one(connection, accesskeys, customer_id, key_id))

    async def create(self, principal: Principal, wanted: AccesskeyCreate) -> tuple[Row[Any], str]:
        """The new key and its token, which is known only now."""
        token, now = new_accesskey(), utc_now()
        statement = (
            insert(accesskeys)
            .values(
                id=uuid4(),
                customer_id=principal.customer_id,
                agent_id=principal.agent_id,
                name=wanted.name,
                detail=wanted.detail,
                token_hash=accesskey_hash(token),
                token_prefix=accesskey_prefix(token),
                tm_expire=now + timedelta(seconds=wanted.expire) if wanted.expire else None,
                tm_create=now,
            )
            .returning(accesskeys)
        )
        async with self._database.begin() as connection:
            row = (await connection.execute(statement)).one()
        await self._directory.refresh(row.id)
        log.info("accesskey_created", customer_id=str(row.customer_id), accesskey_id=str(row.id))
        return row, token

    async def update(self, customer_id: UUID, key_id: UUID, wanted: AccesskeyChange) -> Row[Any]:
        values = wanted.model_dump(include=wanted.model_fields_set)
        return await self._change(customer_id, key_id, {**values, "tm_update": utc_now()})

    async def delete(self, customer_id: UUID, key_id: UUID) -> Row[Any]:
        """Take the key back: it is refused from the next request on."""
        now = utc_now()
        row = await self._change(customer_id, key_id, {"tm_update": now, "tm_delete": now})
        log.info("accesskey_deleted", customer_id=str(customer_id), accesskey_id=str(key_id))
        return row

    async def _change(self, customer_id: UUID, key_id: UUID, values: dict[str, Any]) -> Row[Any]:
        async with self._database.begin() as connection:
            row = _found(await change(connection, accesskeys, customer_id, key_id, values))
        await self._directory.refresh(key_id)
        return row


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise AccesskeyNotFound("There is no such access key; GET /v1.0/accesskeys lists yours.")
    return row


class LoginService:
    """Proves agents by their password."""

    def __init__(self, database: Database, tokens: Tokens) -> None:
        self._database = database
        self._tokens = tokens
        self._by_address = Limiter(rate=10, burst=20)
        self._by_name = Limiter(rate=0.2, burst=10)

    async def login(self, username: str, password: str, remote: str) -> str:
        """A token for the agent. Raises ``Unauthenticated`` and ``ResourceExhausted``.

        An unknown name takes as long as a wrong password and is answered alike.
        """
        name = username.strip().lower()
        wait = self._by_address.take(remote) or self._by_name.take((remote, name))
        if wait:
            seconds = max(1, round(wait + 0.5))
            raise ResourceExhausted(
                f"Too many logins from here; try again in {seconds} s.", details=[{"retry_after": seconds}]
            )
        row = await self._find(name)
        right = await verify_password(None if row is None else row.password_hash, password)
        if row is None or not right:
            log.warning("login_refused", remote=remote)
            raise Unauthenticated("The username or the password is wrong.", reason="INVALID_CREDENTIALS")
        self._by_name.forget((remote, name))
        log.info("login", agent_id=str(row.id), customer_id=str(row.customer_id), remote=remote)
        return self._tokens.issue(row.id, row.customer_id, row.username)

    async def _find(self, name: str) -> Row[Any] | None:
        statement = select(agents).where(func.lower(agents.c.username) == name, agents.c.tm_delete.is_(None))
        async with self._database.connect() as connection:
            row: Row[Any] | None = (await connection.execute(statement)).first()
        return row
