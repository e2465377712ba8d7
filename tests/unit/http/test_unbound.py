"""Handlers that forget whose rows they ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs
from tests.unit.http.conftest import CUSTOMER, Serve

from ringline.http import Request, ResponseModel, Route, StreamReply
from ringline.numbers.tables import numbers
from ringline.storage import tenancy

FORGOTTEN = sa.select(numbers.c.number)


class Nothing(ResponseModel):
    """An answer."""


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    """Whose server has no tables: whatever is asked of it fails in another way than by being refused."""
    engine = sa.create_engine("sqlite://")
    tenancy.watch(engine)
    yield engine
    engine.dispose()


async def test_a_request_that_forgets_its_customer_is_answered_500(serve: Serve, engine: sa.Engine) -> None:
    async def work(_: Request) -> Nothing:
        with engine.connect() as connection:
            connection.execute(FORGOTTEN)
        return Nothing()

    client = await serve(
        Route(method="GET", path="/v1.0/work", handler=work, summary="Work", response=Nothing)
    )
    with capture_logs() as said:
        status, answer = await client.ask("GET", "/v1.0/work", headers={"Authorization": "Bearer admin"})
    assert status == 500
    request_id = answer["error"]["request_id"]
    assert request_id.startswith("req_")
    assert request_id in answer["error"]["message"]
    assert "numbers" not in str(answer), "what was asked is nobody's business"
    lines = {line["event"]: line for line in said}
    assert lines["statement_not_bound"]["request_id"] == request_id
    assert lines["statement_not_bound"]["customer_id"] == str(CUSTOMER)
    assert lines["request_failed"]["request_id"] == request_id


async def test_what_is_made_while_it_is_sent_is_the_requests_too(serve: Serve, engine: sa.Engine) -> None:
    reached = []

    async def lines() -> AsyncIterator[bytes]:
        yield b"first\n"
        reached.append("first")
        with engine.connect() as connection:
            connection.execute(FORGOTTEN)
        reached.append("second")

    async def work(_: Request) -> StreamReply:
        return StreamReply(lines(), "text/plain", "lines.txt")

    route = Route(
        method="GET",
        path="/v1.0/work",
        handler=work,
        summary="Work",
        response=bytes,
        produces=("text/plain",),
    )
    client = await serve(route)
    with capture_logs() as said:
        headers = {"Authorization": "Bearer admin"}
        async with client.session.get(f"{client.url}/v1.0/work", headers=headers) as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await response.read()
    assert reached == ["first"]
    assert [line["event"] for line in said if line["log_level"] == "error"] == [
        "statement_not_bound",
        "stream_failed",
    ]
