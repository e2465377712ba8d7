"""Leaving: a customer that unregisters is frozen, and deleted a month later; until then it may come back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.customers.directory import CustomerDirectory
from ringline.customers.entry.models import Unregister
from ringline.customers.entry.signup import too_many
from ringline.customers.freezing import BY_CUSTOMER, BY_PROJECT, GRACE, account_frozen
from ringline.customers.limiter import Limiter
from ringline.customers.making import unverified
from ringline.customers.passwords import verify_password
from ringline.customers.removal import Removal
from ringline.customers.tables import agents, customers
from ringline.errors import FailedPrecondition, InvalidArgument, NotFound, Unauthenticated
from ringline.http import Permission, Principal, utc_now
from ringline.storage import Database
from ringline.storage.rows import one

log = structlog.get_logger(__name__)

_PROJECT = int(Permission.PROJECT_ALL)


class CustomerNotFound(NotFound):
    """404: no such customer."""

    default_reason = "CUSTOMER_NOT_FOUND"


class CustomerStateInvalid(FailedPrecondition):
    """409: the customer is not in a state in which this can be done."""

    default_reason = "CUSTOMER_STATE_INVALID"


class Leaving:
    """Freezing, recovering and deleting customers: by themselves, and by the installation's administrator."""

    def __init__(self, database: Database, directory: CustomerDirectory, removal: Removal) -> None:
        self._database = database
        self._directory = directory
        self._removal = removal
        self._guesses = Limiter(rate=0.2, burst=10)

    async def unregister(self, principal: Principal, wanted: Unregister) -> Row[Any]:
        """Freeze, or with ``immediate`` delete. Raises ``Unauthenticated`` for a wrong password."""
        if wanted.password is not None:
            await self._check_password(principal, wanted.password)
        if wanted.immediate:
            return await self.delete(principal.customer_id)
        return await self.freeze(principal.customer_id, by=BY_CUSTOMER)

    async def come_back(self, customer_id: UUID) -> Row[Any]:
        """Undo ``unregister``. What the administrator froze only the administrator recovers (403)."""
        known = self._directory.by_id(customer_id)
        if known is not None and known.status == "frozen" and known.frozen_by != BY_CUSTOMER:
            raise account_frozen(known)
        return await self.recover(customer_id)

    async def freeze(self, customer_id: UUID, *, by: str = BY_PROJECT) -> Row[Any]:
        """From now on everything is refused; deletion in 30 days. Calls that last go on to their end."""
        now = utc_now()
        async with self._database.begin() as connection:
            row = await _locked(connection, customer_id)
            if row.status == "frozen" and by in {row.frozen_by, BY_CUSTOMER}:
                raise CustomerStateInvalid("The customer is frozen already.")
            await _check_no_operators(connection, customer_id)
            values = {"status": "frozen", "frozen_by": by, "tm_update": now}
            if row.tm_deletion_scheduled is None:
                values["tm_deletion_scheduled"] = now + GRACE
            row = await _set(connection, customer_id, values)
        await self._directory.refresh(customer_id)
        log.warning("customer_frozen", customer_id=str(customer_id), by=by)
        return row

    async def recover(self, customer_id: UUID) -> Row[Any]:
        """A frozen customer is as it was before."""
        async with self._database.begin() as connection:
            row = await _locked(connection, customer_id)
            if row.status != "frozen":
                raise CustomerStateInvalid(f"The customer is {row.status}, not frozen.")
            # one that never proved its address waits for that again; not one that has another address since
            waits = await _never_verified(connection, customer_id)
            values = {
                "status": "initial" if waits else "active",
                "frozen_by": "",
                "tm_deletion_scheduled": None,
                "tm_update": utc_now(),
            }
            row = await _set(connection, customer_id, values)
        await self._directory.refresh(customer_id)
        log.warning("customer_recovered", customer_id=str(customer_id))
        return row

    async def delete(self, customer_id: UUID) -> Row[Any]:
        """It is gone at once for everybody; what belongs to it is taken down in the background."""
        now = utc_now()
        async with self._database.begin() as connection:
            await _locked(connection, customer_id)
            await _check_no_operators(connection, customer_id)
            values = {"status": "deleted", "tm_update": now, "tm_delete": now}
            row = await _set(connection, customer_id, values)
        await self._directory.refresh(customer_id)
        self._removal.wake()
        log.warning("customer_deleted", customer_id=str(customer_id))
        return row

    async def _check_password(self, principal: Principal, password: str) -> None:
        agent_id = principal.agent_id
        if agent_id is None:
            message = "an access key has no password; give `confirmation_phrase`"
            raise InvalidArgument(
                f"`password`: {message}.", details=[{"field": "password", "message": message}]
            )
        if wait := self._guesses.take(agent_id):
            raise too_many(wait)
        async with self._database.connect() as connection:
            agent = await one(connection, agents, principal.customer_id, agent_id)
        if not await verify_password(None if agent is None else agent.password_hash, password):
            raise Unauthenticated("`password` is wrong.", reason="INVALID_CREDENTIALS")


async def _locked(connection: AsyncConnection, customer_id: UUID) -> Row[Any]:
    statement = (
        sa.select(customers)
        .where(customers.c.id == customer_id, customers.c.tm_delete.is_(None))
        .with_for_update()
    )
    row: Row[Any] | None = (await connection.execute(statement)).first()
    if row is None:
        raise CustomerNotFound("There is no such customer.")
    return row


async def _set(connection: AsyncConnection, customer_id: UUID, values: dict[str, Any]) -> Row[Any]:
    statement = sa.update(customers).where(customers.c.id == customer_id).values(values).returning(customers)
    row: Row[Any] = (await connection.execute(statement)).one()
    return row


async def _never_verified(connection: AsyncConnection, customer_id: UUID) -> bool:
    """Whether a customer that signed up has not proven its address: its admin has no name of its own yet."""
    waiting = sa.select(agents.c.id).where(
        agents.c.customer_id == customer_id, agents.c.username == unverified(customer_id)
    )
    return (await connection.execute(waiting.limit(1))).first() is not None


async def _check_no_operators(connection: AsyncConnection, customer_id: UUID) -> None:
    """The customer of the installation's administrators stays: nobody could administer it any more."""
    operators = sa.select(agents.c.id).where(
        agents.c.customer_id == customer_id,
        agents.c.tm_delete.is_(None),
        agents.c.permission.op("&")(_PROJECT) != 0,
    )
    if (await connection.execute(operators.limit(1))).first() is not None:
        raise CustomerStateInvalid(
            "Administrators of the installation are agents of this customer; it cannot be frozen or deleted as long "
            "as they are."
        )
