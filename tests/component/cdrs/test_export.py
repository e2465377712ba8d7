"""Call detail records: filters, pages, and files that hold all of them."""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from ringline.cdrs import store
from ringline.cdrs.http import cdr_routes
from ringline.cdrs.models import CdrAnswer, CdrExport, CdrFilter
from ringline.cdrs.tables import cdrs
from ringline.errors import ResourceExhausted
from ringline.http import StreamReply
from ringline.storage import Database

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


async def fill(database: Database, count: int, **more: Any) -> UUID:
    customer_id = uuid4()
    rows = [
        {
            "id": uuid4(),
            "customer_id": customer_id,
            "direction": "incoming" if index % 3 else "outgoing",
            "source_type": "tel",
            "source": "+15551234567",
            "destination": f"+1555{index:07}",
            "hangup_reason": "normal",
            "billsec": index,
            "cost_type": "call_pstn_outgoing",
            # several of one moment
            "tm_create": NOW - timedelta(seconds=index // 4),
            "tm_hangup": NOW,
            **more,
        }
        for index in range(count)
    ]
    async with database.begin() as connection:
        if rows:
            await connection.execute(sa.insert(cdrs), rows)
    return customer_id


async def exported(database: Database, customer_id: UUID, kind: str, piece: int = 7, **wanted: Any) -> str:
    chunks = [
        chunk
        async for chunk in store.lines(
            database, customer_id, CdrFilter.model_validate(wanted), kind, piece=piece
        )
    ]
    return b"".join(chunks).decode()


@pytest.mark.parametrize("count", [0, 1, 7, 14, 50])
async def test_every_record_once_in_order(database: Database, count: int) -> None:
    customer_id = await fill(database, count)
    text = await exported(database, customer_id, "jsonl")
    lines = [json.loads(line) for line in text.splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == count
    moments = [(line["tm_create"], line["id"]) for line in lines]
    assert moments == sorted(moments, reverse=True)
    assert all(list(line) == list(CdrAnswer.model_fields) for line in lines)
    table = list(
        csv.DictReader(io.StringIO(store.header().decode() + await exported(database, customer_id, "csv")))
    )
    assert [row["id"] for row in table] == [line["id"] for line in lines]
    assert all(row["source"] == "+15551234567" for row in table), "numbers stay what they are"
    assert all(row["tm_progressing"] == "" and row["tm_create"].endswith("Z") for row in table)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1+1", "'\t=1+1"),
        ("\r=1+1", "'\r=1+1"),
        ('a,b\n"c"', 'a,b\n"c"'),
        ("O'Neil; Zoë", "O'Neil; Zoë"),
        ("+4930", "+4930"),
    ],
)
async def test_no_cell_is_a_formula(database: Database, text: str, cell: str) -> None:
    customer_id = await fill(database, 1, source_name=text)
    file = io.StringIO(store.header().decode() + await exported(database, customer_id, "csv"), newline="")
    (row,) = csv.DictReader(file)
    assert row["source_name"] == cell
    (line,) = (json.loads(one) for one in (await exported(database, customer_id, "jsonl")).splitlines())
    assert line["source_name"] == text


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 50),
        ({"number": "+15551234567"}, 50),
        ({"number": "+15550000003"}, 1),
        ({"number": "' OR 1=1 --"}, 0),
        ({"direction": "outgoing"}, 17),
        ({"min_duration": 45}, 5),
        ({"answered": "false"}, 1),
        ({"tm_from": "2026-11-22T11:59:58Z"}, 12),
        ({"tm_to": "2026-11-22T11:59:58Z"}, 38),
        ({"tm_from": "2026-11-22 11:59:58", "tm_to": "2026-11-22T11:59:59Z"}, 4),
        ({"cost_type": "call_vn"}, 0),
        ({"activeflow_id": str(uuid4())}, 0),
    ],
)
async def test_filters(database: Database, wanted: dict[str, Any], count: int) -> None:
    customer_id = await fill(database, 50)
    await fill(database, 3)
    assert len((await exported(database, customer_id, "jsonl", **wanted)).splitlines()) == count
    async with database.connect() as connection:
        rows = (await connection.execute(store.listing(customer_id, CdrFilter.model_validate(wanted)))).all()
    assert len(rows) == count


async def test_two_exports_of_a_customer_at_once_and_no_more(database: Database) -> None:
    customer_id = await fill(database, 5)
    (export,) = (route.handler for route in cdr_routes(database) if route.path == "/v1.0/cdrs/export")
    asked: Any = SimpleNamespace(customer_id=customer_id, query=CdrExport(format="jsonl"))
    answers = await asyncio.gather(*(export(asked) for _ in range(5)), return_exceptions=True)
    begun = [one for one in answers if isinstance(one, StreamReply)]
    assert (len(begun), [one for one in answers if isinstance(one, ResourceExhausted)]) == (2, answers[2:])
    read, never = begun
    assert len(b"".join([chunk async for chunk in read.chunks]).splitlines()) == 5
    first = await export(asked)
    # whose client went before the first chunk
    del begun, never, answers
    gc.collect()
    second = await export(asked)
    with pytest.raises(ResourceExhausted):
        await export(asked)
    await first.chunks.aclose()
    await second.chunks.aclose()
