"""What may happen to agents, and who may do it."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Row, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import tiers
from ringline.customers import mailed
from ringline.customers.agents.models import AgentChange, AgentCreate
from ringline.customers.directory import AgentDirectory
from ringline.customers.limiter import Limiter
from ringline.customers.passwords import hash_password
from ringline.customers.presence import AVAILABLE, Presence
from ringline.customers.tables import agents, customers
from ringline.customers.tags.service import check_tags
from ringline.errors import AlreadyExists, FailedPrecondition, NotFound, PermissionDenied
from ringline.http import PageQuery, Permission, Principal, page_statement, utc_now
from ringline.http.endpoint import too_many
from ringline.sip.address import Address
from ringline.storage import Database
from ringline.storage.rows import change, live, one

log = structlog.get_logger(__name__)
_TIER = tiers.Tier("agents", agents, "Delete one (DELETE /v1.0/agents/{id})")

_CUSTOMER_BITS = int(Permission.CUSTOMER_ALL)
TAKEN_AT_ONCE: Final = 100
TAKEN_PER_SECOND: Final = 1 / 60
"""So many names that are taken a customer may try: nobody learns a list of addresses by them."""


class AgentNotFound(NotFound):
    """404: no such agent."""

    default_reason = "AGENT_NOT_FOUND"


class LastAdmin(FailedPrecondition):
    """409: without this agent nobody could administer the customer any more."""

    default_reason = "LAST_ADMIN"


class UsernameTaken(AlreadyExists):
    """409: another agent of the installation has this name."""

    default_reason = "USERNAME_TAKEN"


class AgentService:
    """A customer's agents.

    An admin changes all of its customer's; an agent changes its own addresses, password and status. Nobody touches
    rights that are the operator's without having them.
    """

    def __init__(self, database: Database, directory: AgentDirectory, presence: Presence) -> None:
        self._database = database
        self._directory = directory
        self._presence = presence
        # that a name is taken says that somebody, perhaps another customer's, logs in with it
        self._taken = Limiter(rate=TAKEN_PER_SECOND, burst=TAKEN_AT_ONCE)

    def shown(self, row: Row[Any]) -> dict[str, Any]:
        """The row as the API shows it: with what the agent is doing right now."""
        status = self._presence.shown(row.id, row.status)
        return {**row._mapping, "status": status, "ring_method": row.ring_method or "ringall"}

    async def page(self, customer_id: UUID, query: PageQuery) -> list[Row[Any]]:
        statement = page_statement(live(agents, customer_id), agents, query)
        async with self._database.connect() as connection:
            return list((await connection.execute(statement)).all())

    async def get(self, customer_id: UUID, agent_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            return _found(await one(connection, agents, customer_id, agent_id))

    async def create(self, principal: Principal, wanted: AgentCreate) -> Row[Any]:
        """A new agent. Raises ``UsernameTaken``, ``PermissionDenied``, ``InvalidArgument``, ``LimitReached``.

        ``ResourceExhausted`` for a customer that has tried too many names that were taken.
        """
        _check_grant(principal, 0, wanted.permission)
        values = {
            **wanted.model_dump(exclude={"password", "tag_ids", "addresses"}),
            "id": uuid4(),
            "customer_id": principal.customer_id,
            "password_hash": await hash_password(wanted.password),
            "addresses": [address.as_json() for address in wanted.addresses],
            "status": "offline",
            "tm_create": utc_now(),
        }
        # after the hashing, which takes its time: many at once are counted too
        if wait := self._taken.wait(principal.customer_id):
            raise too_many("Too many names that are taken", wait)
        try:
            async with self._database.begin() as connection:
                values["tag_ids"] = await check_tags(connection, principal.customer_id, wanted.tag_ids)
                await tiers.check(connection, principal.customer_id, _TIER)
                statement = insert(agents).values(**values).returning(agents)
                row: Row[Any] = (await connection.execute(statement)).one()
        except IntegrityError as error:
            if "uq_agents_username" in str(error.orig):
                self._taken.take(principal.customer_id)
                raise UsernameTaken(
                    "`username`: another agent has this name; choose another one.",
                    details=[{"field": "username", "message": "is taken"}],
                ) from error
            raise
        await self._directory.refresh(row.id)
        log.info("agent_created", customer_id=str(row.customer_id), agent_id=str(row.id))
        return row

    async def update(self, principal: Principal, agent_id: UUID, wanted: AgentChange) -> Row[Any]:
        """Change what ``wanted`` names and leave the rest."""
        return await self._change(principal, agent_id, wanted.model_dump(include=wanted.model_fields_set))

    async def set_addresses(self, principal: Principal, agent_id: UUID, addresses: list[Address]) -> Row[Any]:
        values = {"addresses": [address.as_json() for address in addresses]}
        return await self._change(principal, agent_id, values, own=True)

    async def set_password(self, principal: Principal, agent_id: UUID, password: str) -> Row[Any]:
        """A new password. Whoever logged in with the former one has to log in again, and links in mails are void."""
        values = {
            "password_hash": await hash_password(password),
            "password_version": agents.c.password_version + 1,
        }
        row = await self._change(principal, agent_id, values, own=True)
        log.info("agent_password_changed", customer_id=str(row.customer_id), agent_id=str(agent_id))
        return row

    async def set_status(self, principal: Principal, agent_id: UUID, status: str) -> Row[Any]:
        row = await self._change(principal, agent_id, {"status": status}, own=True)
        if status == AVAILABLE:
            self._presence.rouse(agent_id)
        return row

    async def set_tags(self, principal: Principal, agent_id: UUID, tag_ids: list[UUID]) -> Row[Any]:
        async with self._database.connect() as connection:
            checked = await check_tags(connection, principal.customer_id, tag_ids)
        return await self._change(principal, agent_id, {"tag_ids": checked})

    async def set_permission(self, principal: Principal, agent_id: UUID, permission: int) -> Row[Any]:
        """Raises ``LastAdmin`` where nobody else could administer the customer then."""
        row = await self._change(principal, agent_id, {"permission": permission}, permission=permission)
        log.info("agent_permission_changed", agent_id=str(agent_id), permission=permission)
        return row

    async def delete(self, principal: Principal, agent_id: UUID) -> Row[Any]:
        """Delete an agent; its logins end at once. Raises ``LastAdmin``."""
        row = await self._change(principal, agent_id, {"tm_delete": utc_now()}, permission=0)
        log.info("agent_deleted", customer_id=str(row.customer_id), agent_id=str(agent_id))
        return row

    async def _change(
        self,
        principal: Principal,
        agent_id: UUID,
        values: dict[str, Any],
        *,
        own: bool = False,
        permission: int | None = None,
    ) -> Row[Any]:
        """``own``: the agent may do it itself. ``permission`` is what it will have, where that changes."""
        customer_id = principal.customer_id
        if not principal.is_admin and not (own and principal.agent_id == agent_id):
            raise PermissionDenied(
                "Only an admin changes other agents; an agent changes its own addresses, password and status."
            )
        async with self._database.begin() as connection:
            if permission is not None:
                # two admins who delete each other at the same moment must not both succeed
                await connection.execute(
                    select(customers.c.id).where(customers.c.id == customer_id).with_for_update()
                )
            before = _found(await one(connection, agents, customer_id, agent_id))
            if principal.agent_id != agent_id or permission is not None:
                _check_grant(principal, before.permission, permission)
            if permission is not None:
                await _check_last_admin(connection, before, permission)
            row = _found(
                await change(connection, agents, customer_id, agent_id, {**values, "tm_update": utc_now()})
            )
            if "password_hash" in values:
                await mailed.drop(connection, agent_id, "reset")
        await self._directory.refresh(agent_id)
        return row


def _check_grant(principal: Principal, present: int, wanted: int | None) -> None:
    """Rights beyond a customer's own are given, taken and reached only by those who have them."""
    beyond = (present | (wanted or 0)) & ~_CUSTOMER_BITS
    if beyond & ~principal.permission:
        raise PermissionDenied(
            "The permission of this agent goes beyond a customer's (240) and beyond your own; only an agent"
            " that has it may set it or change its holders."
        )


async def _check_last_admin(connection: AsyncConnection, agent: Row[Any], permission: int) -> None:
    admin = int(Permission.CUSTOMER_ADMIN)
    if permission & admin or not agent.permission & admin:
        return
    others = (
        live(agents, agent.customer_id)
        .where(agents.c.id != agent.id, agents.c.permission.op("&")(admin) != 0)
        .limit(1)
    )
    if (await connection.execute(others)).first() is None:
        raise LastAdmin(
            "This is the last agent with the admin permission (32); give it to another agent first."
        )


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise AgentNotFound("There is no such agent; GET /v1.0/agents lists yours.")
    return row
