"""Taking down what belonged to a customer that is gone.

``customers.tm_delete`` shuts the door: every process refuses the customer from that moment. What it leaves behind is
taken down by parts, one after another, each of which may be done twice; ``tm_removed`` says that all are done, so
whoever is killed in between leaves the rest to the next. One process at a time works for a customer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.audit import Trail
from ringline.clock import Clock
from ringline.customers import mailed
from ringline.customers.directory import CustomerDirectory
from ringline.customers.mailed import VERIFY_LIFE
from ringline.customers.tables import account_tokens, agents, customers
from ringline.errors import NotFound
from ringline.rounds import Rounds
from ringline.storage import Database

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 5.0
_AT_ONCE: Final = 100
_LOCKS: Final = 7_234_024
"""Of the two numbers of an advisory lock the first; the second is made of the customer's id."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that belongs to customers. ``remove`` takes down all of one customer's, harmless if repeated."""

    name: str
    remove: Callable[[UUID], Awaitable[None]]


class OneOf(Protocol):
    """Removes one of a customer's things."""

    async def __call__(self, customer_id: UUID, row_id: UUID, /) -> object: ...


def each(database: Database, table: sa.Table, remove: OneOf, *more: sa.ColumnElement[bool]) -> Part:
    """A part that asks a room to remove the live rows of its table, one after another."""

    async def all_of(customer_id: UUID) -> None:
        mine = (table.c.customer_id == customer_id, table.c.tm_delete.is_(None), *more)
        statement = sa.select(table.c.id).where(*mine).order_by(table.c.id)
        async with database.connect() as connection:
            rows = (await connection.execute(statement)).scalars().all()
        for row_id in rows:
            try:
                await remove(customer_id, row_id)
            except NotFound:
                continue  # somebody else was faster

    return Part(table.name, all_of)


def marked(database: Database, table: sa.Table, **forgotten: Any) -> Part:
    """A part whose rows are marked as deleted; the columns ``forgotten`` say nothing of people any more."""

    async def all_of(customer_id: UUID) -> None:
        now = sa.func.now()
        present = {"tm_update": now} if "tm_update" in table.c else {}
        values = {**forgotten, **present, "tm_delete": now}
        mine = (table.c.customer_id == customer_id, table.c.tm_delete.is_(None))
        while True:
            some = sa.select(table.c.id).where(*mine).limit(1000)
            async with database.begin() as connection:
                done = await connection.execute(sa.update(table).where(table.c.id.in_(some)).values(values))
            if done.rowcount < 1000:
                return

    return Part(table.name, all_of)


class Removal:
    """One worker that deletes customers whose time has come and takes down what they leave.

    Put ``parts`` in before ``start``.
    """

    def __init__(self, database: Database, directory: CustomerDirectory, trail: Trail, clock: Clock) -> None:
        self._database = database
        self._directory = directory
        self._trail = trail
        self._clock = clock
        self.parts: list[Part] = []
        self._rounds = Rounds("customers-removal", self._round, retry=_RETRY_SECONDS)

    def wake(self) -> None:
        """There is something to take down."""
        self._rounds.wake()

    async def start(self) -> None:
        self._rounds.start()

    async def close(self) -> None:
        """Stop; the rest is a successor's."""
        await self._rounds.close()

    async def turn(self) -> bool:
        """Do what there is to do; whether all of it was done."""
        await self._end()
        waiting = (
            sa.select(customers.c.id)
            .where(customers.c.tm_delete.is_not(None), customers.c.tm_removed.is_(None))
            .order_by(customers.c.tm_delete)
            .limit(_AT_ONCE)
        )
        async with self._database.connect() as connection:
            await mailed.sweep(connection)
            rows = (await connection.execute(waiting)).scalars().all()
        done = True
        for customer_id in rows:
            done = await self._remove_alone(customer_id) and done
        return done and len(rows) < _AT_ONCE

    async def _end(self) -> None:
        """Delete customers whose 30 days are over, and those that never proved their address."""
        now = self._clock.now()
        live = customers.c.tm_delete.is_(None)
        for status, due in (
            ("deleted", sa.and_(customers.c.status == "frozen", customers.c.tm_deletion_scheduled <= now)),
            ("expired", sa.and_(customers.c.status == "initial", customers.c.tm_create <= now - VERIFY_LIFE)),
        ):
            with self._trail.system("customers removal"):
                async with self._database.begin() as connection:
                    ended = await connection.execute(
                        sa.update(customers)
                        .where(live, due)
                        .values(status=status, tm_update=now, tm_delete=now)
                        .returning(customers.c.id)
                    )
                    rows = ended.scalars().all()
            for customer_id in rows:
                await self._directory.refresh(customer_id)
                log.warning(f"customer_{status}", customer_id=str(customer_id))

    async def _remove_alone(self, customer_id: UUID) -> bool:
        key = {"room": _LOCKS, "customer": customer_id.int % 2**31}
        async with self._database.connect() as connection:
            # of the session: it ends with the process, however that ends
            if not await connection.scalar(sa.text("SELECT pg_try_advisory_lock(:room, :customer)"), key):
                return True  # another process is at it
            try:
                return await self._remove(customer_id)
            finally:
                await connection.execute(sa.text("SELECT pg_advisory_unlock(:room, :customer)"), key)

    async def _remove(self, customer_id: UUID) -> bool:
        whole = True
        for part in self.parts:
            try:
                with self._trail.system("customers removal"):
                    await part.remove(customer_id)
            except Exception as error:  # noqa: BLE001 - the others go on, and it is done again
                whole = False
                log.warning(
                    "customer_part_left", customer_id=str(customer_id), part=part.name, error=repr(error)
                )
        if not whole:
            return False
        async with self._database.begin() as connection:
            await self._forget(connection, customer_id)
            await connection.execute(
                sa.update(customers).where(customers.c.id == customer_id).values(tm_removed=self._clock.now())
            )
        log.warning("customer_removed", customer_id=str(customer_id))
        return True

    async def _forget(self, connection: AsyncConnection, customer_id: UUID) -> None:
        """Nothing says any more who these people were."""
        await connection.execute(sa.delete(account_tokens).where(account_tokens.c.customer_id == customer_id))
        nobody = {"name": "", "detail": "", "addresses": [], "password_hash": "*"}
        await connection.execute(
            sa.update(agents)
            .where(agents.c.customer_id == customer_id)
            .values(**nobody, username=sa.literal("deleted-") + sa.cast(agents.c.id, sa.Text))
        )
        blank = ("name", "detail", "email", "phone_number", "address", "webhook_method", "webhook_uri")
        await connection.execute(
            sa.update(customers)
            .where(customers.c.id == customer_id)
            .values(**dict.fromkeys(blank, ""), metadata={}, email_verified=False)
        )
        await self._trail.forget(connection, customer_id)

    async def _round(self) -> float:
        return EVERY_SECONDS if await self.turn() else _RETRY_SECONDS
