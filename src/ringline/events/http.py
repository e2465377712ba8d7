"""The routes of events: what happened, newest first or from one on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import Field

from ringline.errors import InvalidArgument, NotFound
from ringline.events import reader
from ringline.events.catalogue import BY_RESOURCE, TYPES
from ringline.events.envelope import envelope
from ringline.events.store import events
from ringline.http import Page, PageQuery, Request, Resource, ResponseModel, Route, page_of, page_statement
from ringline.storage import Database


class EventNotFound(NotFound):
    """404: no such event."""

    default_reason = "EVENT_NOT_FOUND"


class EventView(ResponseModel):
    """Something that happened to a resource."""

    id: UUID = Field(
        description="The same in every attempt to tell of it: who has seen it has dealt with it."
    )
    type: str = Field(description="What happened: " + ", ".join(f"`{name}`" for name in TYPES) + ".")
    timestamp: str = Field(description="When it happened: ISO 8601, UTC, microseconds.")
    customer_id: UUID
    resource: str = Field(
        description="The kind of what it happened to: " + ", ".join(f"`{name}`" for name in BY_RESOURCE) + "."
    )
    resource_id: UUID
    activeflow_id: UUID = Field(description="The run of a flow that it belongs to; the zero UUID: none.")
    sequence: int = Field(description="Counts the events of the resource from 1, without a gap.")
    data: dict[str, Any] = Field(description="The resource as its `GET` showed it at that moment.")


class EventQuery(PageQuery):
    """Which events to list."""

    type: str = Field(
        default="", max_length=64, description="Only events of this type, such as `call_hangup`."
    )
    resource: str = Field(default="", max_length=64, description="Only events of this kind of resource.")
    resource_id: UUID | None = Field(default=None, description="Only events of this resource.")
    after: UUID | None = Field(
        default=None,
        description="The id of an event: those published after it, oldest first, to go on where one has stopped. In"
        " place of `page_token`: give the id of the last event of a page. Once it is no longer kept this is a 404.",
    )


_EVENTS = Resource("/v1.0/events", "event_id", EventView, EventNotFound, "events")


def event_routes(database: Database, keep_days: float) -> list[Route]:
    """Read what happened."""

    async def page(request: Request[None, EventQuery]) -> Page[EventView]:
        query = request.query
        statement = sa.select(events).where(
            events.c.customer_id == request.customer_id, events.c.published.is_not(None)
        )
        for name in ("type", "resource", "resource_id"):
            if wanted := getattr(query, name):
                statement = statement.where(events.c[name] == wanted)
        async with database.connect() as connection:
            if query.after is None:
                rows = (await connection.execute(page_statement(statement, events, query))).all()
                return page_of(rows, query, _view)
            if query.page_token is not None:
                raise InvalidArgument(
                    "Give either `after` or `page_token`: they lead in opposite directions."
                )
            last = await reader.by_id(connection, request.customer_id, query.after)
            if last is None:
                raise EventNotFound(
                    f"There is no event {query.after}, or it is older than {keep_days:g} days and kept no longer:"
                    " begin without `after`."
                )
            statement = statement.where(events.c.published > last.published)
            rows = (
                await connection.execute(statement.order_by(events.c.published).limit(query.page_size))
            ).all()
        return Page[EventView](result=[_view(row) for row in rows], next_page_token="")

    async def get(request: Request) -> EventView:
        event_id = request.path["event_id"]
        async with database.connect() as connection:
            found = await reader.by_id(connection, request.customer_id, event_id)
        if found is None:
            raise EventNotFound(f"There is no event {event_id}, or it is no longer kept.")
        return EventView.model_validate(envelope(found))

    return [
        _EVENTS.list(
            page,
            "List events",
            EventQuery,
            errors=(EventNotFound,),
            description=f"What happened, newest first; with `after` oldest first. Kept for {keep_days:g} days.",
        ),
        _EVENTS.get(get, "Read an event"),
    ]


def _view(row: Any) -> EventView:
    return EventView.model_validate(envelope(reader.build(row)))
