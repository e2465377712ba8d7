"""The tables of conferences and of the calls in them, and every query on them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import bulk, metadata
from ringline.storage.home import home_column, is_here
from ringline.storage.types import (
    Json,
    Timestamp,
    customer_column,
    id_column,
    paging_index,
    text_column,
    tm_columns,
)

_none = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")


def _reference(name: str) -> sa.Column[UUID]:
    """A UUID whose 'none' is the zero UUID, as the API shows it."""
    return sa.Column(name, sa.Uuid, nullable=False, server_default=_none)


def _json(name: str, empty: str) -> sa.Column[Any]:
    return sa.Column(name, Json, nullable=False, server_default=sa.text(f"'{empty}'::jsonb"))


conferences = sa.Table(
    "conferences",
    metadata,
    id_column(),
    customer_column(),
    text_column("type"),
    text_column("status"),
    text_column("name"),
    text_column("detail"),
    _json("data", "{}"),
    sa.Column("timeout", sa.Integer, nullable=False, server_default=sa.text("0")),
    _reference("pre_flow_id"),
    _reference("post_flow_id"),
    _json("pre_actions", "[]"),
    _json("post_actions", "[]"),
    text_column("beep"),
    sa.Column("alone_music", sa.Boolean, nullable=False, server_default=sa.false()),
    _reference("recording_id"),
    sa.Column("recording_ids", postgresql.ARRAY(sa.Uuid()), nullable=False, server_default=sa.text("'{}'")),
    sa.Column("tm_timeout", Timestamp, nullable=True),
    sa.Column("tm_end", Timestamp, nullable=True),
    *tm_columns(),
    # where those are who are in it, or were in it last: a bridge is one Asterisk's
    text_column("asterisk"),
)
paging_index(conferences)
sa.Index(
    "ix_conferences_timeout",
    conferences.c.tm_timeout,
    postgresql_where=sa.text("status = 'progressing' AND tm_timeout IS NOT NULL"),
)
sa.Index(
    "ix_conferences_recorded",
    conferences.c.id,
    postgresql_where=sa.text("recording_id <> '00000000-0000-0000-0000-000000000000'::uuid"),
)
sa.Index("ix_conferences_terminating", conferences.c.id, postgresql_where=sa.text("status = 'terminating'"))

conferencecalls = sa.Table(
    "conferencecalls",
    metadata,
    id_column(),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("conference_id", sa.Uuid, nullable=False),
    _reference("activeflow_id"),
    text_column("reference_type"),
    sa.Column("reference_id", sa.Uuid, nullable=False),
    text_column("status"),
    sa.Column("tm_progressing", Timestamp, nullable=True),
    sa.Column("tm_terminated", Timestamp, nullable=True),
    *tm_columns(),
    home_column(),
)
paging_index(conferencecalls)
sa.Index(
    "ix_conferencecalls_conference",
    conferencecalls.c.conference_id,
    conferencecalls.c.tm_create.desc(),
)
sa.Index(
    "ix_conferencecalls_unfinished",
    conferencecalls.c.id,
    postgresql_where=sa.text("status <> 'terminated'"),
)

PROGRESS = bulk.update(conferences, ("status", "tm_end", "tm_update"))
"""Stores what happens in a conference; the rows are those of ``Conference.row``."""
RECORDINGS = bulk.update(conferences, ("recording_id", "recording_ids"))
"""Stores what was recorded of a conference; the rows are those of ``Conference.recordings_row``."""
CONFERENCECALL = bulk.upsert(
    conferencecalls,
    [column.name for column in conferencecalls.c if column.name != "asterisk"],
    ("status", "tm_progressing", "tm_terminated", "tm_update"),
)
"""Stores conferencecalls as they stand; the rows are those of ``Conferencecall.row``."""

_ending = sa.case(
    (conferences.c.status == "terminated", sa.literal("terminated")), else_=sa.literal("terminating")
)


async def gather_here(
    connection: AsyncConnection, customer_id: UUID, conference_id: UUID, asterisk: str
) -> bool:
    """Have a conference take place at this Asterisk; ``False`` where somebody is in it at another one."""
    somebody = sa.exists().where(
        conferencecalls.c.conference_id == conference_id, conferencecalls.c.status != "terminated"
    )
    statement = (
        sa.update(conferences)
        .where(
            conferences.c.id == conference_id,
            conferences.c.customer_id == customer_id,
            sa.or_(conferences.c.asterisk.in_(("", asterisk)), ~somebody),
        )
        .values(asterisk=asterisk)
    )
    return bool((await connection.execute(statement)).rowcount)


async def insert(connection: AsyncConnection, row: dict[str, Any]) -> sa.Row[Any] | None:
    """Store a new conference; ``None`` where its id is there already."""
    statement = postgresql.insert(conferences).values(**row).on_conflict_do_nothing().returning(conferences)
    created: sa.Row[Any] | None = (await connection.execute(statement)).first()
    return created


async def remove(
    connection: AsyncConnection, customer_id: UUID, conference_id: UUID, now: datetime
) -> sa.Row[Any] | None:
    """Take a conference out of sight, and have it end; ``None`` where the customer has no such conference."""
    statement = (
        sa.update(conferences)
        .where(
            conferences.c.id == conference_id,
            conferences.c.customer_id == customer_id,
            conferences.c.tm_delete.is_(None),
        )
        .values(status=_ending, tm_delete=now, tm_update=now)
        .returning(conferences)
    )
    row: sa.Row[Any] | None = (await connection.execute(statement)).first()
    return row


async def expire(connection: AsyncConnection, now: datetime) -> list[sa.Row[Any]]:
    """Have conferences end whose time is over; those that were."""
    statement = (
        sa.update(conferences)
        .where(conferences.c.status == "progressing", conferences.c.tm_timeout <= now)
        .values(status="terminating", tm_update=now)
        .returning(conferences)
    )
    return list(await connection.execute(statement))


async def next_timeout(connection: AsyncConnection) -> datetime | None:
    """When the next conference's time is over."""
    statement = sa.select(sa.func.min(conferences.c.tm_timeout)).where(
        conferences.c.status == "progressing", conferences.c.tm_timeout.is_not(None)
    )
    moment: datetime | None = (await connection.execute(statement)).scalar()
    return moment


