"""What customers may change about themselves, and the making of credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Row, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.customers.attempts import PasswordAttempts
from ringline.customers.directory import AccesskeyDirectory, CustomerDirectory
from ringline.customers.models import AccesskeyChange, AccesskeyCreate, CustomerChange
from ringline.customers.own_webhook import CheckUrl, check_webhook_uri
from ringline.customers.passwords import verify_password
from ringline.customers.tables import accesskeys, agents, customers
from ringline.customers.tokens import Tokens, accesskey_hash, accesskey_prefix, new_accesskey
from ringline.errors import InvalidArgument, NotFound, Unauthenticated
from ringline.http import PageQuery, Principal, page_statement, utc_now
from ringline.http.endpoint import too_many
from ringline.storage import Database
from ringline.storage.rows import change, live, one

log = structlog.get_logger(__name__)

SourceProblem = Callable[[UUID, UUID], str | None]
"""``(customer_id, number_id)`` to what forbids the number as a source, ``None`` when nothing does."""


class AccesskeyNotFound(NotFound):
    """404: no such access key."""

    default_reason = "ACCESSKEY_NOT_FOUND"


class Realms(Protocol):
    """Who moves a customer's extensions to another label (``extensions.Realms``)."""

    async def move(
        self, connection: AsyncConnection, customer: Row[Any], label: str
    ) -> tuple[dict[str, Any], list[str]]: ...

    async def take(self, connection: AsyncConnection, customer_id: UUID, label: str) -> None: ...

    async def moved(self, customer_id: UUID, label: str, gone: list[str]) -> None: ...


class CustomerService:
    """The customer of a request."""

    def __init__(
        self,
        database: Database,
        directory: CustomerDirectory,
        source_problem: SourceProblem,
        realms: Realms,
        check_url: CheckUrl | None = None,
    ) -> None:
        self._database = database
        self._directory = directory
        self._source_problem = source_problem
        self._realms = realms
        self._check_url = check_url

    async def get(self, customer_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            row = (await connection.execute(select(customers).where(customers.c.id == customer_id))).first()
        if row is None:
            raise _no_customer()
        return row

    async def take_label(self, connection: AsyncConnection, customer_id: UUID, label: str) -> None:
        """Raises ``AlreadyExists`` for a label that is somebody else's."""
        await self._realms.take(connection, customer_id, label)

    def check_webhook(self, uri: str) -> None:
        """Raises ``InvalidArgument`` for an address to which nothing may be sent."""
        check_webhook_uri(uri, self._check_url)

    async def update(self, customer_id: UUID, wanted: CustomerChange) -> Row[Any]:
        """Change what ``wanted`` names and leave the rest. Raises ``InvalidArgument`` and ``AlreadyExists``."""
        values = wanted.model_dump(include=wanted.model_fields_set - {"domain_label"})
        number_id = wanted.default_outgoing_source_number_id
        if number_id is not None and (problem := self._source_problem(customer_id, number_id)):
            field = "default_outgoing_source_number_id"
            raise InvalidArgument(f"`{field}`: {problem}", details=[{"field": field, "message": problem}])
        gone: list[str] | None = None
        async with self._database.begin() as connection:
            mine = (customers.c.id == customer_id, customers.c.tm_delete.is_(None))
            row = (await connection.execute(select(customers).where(*mine).with_for_update())).first()
            if row is None:
                raise _no_customer()
            values |= _email(row, wanted)
            # one that is there already is no obstacle to a change of something else
            if values.get("webhook_uri", row.webhook_uri) != row.webhook_uri:
                self.check_webhook(wanted.webhook_uri)
            if "domain_label" in wanted.model_fields_set and wanted.domain_label != row.domain_label:
                changed, gone = await self._realms.move(connection, row, wanted.domain_label)
                values |= changed
            await connection.execute(customers.update().where(*mine).values(**values, tm_update=utc_now()))
        await self._directory.refresh(customer_id)
        if gone is not None:
            await self._realms.moved(customer_id, wanted.domain_label, gone)
        return await self.get(customer_id)


def _email(row: Row[Any], wanted: CustomerChange) -> dict[str, Any]:
    """What a new address means: nobody has proven it, unless the administrator says so."""
    if "email" not in wanted.model_fields_set or wanted.email.lower() == row.email.lower():
        return {}
    if row.status == "initial":
        message = "it is being verified; it can be changed when that is done"
        raise InvalidArgument(f"`email`: {message}.", details=[{"field": "email", "message": message}])
    return {} if "email_verified" in wanted.model_fields_set else {"email_verified": False}


def _no_customer() -> NotFound:
    return NotFound("This customer does not exist any more.", reason="CUSTOMER_NOT_FOUND")


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


class Attempts(Protocol):
    """Who writes down logins (``people.Logins``). Returns at once."""

    def __call__(self, agent: Row[Any] | None, remote: str, *, right: bool) -> None: ...


class LoginService:
    """Proves agents by their password."""

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        attempts: Attempts | None = None,
        guesses: PasswordAttempts | None = None,
    ) -> None:
        """``attempts`` is told of each, ``guesses`` decides which are looked at."""
        self._database = database
        self._tokens = tokens
        self._attempts = attempts
        self._guesses = guesses or PasswordAttempts()

    async def login(self, username: str, password: str, remote: str) -> str:
        """A token for the agent. Raises ``Unauthenticated`` and ``ResourceExhausted``.

        An unknown name takes as long as a wrong password and is answered alike.
        """
        name = username.strip().lower()
        verdict = await self._guesses.begin(name, remote)
        if verdict.wait:
            raise too_many("Too many failed logins from here", verdict.wait)
        await asyncio.sleep(verdict.slow)
        try:
            row = await self._find(name)
            right = await verify_password(None if row is None else row.password_hash, password)
        except BaseException:
            await self._guesses.undone(name, remote)
            raise
        if self._attempts is not None:
            self._attempts(row, remote, right=right)
        if row is None or not right:
            await self._guesses.wrong(name, remote)
            log.warning("login_refused", remote=remote)
            raise Unauthenticated("The username or the password is wrong.", reason="INVALID_CREDENTIALS")
        await self._guesses.right(name, remote)
        log.info("login", agent_id=str(row.id), customer_id=str(row.customer_id), remote=remote)
        return self._tokens.issue(row.id, row.customer_id, row.username, row.password_version)

    async def _find(self, name: str) -> Row[Any] | None:
        statement = select(agents).where(func.lower(agents.c.username) == name, agents.c.tm_delete.is_(None))
        async with self._database.connect() as connection:
            row: Row[Any] | None = (await connection.execute(statement)).first()
        return row
