"""Events on WebSockets: every one, in order, once, whichever process serves and whatever breaks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import sqlalchemy as sa

from ringline.errors import PermissionDenied, Unauthenticated
from ringline.events import Event, emit
from ringline.events.publisher import Publisher
from ringline.events.sockets import Bounds, Sockets, reading, socket_routes
from ringline.events.sockets.feed import PAGE
from ringline.http import Credential, Permission, Principal, Readiness, Server, create_app
from ringline.listening.stream import Refused, Stream
from ringline.settings import Settings
from ringline.storage import Database

ZERO = str(UUID(int=0))
PATIENCE = 60.0


@dataclass
class Credentials:
    """An authenticator that knows who the test says."""

    known: dict[str, Principal | Exception] = field(default_factory=dict)

    def authenticate(self, credential: Credential, *, frozen: bool = False) -> Principal:
        found = self.known.get(credential.token, Unauthenticated("unknown", reason="INVALID_CREDENTIALS"))
        if isinstance(found, Exception):
            raise found
        return found


class Process:
    """What one controller has of this, on a port of its own."""

    def __init__(self, url: str, credentials: Credentials, port: int = 0, **bounds: Any) -> None:
        self.database = Database(url, pool_size=5)
        per_customer = bounds.pop("per_customer", 500)
        self.sockets = Sockets(self.database, per_customer=per_customer, bounds=Bounds(**bounds))
        app = create_app(
            socket_routes(self.sockets, "http://127.0.0.1:8080"),
            settings=Settings(),
            authenticator=credentials,
            readiness=Readiness(),
        )
        app.on_shutdown.append(lambda _: self.sockets.close())
        self._server = Server(app, "127.0.0.1", port)

    async def start(self) -> Process:
        await self._server.start()
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/v1.0/ws"

    async def close(self) -> None:
        await self._server.close()
        await self.sockets.close()
        await self.database.close()


class House:
    """A database in which events are published, and processes that tell of them."""

    def __init__(self, url: str, database: Database, session: aiohttp.ClientSession) -> None:
        self.credentials = Credentials()
        self.database = database
        self.session = session
        self._url = url
        self._processes: list[Process] = []

    async def process(self, **bounds: Any) -> Process:
        process = await Process(self._url, self.credentials, **bounds).start()
        self._processes.append(process)
        return process

    def customer(
        self, permission: int = Permission.CUSTOMER_ADMIN, agent_id: UUID | None = None
    ) -> tuple[UUID, str]:
        """A customer and a credential of it."""
        customer_id, token = uuid4(), f"vb_{uuid4().hex}"
        self.credentials.known[token] = Principal(customer_id, agent_id, uuid4(), permission)
        return customer_id, token

    async def announce(self, customer_id: UUID, *resource_ids: UUID, **data: Any) -> list[str]:
        """One event of each of these calls, in one transaction; their ids."""
        events = [
            Event(
                type="call_updated",
                customer_id=customer_id,
                resource=data.get("resource", "call"),
                resource_id=resource_id,
                data=data,
                tm_create=datetime.now(UTC),
            )
            for resource_id in resource_ids
        ]
        async with self.database.begin() as connection:
            await emit(connection, events)
        return [str(event.id) for event in events]

    async def order(self, customer_id: UUID) -> list[str]:
        """The ids of a customer's events in the order in which they were published, once all are."""
        while True:
            async with self.database.connect() as connection:
                rows = (
                    await connection.execute(
                        sa.text(
                            "SELECT id, published FROM events WHERE customer_id = :id ORDER BY published"
                        ),
                        {"id": customer_id},
                    )
                ).all()
            if all(row.published is not None for row in rows):
                return [str(row.id) for row in rows]
            await asyncio.sleep(0.05)

    async def connect(self, process: Process, token: str, **more: Any) -> Reader:
        return Reader(await self.session.ws_connect(process.url, params={"accesskey": token}, **more))

    async def close(self) -> None:
        for process in self._processes:
            await process.close()


