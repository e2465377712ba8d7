"""Tags of a customer, and whether a list of them can be used."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Row, cast, insert, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.customers.directory import AgentDirectory
from ringline.customers.tables import agents, tags
from ringline.customers.tags.models import TagChange, TagCreate
from ringline.errors import FailedPrecondition, InvalidArgument, NotFound
from ringline.http import PageQuery, page_statement, utc_now
from ringline.storage import Database
from ringline.storage.rows import change, live, one

log = structlog.get_logger(__name__)

Users = Callable[[UUID, UUID], Collection[UUID]]
"""``(customer_id, tag_id)`` to the queues that ask for the tag."""


class TagNotFound(NotFound):
    """404: no such tag."""

    default_reason = "TAG_NOT_FOUND"


class TagInUse(FailedPrecondition):
    """409: a queue asks for the tag; without it the queue would ring agents that it was not made for."""

    default_reason = "TAG_IN_USE"


async def check_tags(connection: AsyncConnection, customer_id: UUID, tag_ids: Collection[UUID]) -> list[str]:
    """The ids as they are stored, each once. Raises ``InvalidArgument`` naming the first that is no such tag."""
    wanted = list(dict.fromkeys(tag_ids))
    if not wanted:
        return []
    statement = select(tags.c.id).where(
        tags.c.customer_id == customer_id, tags.c.tm_delete.is_(None), tags.c.id.in_(wanted)
    )
    known = {str(tag_id) for tag_id in (await connection.execute(statement)).scalars()}
    for index, tag_id in enumerate(tag_ids):
        if str(tag_id) not in known:
            field = f"tag_ids[{index}]"
            message = f"there is no tag {tag_id}; GET /v1.0/tags lists yours"
            raise InvalidArgument(f"`{field}`: {message}", details=[{"field": field, "message": message}])
    return [str(tag_id) for tag_id in wanted]


class TagService:
    """A customer's tags."""

    def __init__(self, database: Database, directory: AgentDirectory, users: Users) -> None:
        self._database = database
        self._directory = directory
        self._users = users

    async def page(self, customer_id: UUID, query: PageQuery) -> list[Row[Any]]:
        statement = page_statement(live(tags, customer_id), tags, query)
        async with self._database.connect() as connection:
            return list((await connection.execute(statement)).all())

    async def get(self, customer_id: UUID, tag_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            return _found(await one(connection, tags, customer_id, tag_id))

    async def create(self, customer_id: UUID, wanted: TagCreate) -> Row[Any]:
        values = {"id": uuid4(), "customer_id": customer_id, "tm_create": utc_now(), **wanted.model_dump()}
        async with self._database.begin() as connection:
            row: Row[Any] = (await connection.execute(insert(tags).values(**values).returning(tags))).one()
        return row

    async def update(self, customer_id: UUID, tag_id: UUID, wanted: TagChange) -> Row[Any]:
        values = wanted.model_dump(include=wanted.model_fields_set)
        async with self._database.begin() as connection:
            return _found(
                await change(connection, tags, customer_id, tag_id, {**values, "tm_update": utc_now()})
            )

    async def delete(self, customer_id: UUID, tag_id: UUID) -> Row[Any]:
        """Delete a tag and take it from the agents that have it. Raises ``TagInUse``."""
        if queues := self._users(customer_id, tag_id):
            raise TagInUse(
                f"{len(queues)} queue(s) ask for this tag; take it out of their `tag_ids` first.",
                details=[{"queue_id": str(queue_id)} for queue_id in queues],
            )
        now, text = utc_now(), str(tag_id)
        async with self._database.begin() as connection:
            row = _found(
                await change(connection, tags, customer_id, tag_id, {"tm_update": now, "tm_delete": now})
            )
            having = (
                update(agents)
                .where(agents.c.customer_id == customer_id, agents.c.tag_ids.contains(cast([text], JSONB)))
                .values(tag_ids=agents.c.tag_ids.op("-")(text), tm_update=now)
                .returning(agents.c.id)
            )
            changed = list((await connection.execute(having)).scalars())
        for agent_id in changed:
            await self._directory.refresh(agent_id)
        log.info("tag_deleted", customer_id=str(customer_id), tag_id=text, agents=len(changed))
        return row


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise TagNotFound("There is no such tag; GET /v1.0/tags lists yours.")
    return row
