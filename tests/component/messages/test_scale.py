"""Lists find their rows by an index, in the order in which they are shown (``bench.scale`` measures a million)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from bench import scale

from ringline.http import page_statement
from ringline.messages import store
from ringline.messages.models import MessageQuery, OptoutQuery
from ringline.messages.service import listing
from ringline.storage import Database
from ringline.storage.rows import live

MESSAGES = 6000
TOKENS = ["", "2100-01-01T00:00:00Z", "2100-01-01T00:00:00.000001Z_7d3bd4e9-1f3f-4c6b-a2a0-0d0b2b1ab001"]


@pytest.fixture(scope="module")
async def filled(database_url: str) -> AsyncIterator[tuple[Database, UUID]]:
    """A database with so many messages that reading all of them would be noticed."""
    database, big = Database(database_url, statement_timeout=120.0), uuid4()
    await scale.fill(database, big, MESSAGES, 1000)
    yield database, big
    await database.close()


async def read(filled: tuple[Database, UUID], statement: sa.Select[Any]) -> str:
    plan = await scale.plan(filled[0], statement, sort=False)
    assert "Seq Scan" not in plan, plan
    assert "Sort" not in plan, plan
    # nor is an index walked that has hardly anything to do with what is asked for
    assert sum(int(rows) for rows in re.findall(r"Rows Removed by Filter: (\d+)", plan)) < MESSAGES / 20, plan
    return plan


@pytest.mark.parametrize("token", TOKENS, ids=["first page", "by time", "by time and id"])
@pytest.mark.parametrize("name", [name for name in scale.FILTERS if name != "inbound, failed"])
async def test_a_page_of_messages_is_read_in_order(
    filled: tuple[Database, UUID], name: str, token: str
) -> None:
    query = MessageQuery.model_validate({"page_token": token, "page_size": 20, **scale.FILTERS[name]})
    plan = await read(filled, listing(filled[1], query))
    assert "Index Scan" in plan
    whole = await scale.plan(filled[0], store.with_targets(listing(filled[1], query)))
    assert "Seq Scan" not in whole, whole
    if token:
        # the index is entered where the page begins
        assert "tm_create <" in plan.split("Index Cond")[1], plan


@pytest.mark.parametrize("wanted", [{}, {"number": "+12125550007"}, {"handset": "+491700000007"}], ids=str)
async def test_a_page_of_optouts_is_read_in_order(
    filled: tuple[Database, UUID], wanted: dict[str, str]
) -> None:
    statement = live(store.optouts, filled[1])
    for column, value in wanted.items():
        statement = statement.where(store.optouts.c[column] == value)
    assert "Index Scan" in await read(filled, page_statement(statement, store.optouts, OptoutQuery()))


async def test_what_is_to_be_sent_is_found_among_all_others(filled: tuple[Database, UUID]) -> None:
    statement = sa.select(store.targets.c.id).where(store.targets.c.step != "")
    plan = await read(filled, statement.order_by(store.targets.c.tm_due).limit(10))
    assert "ix_message_targets_due" in plan
    pending = sa.select(store.messages.c.id).where(store.messages.c.flow_state == "pending")
    plan = await read(filled, pending.order_by(store.messages.c.tm_create).limit(10))
    assert "ix_messages_flow" in plan