class Reader:
    """A client."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.ids: list[str] = []

    async def frame(self) -> dict[str, Any]:
        message = await self.ws.receive(PATIENCE)
        assert message.type is aiohttp.WSMsgType.TEXT, (message, self.ws.close_code)
        found: dict[str, Any] = json.loads(message.data)
        return found

    async def told(self, kind: str) -> dict[str, Any]:
        """The next frame of this type; events before it are noted."""
        while True:
            frame = await self.frame()
            if frame["type"] == kind:
                return frame
            self._note(frame)

    async def subscribe(self, *topics: str, after: str | None = None) -> dict[str, Any]:
        more = {} if after is None else {"after": after}
        await self.ws.send_json({"type": "subscribe", "topics": topics, **more})
        return await self.told("subscribed")

    async def events(self, count: int) -> list[str]:
        """The ids of all events so far, as soon as there are so many."""
        while len(self.ids) < count:
            self._note(await self.frame())
        return self.ids

    async def farewell(self) -> tuple[int, str]:
        """The close code, once the server has closed, and the reason."""
        while True:
            message = await self.ws.receive(PATIENCE)
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
                return self.ws.close_code or 0, str(message.extra or "")
            if message.type is aiohttp.WSMsgType.TEXT:
                self._note(json.loads(message.data))

    def _note(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "call_updated":
            self.ids.append(frame["id"])


@pytest.fixture(scope="module")
async def published(database_url: str) -> AsyncIterator[tuple[str, Database]]:
    """A database in which somebody publishes; tests keep apart by customers of their own."""
    database = Database(database_url, pool_size=10)
    publisher = Publisher(database, poll=0.2)
    await publisher.start()
    yield database_url, database
    await publisher.close()
    await database.close()


@pytest.fixture
async def house(published: tuple[str, Database]) -> AsyncIterator[House]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        house = House(*published, session)
        yield house
        await house.close()


async def test_a_reader_gets_what_it_asked_for_and_nothing_else(house: House) -> None:
    process = await house.process()
    customer_id, token = house.customer()
    other_id, _ = house.customer()
    call, queue = uuid4(), uuid4()
    everything, calls, one = [await house.connect(process, token) for _ in range(3)]
    assert (await everything.subscribe(f"customer_id:{customer_id}"))["last"] == ZERO
    await calls.subscribe(f"customer_id:{customer_id}:call")
    await one.subscribe(f"customer_id:{customer_id}:call:{call}")
    await house.announce(other_id, uuid4())
    (first,) = await house.announce(customer_id, queue, resource="queue")
    (second,) = await house.announce(customer_id, uuid4())
    (third,) = await house.announce(customer_id, call, text="hello")
    assert await everything.events(3) == [first, second, third]
    assert await calls.events(2) == [second, third]
    assert await one.events(1) == [third]
    await one.ws.send_json(
        {"type": "unsubscribe", "topics": [f"customer_id:{customer_id}:call:{call}"], "ref": "x"}
    )
    assert await one.frame() == {"type": "unsubscribed", "topics": [], "ref": "x"}
    await house.announce(customer_id, call)
    await everything.events(4)
    await one.ws.send_json({"type": "ping"})
    assert await one.frame() == {"type": "pong"}, "nothing came in between"


async def test_an_agent_reads_what_concerns_it_and_no_more(house: House) -> None:
    process = await house.process()
    agent_id = uuid4()
    customer_id, token = house.customer(Permission.CUSTOMER_AGENT, agent_id)
    reader = await house.connect(process, token)
    for topic in (f"customer_id:{customer_id}", f"agent_id:{uuid4()}", f"customer_id:{uuid4()}"):
        await reader.ws.send_json({"type": "subscribe", "topics": [topic], "ref": "1"})
        answer = await reader.told("error")
        assert (answer["ref"], answer["error"]["reason"]) == ("1", "TOPIC_FORBIDDEN")
    await reader.ws.send_json({"type": "subscribe", "topics": ["everything"], "ref": "2"})
    answer = await reader.told("error")
    assert (answer["ref"], answer["error"]["status"]) == ("2", "INVALID_ARGUMENT")
    await reader.subscribe(f"agent_id:{agent_id}")
    await house.announce(customer_id, uuid4(), service_agent_id=str(uuid4()))
    (first,) = await house.announce(
        customer_id, uuid4(), resource="queuecall", service_agent_id=str(agent_id)
    )
    (second,) = await house.announce(
        customer_id, uuid4(), destination={"type": "agent", "target": str(agent_id)}
    )
    assert await reader.events(2) == [first, second]


async def test_missed_events_come_first_over_restarts_and_from_any_process(house: House) -> None:
    """Under steady writing, with cut connections and restarted processes, a reader misses and repeats nothing."""
    customer_id, token = house.customer()
    calls = [uuid4() for _ in range(5)]
    chance = random.Random(6)
    written, stop = 0, asyncio.Event()

    async def write() -> None:
        nonlocal written
        while not stop.is_set():
            count = chance.randint(1, 20)
            await house.announce(customer_id, *(chance.choice(calls) for _ in range(count)))
            written += count
            await asyncio.sleep(chance.random() / 50)

    processes = [await house.process(), await house.process()]
    writers = [asyncio.create_task(write()) for _ in range(2)]
    seen: list[str] = []
    after = ZERO
    for turn in range(12):
        if turn == 6:
            await processes[0].close()
            processes[0] = await house.process(held=3)
        reader = await house.connect(processes[turn % 2], token)
        await reader.subscribe(f"customer_id:{customer_id}", after=after)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.random() / 2):
                await reader.events(10_000)
        if turn % 3:
            await reader.ws.close()
        else:
            reader.ws.get_extra_info("socket").shutdown(2)
        seen += reader.ids
        after = seen[-1] if seen else after
    stop.set()
    await asyncio.gather(*writers)
    reader = await house.connect(processes[0], token)
    await reader.subscribe(f"customer_id:{customer_id}", after=after)
    await reader.events(written - len(seen))
    seen += reader.ids
    assert seen == await house.order(customer_id)
    assert len(seen) == written > 100


async def test_a_process_that_stops_says_so_and_the_next_goes_on(house: House) -> None:
    first = await house.process()
    customer_id, token = house.customer()
    reader = await house.connect(first, token)
    last = (await reader.subscribe(f"customer_id:{customer_id}"))["last"]
    closing = asyncio.create_task(first.close())
    code, reason = await reader.farewell()
    assert (code, "stopped" in reason) == (1001, True)
    await closing
    missed = await house.announce(customer_id, *(uuid4() for _ in range(450)))
    await house.order(customer_id)
    second = await house.process()
    reader = await house.connect(second, token)
    await reader.subscribe(f"customer_id:{customer_id}", after=last)
    resumed = await reader.told("resumed")
    assert resumed["events"] == 450
    assert reader.ids == missed


async def test_topics_added_with_a_past_repeat_nothing_of_those_that_are_live(house: House) -> None:
    process = await house.process()
    customer_id, token = house.customer()
    call = uuid4()
    (old,) = await house.announce(customer_id, call)
    await house.order(customer_id)
    reader = await house.connect(process, token)
    await reader.subscribe(f"customer_id:{customer_id}:call:{call}")
    (live,) = await house.announce(customer_id, call)
    assert await reader.events(1) == [live]
    (other,) = await house.announce(customer_id, uuid4())
    await house.order(customer_id)
    await reader.subscribe(f"customer_id:{customer_id}", after=ZERO)
    assert (await reader.told("resumed"))["events"] == 2
    assert reader.ids == [live, old, other]


async def test_a_slow_reader_is_dropped_and_a_fast_one_gets_all(house: House) -> None:
    process = await house.process(queued_bytes=1024 * 1024)
    customer_id, token = house.customer()
    slow, fast = [await house.connect(process, token) for _ in range(2)]
    for reader in (slow, fast):
        await reader.subscribe(f"customer_id:{customer_id}")
    written = []
    for _ in range(40):
        # 16 MB in all: more than the kernel takes for somebody who does not read
        written += await house.announce(customer_id, *(uuid4() for _ in range(20)), text="x" * 20_000)
        assert await fast.events(len(written)) == written
    code, reason = await slow.farewell()
    if code != 1006:
        # it began to read in time to be told
        assert code == 4008
        assert "after" in reason
    assert len(slow.ids) < 800
    assert slow.ids == written[: len(slow.ids)], "what it got was in order, so it can go on from there"
    assert not fast.ws.closed


async def test_a_reader_that_takes_its_time_with_the_past_gets_it_whole(house: House) -> None:
    process = await house.process(queued_bytes=256 * 1024)
    customer_id, token = house.customer()
    written = []
    for _ in range(20):
        written += await house.announce(customer_id, *(uuid4() for _ in range(20)), text="x" * 20_000)
    await house.order(customer_id)
    reader = await house.connect(process, token)
    await reader.subscribe(f"customer_id:{customer_id}", after=ZERO)
    await asyncio.sleep(1.0)
    assert (await reader.told("resumed"))["events"] == 400
    assert reader.ids == written


async def test_two_hundred_readers_cost_one_query(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    process = await house.process()
    customer_id, token = house.customer()
    readers = [await house.connect(process, token) for _ in range(200)]
    await asyncio.gather(*(reader.subscribe(f"customer_id:{customer_id}") for reader in readers))
    queries = 0
    ask = reading.of_customers

    async def counted(connection: Any, customers: Any, published: int, limit: int, *more: Any) -> Any:
        nonlocal queries
        # what readers ask of the past has shorter pages
        queries += limit == PAGE
        return await ask(connection, customers, published, limit, *more)

    monkeypatch.setattr(reading, "of_customers", counted)
    written = await house.announce(customer_id, *(uuid4() for _ in range(50)))
    for found in await asyncio.gather(*(reader.events(50) for reader in readers)):
        assert found == written
    assert 1 <= queries < 10, "one for each notification, not for each reader"


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (Unauthenticated("The key was deleted.", reason="INVALID_CREDENTIALS"), 4001),
        (PermissionDenied("The account is frozen.", reason="ACCOUNT_FROZEN"), 4003),
        (Permission.CUSTOMER_AGENT, 4003),
    ],
)
async def test_who_loses_the_right_is_disconnected(house: House, now: Exception | int, code: int) -> None:
    process = await house.process()
    customer_id, token = house.customer()
    reader = await house.connect(process, token)
    await reader.subscribe(f"customer_id:{customer_id}")
    if isinstance(now, int):
        now_principal = Principal(customer_id, uuid4(), None, now)
        house.credentials.known[token] = now_principal
    else:
        house.credentials.known[token] = now
    found, reason = await reader.farewell()
    assert found == code
    assert reason
    (missed,) = await house.announce(customer_id, uuid4())
    assert missed not in reader.ids


async def test_what_is_not_kept_any_more_is_said(house: House) -> None:
    process = await house.process()
    customer_id, token = house.customer()
    ids = await house.announce(customer_id, uuid4(), uuid4(), uuid4())
    await house.order(customer_id)
    async with house.database.begin() as connection:
        await connection.execute(
            sa.text("DELETE FROM events WHERE id = ANY(:ids)"), {"ids": [UUID(one) for one in ids[:2]]}
        )
    reader = await house.connect(process, token)
    await reader.subscribe(f"customer_id:{customer_id}", after=ids[0])
    gap = await reader.told("resume_gap")
    assert (gap["after"], gap["oldest"]) == (ids[0], ids[2])
    await reader.told("resumed")
    assert reader.ids == [ids[2]]
    other_id, _ = house.customer()
    (foreign,) = await house.announce(other_id, uuid4())
    await house.order(other_id)
    reader = await house.connect(process, token)
    await reader.subscribe(f"customer_id:{customer_id}", after=foreign)
    gap = await reader.told("resume_gap")
    assert gap["oldest"] == ids[2], "another customer's event is one that was never ours"


@pytest.mark.parametrize(
    "sent",
    [
        "no JSON",
        "[]",
        "{}",
        '{"type": "publish"}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "topics": []}',
        '{"type": "subscribe", "topics": [7]}',
        '{"type": "subscribe", "topics": ["everything"]}',
        '{"type": "subscribe", "topics": ["customer_id:1"]}',
        '{"type": "subscribe", "topics": ["customer_id:00000000-0000-0000-0000-000000000001:CALL"]}',
        '{"type": "subscribe", "topics": ["customer_id:00000000-0000-0000-0000-000000000001:call:x:y"]}',
        '{"type": "subscribe", "topics": ["customer_id:00000000-0000-0000-0000-000000000001"], "after": "1"}',
        '{"type": "subscribe", "topics": ["customer_id:00000000-0000-0000-0000-000000000001"], "more": 1}',
        '{"type": "ping", "ref": 7}',
    ],
)
async def test_a_bad_frame_is_answered_and_the_socket_stays(house: House, sent: str) -> None:
    process = await house.process()
    customer_id, token = house.customer()
    reader = await house.connect(process, token)
    await reader.ws.send_str(sent)
    answer = await reader.told("error")
    assert answer["error"]["status"] == "INVALID_ARGUMENT"
    assert answer["error"]["message"]
    await reader.subscribe(f"customer_id:{customer_id}")


async def test_limits(house: House) -> None:
    process = await house.process(per_customer=2, frame_bytes=4096, burst=20, commands=1.0)
    customer_id, token = house.customer()
    reader = await house.connect(process, token)
    await reader.subscribe(*(f"customer_id:{customer_id}:call:{uuid4()}" for _ in range(40)))
    await reader.subscribe(*(f"customer_id:{customer_id}:call:{uuid4()}" for _ in range(40)))
    await reader.ws.send_json(
        {"type": "subscribe", "topics": [f"customer_id:{customer_id}:call:{uuid4()}" for _ in range(40)]}
    )
    assert "100 topics" in (await reader.told("error"))["error"]["message"]
    second = await house.connect(process, token)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await house.connect(process, token)
    assert refused.value.status == 429
    await reader.ws.send_str("x" * 5000)
    assert (await reader.farewell())[0] == 1009
    for _ in range(30):
        with contextlib.suppress(ConnectionError):
            await second.ws.send_json({"type": "ping"})
    assert (await second.farewell())[0] == 1008
    third = await house.connect(process, token)
    await third.ws.send_bytes(b"binary")
    assert (await third.farewell())[0] == 1003


async def test_who_may_connect(house: House) -> None:
    process = await house.process()
    _, token = house.customer()
    house.credentials.known["a.b.c"] = house.credentials.known[token]
    session = house.session

    async def status(url: str = process.url, **more: Any) -> int:
        try:
            ws = await session.ws_connect(url, **more)
        except aiohttp.WSServerHandshakeError as refused:
            return refused.status
        await ws.close()
        return 101

    assert await status() == 401
    assert await status(params={"accesskey": "vb_unknown"}) == 401
    assert await status(headers={"Authorization": f"Bearer {token}"}) == 101
    cookie = {"Cookie": "token=a.b.c"}
    assert await status(headers=cookie) == 101
    assert await status(headers={**cookie, "Origin": process.url.rsplit("/v1.0", 1)[0]}) == 101
    assert await status(headers={**cookie, "Origin": "http://127.0.0.1:8080"}) == 101
    assert await status(headers={**cookie, "Origin": "https://evil.example"}) == 403
    assert await status(headers={**cookie, "Origin": "null"}) == 403
    assert await status(params={"accesskey": token}, headers={"Origin": "https://app.example"}) == 101
    async with session.get(process.url, params={"accesskey": token}) as response:
        assert response.status == 426
        assert (await response.json())["error"]["reason"] == "UPGRADE_REQUIRED"


async def test_a_reader_that_is_gone_is_noticed(house: House) -> None:
    # who does not answer a ping for two seconds is gone
    process = await house.process(heartbeat=4.0)
    customer_id, token = house.customer()
    gone = await house.connect(process, token, autoping=False)
    await gone.subscribe(f"customer_id:{customer_id}")

    async def count() -> bool:
        return not process.sockets._open

    await _eventually(count)
    there = await house.connect(process, token)
    await there.subscribe(f"customer_id:{customer_id}")
    receiving = asyncio.create_task(there.events(1))
    await asyncio.sleep(7.0)
    (event,) = await house.announce(customer_id, uuid4())
    assert await receiving == [event], "who answers pings stays"


async def _eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await check():
            await asyncio.sleep(0.1)


async def test_ringline_listen_goes_on_over_a_restart(house: House) -> None:
    first = await house.process()
    customer_id, token = house.customer()
    said: list[str] = []
    stream = Stream(first.url.removesuffix("/v1.0/ws"), token, said.append)
    had: list[str] = []

    async def listen() -> None:
        async with contextlib.aclosing(stream.events(house.session)) as events:
            async for event, raw in events:
                assert json.loads(raw) == event
                had.append(event["id"])

    listening = asyncio.create_task(listen())
    await _eventually(lambda: _true(stream.connected))
    written = await house.announce(customer_id, uuid4(), uuid4())
    await _eventually(lambda: _true(len(had) == 2))
    port = int(first.url.split(":")[2].split("/")[0])
    await first.close()
    written += await house.announce(customer_id, uuid4())
    await house.process(port=port)
    written += await house.announce(customer_id, uuid4())
    await _eventually(lambda: _true(len(had) >= 4))
    assert had == written
    assert "broke" in said[0]
    house.credentials.known.clear()
    with pytest.raises(Refused):
        await listening


async def test_ringline_listen_says_why_it_is_refused(house: House) -> None:
    process = await house.process()
    stream = Stream(process.url.removesuffix("/v1.0/ws"), "vb_unknown", print)
    with pytest.raises(Refused, match="unknown"):
        await anext(stream.events(house.session))


async def _true(value: bool) -> bool:
    return value
