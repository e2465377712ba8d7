"""Which statements belong to a request: its own, and not those of what it has woken up."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from ringline.numbers.tables import numbers
from ringline.storage import tenancy
from ringline.storage.tenancy import UnboundStatement

OWN = uuid4()
FORGOTTEN = sa.select(numbers.c.number)


class Server:
    """An engine without PostgreSQL behind it: what it lets through."""

    def __init__(self, *, refuse: bool = True) -> None:
        self.engine = sa.create_engine("sqlite://")
        tenancy.watch(self.engine, refuse=refuse)

    def ask(self) -> bool:
        """Whether a statement that forgot its customer gets there."""
        with self.engine.connect() as connection:
            try:
                connection.execute(FORGOTTEN)
            except UnboundStatement:
                return False
            except sa.exc.OperationalError as error:
                # there is no such table at the server: it was asked
                assert "no such table" in str(error)
        return True


@pytest.fixture
def server() -> Iterator[Server]:
    """One that refuses."""
    made = Server()
    yield made
    made.engine.dispose()


async def test_a_requests_own_statement_is_refused_counted_and_said(server: Server) -> None:
    before = tenancy.unbound._value.get()
    with capture_logs() as said, tenancy.bound(OWN, "req_1"):
        assert not server.ask()
    assert tenancy.unbound._value.get() == before + 1
    (line,) = said
    assert (line["event"], line["log_level"], line["refused"]) == ("statement_not_bound", "error", True)
    assert (line["customer_id"], line["request_id"]) == (str(OWN), "req_1")
    assert "FROM numbers" in line["statement"]
    assert server.ask(), "not of a request any more"


async def test_an_operator_may_have_it_reported_only() -> None:
    server = Server(refuse=False)
    before = tenancy.unbound._value.get()
    with capture_logs() as said, tenancy.bound(OWN):
        assert server.ask()
    assert tenancy.unbound._value.get() == before + 1
    assert [(line["event"], line["refused"]) for line in said] == [("statement_not_bound", False)]
    server.engine.dispose()


async def test_a_worker_that_a_request_wakes_up_is_not_the_customers(server: Server) -> None:
    """Nor is anything that it starts, while the request runs and behind it."""
    wanted, results = asyncio.Event(), asyncio.Queue[bool]()

    async def worker() -> None:
        while True:
            await wanted.wait()
            wanted.clear()
            results.put_nowait(server.ask())
            results.put_nowait(await asyncio.create_task(ask()))

    async def ask() -> bool:
        return server.ask()

    async def request() -> asyncio.Task[None]:
        with tenancy.bound(OWN):
            task = asyncio.create_task(worker())
            wanted.set()
            assert await results.get()
            assert await results.get()
            assert not server.ask(), "the request itself is the customer's all the while"
        return task

    task = await asyncio.create_task(request())
    with tenancy.bound(uuid4()):
        wanted.set()
        assert await results.get()
        assert await results.get()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_timer_that_a_request_arms_is_not_the_customers(server: Server) -> None:
    loop, fired = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
    with tenancy.bound(OWN):
        loop.call_later(0.01, lambda: fired.set_result(server.ask()))
        assert await fired


async def test_a_thread_with_the_requests_context_is_not_the_request(server: Server) -> None:
    with ThreadPoolExecutor(1) as pool, tenancy.bound(OWN):
        context = contextvars.copy_context()
        assert pool.submit(lambda: context.run(Server().ask)).result()


async def test_requests_side_by_side_are_judged_each_by_itself(server: Server) -> None:
    turn = asyncio.Barrier(3)

    async def request(customer_id: UUID | None) -> bool:
        with tenancy.bound(customer_id):
            await turn.wait()
            first = server.ask()
            await turn.wait()
            assert server.ask() is first
            return first

    assert await asyncio.gather(request(OWN), request(None), request(uuid4())) == [False, True, False]


async def test_what_lives_on_keeps_no_request_in_memory() -> None:
    asleep = asyncio.Event()

    async def request() -> asyncio.Task[bool]:
        with tenancy.bound(OWN):
            return asyncio.create_task(asleep.wait())

    ended = asyncio.create_task(request())
    lasting = await ended
    gone = weakref.ref(ended)
    del ended
    await asyncio.sleep(0)
    gc.collect()
    assert gone() is None
    asleep.set()
    await lasting


async def test_across_lasts_to_the_end_of_its_block(server: Server) -> None:
    with tenancy.bound(OWN):
        with tenancy.across():
            assert server.ask()
        assert not server.ask()
