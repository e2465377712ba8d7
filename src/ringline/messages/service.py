"""What may be done with texts."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4, uuid5

from sqlalchemy import Row, or_
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.errors import FailedPrecondition, NotFound
from ringline.http import Page, page_of, page_statement, utc_now
from ringline.messages import store
from ringline.messages.composing import Composer
from ringline.messages.models import (
    MessageAnswer,
    MessageCreate,
    MessageQuery,
    OptoutQuery,
    view,
)
from ringline.messages.records import Draft
from ringline.messages.writing import Writer
from ringline.storage import Database
from ringline.storage.rows import live, one


class MessageNotFound(NotFound):
    """404: no such message."""

    default_reason = "MESSAGE_NOT_FOUND"


class MessageService:
    """A customer's texts."""

    def __init__(self, database: Database, composer: Composer, writer: Writer) -> None:
        self._database = database
        self._composer = composer
        self._writer = writer

    async def create(self, customer_id: UUID, wanted: MessageCreate, seed: UUID | None) -> MessageAnswer:
        """Store a text to send; it leaves right after. With a ``seed`` that was used it is the one of then.

        Raises what ``Composer.draft`` does.
        """
        message_id = uuid4() if seed is None else uuid5(seed, "message")
        if seed is not None:
            async with self._database.connect() as connection:
                row = await one(connection, store.messages, customer_id, message_id)
                if row is not None:
                    return await self._view(connection, row)
        draft = self._composer.draft(
            customer_id,
            message_id,
            source=wanted.source,
            destinations=wanted.destinations,
            text=wanted.text,
            media=wanted.media,
            kind=wanted.type,
        )
        await self.store(draft)
        return await self.get(customer_id, message_id)

    async def store(self, draft: Draft) -> None:
        """Store a text; one that is there already is left as it is."""
        async with self._database.begin() as connection:
            stored = await self._writer.send(connection, draft)
        if stored:
            self._writer.committed()

    async def get(self, customer_id: UUID, message_id: UUID) -> MessageAnswer:
        async with self._database.connect() as connection:
            row = await one(connection, store.messages, customer_id, message_id)
            return await self._view(connection, _found(row))

    async def page(self, customer_id: UUID, query: MessageQuery) -> Page[MessageAnswer]:
        statement = store.with_targets(listing(customer_id, query))
        async with self._database.connect() as connection:
            rows = list((await connection.execute(statement)).all())
        return page_of(rows, query, lambda row: MessageAnswer.model_validate(row._asdict()))

    async def delete(self, customer_id: UUID, message_id: UUID) -> MessageAnswer:
        """Raises ``FailedPrecondition`` for one whose fate is open."""
        async with self._database.begin() as connection:
            row = await store.delete(connection, customer_id, message_id, utc_now())
            if row is not None:
                return await self._view(connection, row)
            _found(await one(connection, store.messages, customer_id, message_id))
        raise FailedPrecondition(
            "The message is on its way to the provider; it can be deleted as soon as that has it.",
            reason="MESSAGE_STATE_INVALID",
        )

    async def optouts(self, customer_id: UUID, query: OptoutQuery) -> list[Row[Any]]:
        """Handsets that want no texts, newest first."""
        statement = live(store.optouts, customer_id)
        for name in ("number", "handset"):
            if (wanted := getattr(query, name)) is not None:
                statement = statement.where(store.optouts.c[name] == wanted)
        async with self._database.connect() as connection:
            return list((await connection.execute(page_statement(statement, store.optouts, query))).all())

    async def _view(self, connection: AsyncConnection, row: Row[Any]) -> MessageAnswer:
        return view(row, (await store.targets_of(connection, [row.id]))[row.id])


def listing(customer_id: UUID, query: MessageQuery) -> Any:
    """The statement of a page. What arrives is delivered by that: other states are of what was sent."""
    messages, targets = store.messages, store.targets
    direction = query.direction
    if query.status not in (None, "delivered"):
        if direction == "inbound":
            return store.listing(customer_id).where(messages.c.id.is_(None)).limit(0)
        direction = "outbound"
    if query.destination is None:
        statement = store.listing(customer_id)
        if query.status is not None:
            statement = statement.where(messages.c.status == query.status)
        if query.source is not None:
            statement = statement.where(messages.c.source_number == query.source)
        if direction is not None and query.status in (None, "delivered"):
            statement = statement.where(messages.c.direction == direction)
        return page_statement(statement, messages, query)
    statement = store.towards(customer_id, query.destination)
    if query.status is not None:
        statement = statement.where(targets.c.status == query.status)
    if query.source is not None:
        statement = statement.where(targets.c.source_number == query.source)
    if direction is not None:
        statement = statement.where(messages.c.direction == direction)
    tm, row_id = targets.c.tm_create, targets.c.message_id
    if query.page_token is not None:
        older = tm < query.page_token.tm
        if query.page_token.id is None:
            statement = statement.where(older)
        else:
            statement = statement.where(tm <= query.page_token.tm, or_(older, row_id < query.page_token.id))
    return statement.order_by(tm.desc(), row_id.desc()).limit(query.page_size + 1)


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise MessageNotFound("There is no such message; GET /v1.0/messages lists yours.")
    return row
