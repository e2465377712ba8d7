"""The tables of calls that wait for their turn, and every query on them.

A request whose calls go beyond its customer's pace is one batch: what all of them have in common. The calls have rows
of their own (``calls.store``) from the beginning; here stands only that they wait, and in which order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.calls.store import calls
from ringline.calls.waiting import Waiting
from ringline.storage import bulk, metadata

call_batches = sa.Table(
    "call_batches",
    metadata,
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("customer_id", sa.Uuid(), nullable=False),
    # the order of batches
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
    # the controller that places its calls
    sa.Column("owner", sa.Text, nullable=False, server_default=""),
    # as the request gave it: what is shown is decided when the call is placed
    sa.Column("source", postgresql.JSONB, nullable=False),
    sa.Column("anonymous", sa.Text, nullable=False),
    sa.Column("flow_id", sa.Uuid(), nullable=False),
    sa.Column("actions", postgresql.JSONB, nullable=False),
    sa.Column("variables", postgresql.JSONB, nullable=False),
    sa.Column("webhook_uri", sa.Text, nullable=False, server_default=""),
    sa.Column("webhook_method", sa.Text, nullable=False, server_default=""),
    sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
)

waiting_calls = sa.Table(
    "waiting_calls",
    metadata,
    # the call's
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("batch_id", sa.Uuid(), sa.ForeignKey("call_batches.id"), nullable=False),
    sa.Column("index", sa.Integer, nullable=False),
    sa.Index("ix_waiting_calls_batch_id", "batch_id"),
)

_insert = bulk.insert(waiting_calls, ("id", "batch_id", "index"))


async def insert(connection: AsyncConnection, batch: dict[str, Any], waiting: list[dict[str, Any]]) -> None:
    """Store a batch and its calls' places; the rows of the calls are the caller's to insert."""
    await connection.execute(sa.insert(call_batches).values(batch))
    await bulk.run(connection, _insert, waiting)


async def load(connection: AsyncConnection, owner: str) -> list[sa.Row[Any]]:
    """Every waiting call of an owner in its order: the columns of its row, and ``batch_id``."""
    statement = (
        sa.select(calls, waiting_calls.c.batch_id)
        .join(waiting_calls, waiting_calls.c.id == calls.c.id)
        .join(call_batches, call_batches.c.id == waiting_calls.c.batch_id)
        .where(call_batches.c.owner == owner)
        .order_by(call_batches.c.number, waiting_calls.c.index)
    )
    return list(await connection.execute(statement))


async def batches(connection: AsyncConnection, owner: str) -> list[sa.Row[Any]]:
    """The batches of an owner."""
    return list(await connection.execute(sa.select(call_batches).where(call_batches.c.owner == owner)))


_claim = sa.text(
    "UPDATE calls SET tm_dialing = given.claiming, tm_update = CASE WHEN :kept THEN NULL ELSE given.claiming END"
    " FROM jsonb_to_recordset(CAST(:given AS jsonb))"
    " AS given (id uuid, claimed timestamptz, claiming timestamptz)"
    " WHERE calls.id = given.id AND calls.status = 'dialing'"
    " AND (calls.tm_dialing IS NOT DISTINCT FROM given.claimed OR calls.tm_dialing = given.claiming)"
    " RETURNING calls.id"
)


async def claim(connection: AsyncConnection, waiting: Iterable[Waiting], *, kept: bool) -> set[UUID]:
    """It is the turn of these calls: their rows have ``tm_dialing`` from now on. The ids of those that had not moved.

    ``kept``: whether it can be kept elsewhere that they are placed. Where it cannot, ``tm_update`` tells.
    """
    given = [{"id": one.call.id, "claimed": one.claimed, "claiming": one.claiming} for one in waiting]
    found = await connection.scalars(_claim, {"given": orjson.dumps(given).decode(), "kept": kept})
    return {UUID(str(one)) for one in found}


async def forget(connection: AsyncConnection, call_ids: Iterable[UUID], batch_ids: Iterable[UUID]) -> None:
    """These calls wait no more; of these batches nothing is left."""
    await connection.execute(sa.delete(waiting_calls).where(waiting_calls.c.id.in_(list(call_ids))))
    if gone := list(batch_ids):
        await connection.execute(
            sa.delete(call_batches).where(
                call_batches.c.id.in_(gone),
                ~sa.exists().where(waiting_calls.c.batch_id == call_batches.c.id),
            )
        )
