"""What may happen to queues and to the calls in them."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Row, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import tiers
from ringline.customers.tags.service import check_tags
from ringline.errors import NotFound
from ringline.events.resource import Told
from ringline.flows import check
from ringline.http import ZERO_UUID, PageQuery, page_statement, utc_now
from ringline.queues import store
from ringline.queues.directory import QueueDirectory
from ringline.queues.joining import QueueJoining
from ringline.queues.models import QueuecallAnswer, QueuecallQuery, QueueChange, QueueCreate
from ringline.queues.states import IN_LINE, Status
from ringline.queues.store import queuecalls, queues
from ringline.storage import Database
from ringline.storage.rows import change, live, one

log = structlog.get_logger(__name__)
_TIER = tiers.Tier("queues", queues, "Delete one (DELETE /v1.0/queues/{id})")


class QueueNotFound(NotFound):
    """404: no such queue."""

    default_reason = "QUEUE_NOT_FOUND"


class QueuecallNotFound(NotFound):
    """404: no such queuecall."""

    default_reason = "QUEUECALL_NOT_FOUND"


class Flows(Protocol):
    """Stored flows (``flows.definitions.FlowDefinitions``)."""

    async def exists(self, customer_id: UUID, flow_id: UUID) -> bool: ...


class QueueService:
    """A customer's queues."""

    def __init__(
        self,
        database: Database,
        directory: QueueDirectory,
        joining: QueueJoining,
        flows: Flows,
    ) -> None:
        self._database = database
        self._directory = directory
        self._joining = joining
        self._flows = flows

    def shown(self, row: Row[Any]) -> dict[str, Any]:
        """The row as the API shows it: with those who are in the queue right now."""
        records = [caller.record for caller in self._joining.dispatcher.callers(row.id)]
        return {
            **row._mapping,
            "wait_queuecall_ids": [record.id for record in records if record.status in IN_LINE],
            "service_queuecall_ids": [record.id for record in records if record.status is Status.SERVICE],
        }

    async def page(self, customer_id: UUID, query: PageQuery) -> list[Row[Any]]:
        statement = page_statement(live(queues, customer_id), queues, query)
        await self._joining.written()
        async with self._database.connect() as connection:
            return list((await connection.execute(statement)).all())

    async def get(self, customer_id: UUID, queue_id: UUID) -> Row[Any]:
        await self._joining.written()
        async with self._database.connect() as connection:
            return _found(await one(connection, queues, customer_id, queue_id))

    async def create(self, customer_id: UUID, wanted: QueueCreate) -> Row[Any]:
        """Raises ``InvalidArgument``, ``NotFound`` (``FLOW_NOT_FOUND``), ``LimitReached``."""
        values = wanted.model_dump(exclude={"tag_ids", "wait_actions"})
        async with self._database.begin() as connection:
            values |= await self._checked(connection, customer_id, wanted)
            await tiers.check(connection, customer_id, _TIER)
            statement = (
                insert(queues)
                .values(id=uuid4(), customer_id=customer_id, tm_create=utc_now(), **values)
                .returning(queues)
            )
            row: Row[Any] = (await connection.execute(statement)).one()
        await self._directory.refresh(row.id)
        log.info("queue_created", customer_id=str(customer_id), queue_id=str(row.id))
        return row

    async def update(self, customer_id: UUID, queue_id: UUID, wanted: QueueChange) -> Row[Any]:
        """Change what ``wanted`` names and leave the rest."""
        named = wanted.model_fields_set
        values = wanted.model_dump(include=named - {"tag_ids", "wait_actions"})
        async with self._database.begin() as connection:
            checked = await self._checked(connection, customer_id, wanted)
            values |= {name: value for name, value in checked.items() if name in named}
            values["tm_update"] = utc_now()
            row = _found(await change(connection, queues, customer_id, queue_id, values))
        await self._directory.refresh(queue_id)
        return row

    async def delete(self, customer_id: UUID, queue_id: UUID) -> Row[Any]:
        """Delete a queue. Those who wait in it leave it, those who talk go on."""
        now = utc_now()
        async with self._database.begin() as connection:
            values = {"tm_update": now, "tm_delete": now}
            row = _found(await change(connection, queues, customer_id, queue_id, values))
        await self._directory.refresh(queue_id)
        log.info("queue_deleted", customer_id=str(customer_id), queue_id=str(queue_id))
        return row

    async def _checked(
        self, connection: AsyncConnection, customer_id: UUID, wanted: QueueCreate | QueueChange
    ) -> dict[str, Any]:
        """Tags and wait actions as they are stored."""
        flow_id = wanted.wait_flow_id
        if flow_id != ZERO_UUID and not await self._flows.exists(customer_id, flow_id):
            raise NotFound(f"wait_flow_id: there is no flow {flow_id}", reason="FLOW_NOT_FOUND")
        exists = partial(self._flows.exists, customer_id)
        check.refuse(await check.missing_flows(wanted.wait_actions, exists, ("wait_actions",)))
        return {
            "tag_ids": await check_tags(connection, customer_id, wanted.tag_ids),
            "wait_actions": check.canonical(wanted.wait_actions),
        }


class QueuecallService:
    """Calls in a customer's queues, present and past."""

    def __init__(self, database: Database, joining: QueueJoining) -> None:
        self._database = database
        self._joining = joining

    async def page(self, customer_id: UUID, query: QueuecallQuery) -> list[Row[Any]]:
        wanted = live(queuecalls, customer_id)
        if query.queue_id is not None:
            wanted = wanted.where(queuecalls.c.queue_id == query.queue_id)
        if query.status is not None:
            wanted = wanted.where(queuecalls.c.status == query.status.value)
        if query.reference_id is not None:
            wanted = wanted.where(queuecalls.c.reference_id == query.reference_id)
        await self._joining.written()
        async with self._database.connect() as connection:
            return list((await connection.execute(page_statement(wanted, queuecalls, query))).all())

    async def get(self, customer_id: UUID, queuecall_id: UUID) -> Row[Any]:
        await self._joining.written()
        async with self._database.connect() as connection:
            return _found_call(await one(connection, queuecalls, customer_id, queuecall_id))

    async def kick(self, customer_id: UUID, queuecall_id: UUID) -> Row[Any]:
        """Take a caller out of the queue; harmless for one who has left it."""
        attendance = self._joining.attending(customer_id, queuecall_id)
        if attendance is not None:
            await self._joining.kick(attendance)
        return await self.get(customer_id, queuecall_id)

    async def kick_call(self, customer_id: UUID, call_id: UUID) -> Row[Any]:
        """The same by the caller's call."""
        attendance = self._joining.attending_call(customer_id, call_id)
        if attendance is not None:
            await self._joining.kick(attendance)
            return await self.get(customer_id, attendance.record.id)
        async with self._database.connect() as connection:
            return _found_call(await store.latest_of_reference(connection, customer_id, call_id))

    async def delete(self, customer_id: UUID, queuecall_id: UUID) -> Row[Any]:
        """Take a record out of sight; a caller who is still in the queue is kicked first."""
        await self.kick(customer_id, queuecall_id)
        now = utc_now()
        async with self._database.begin() as connection:
            values = {"tm_update": now, "tm_delete": now}
            row = _found_call(await change(connection, queuecalls, customer_id, queuecall_id, values))
            await Told("queuecall", QueuecallAnswer.model_validate).deleted(connection, row)
            return row


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise QueueNotFound("There is no such queue; GET /v1.0/queues lists yours.")
    return row


def _found_call(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise QueuecallNotFound("There is no such queuecall; GET /v1.0/queuecalls lists yours.")
    return row