async def unfinished(connection: AsyncConnection) -> tuple[list[sa.Row[Any]], list[sa.Row[Any]]]:
    """What a controller left: calls that are in conferences, and those conferences and all that are ending."""
    calls = list(
        await connection.execute(
            sa.select(conferencecalls).where(
                conferencecalls.c.status != "terminated", is_here(conferencecalls)
            )
        )
    )
    chosen = {row.conference_id for row in calls}
    rooms = list(
        await connection.execute(
            sa.select(conferences).where(
                sa.or_(conferences.c.id.in_(chosen), conferences.c.status == "terminating")
            )
        )
    )
    return calls, rooms


async def recorded(connection: AsyncConnection) -> list[sa.Row[Any]]:
    """Conferences of which something is being recorded, as their rows say."""
    return list(
        await connection.execute(sa.select(conferences).where(conferences.c.recording_id != UUID(int=0)))
    )


async def conferencecall(
    connection: AsyncConnection, customer_id: UUID, conferencecall_id: UUID
) -> sa.Row[Any] | None:
    """One of the customer's conferencecalls."""
    statement = sa.select(conferencecalls).where(
        conferencecalls.c.id == conferencecall_id,
        conferencecalls.c.customer_id == customer_id,
        conferencecalls.c.tm_delete.is_(None),
    )
    row: sa.Row[Any] | None = (await connection.execute(statement)).first()
    return row


def listing(table: sa.Table, customer_id: UUID, filters: dict[str, Any]) -> sa.Select[Any]:
    """The customer's rows of one of the two tables, to be paged by the caller; ``filters`` by column."""
    statement = sa.select(table).where(table.c.customer_id == customer_id, table.c.tm_delete.is_(None))
    for name, value in filters.items():
        statement = statement.where(table.c[name] == value)
    return statement
