"""Webhooks at length: events to ten endpoints of which three are bad, everything counted at the receiving end.

``python -m bench.webhooks --events 1000000 --endpoints 10`` with a PostgreSQL of its own in a container, or one that
is named by ``--database`` (a server where databases may be made). A receiver counts what comes once, twice and out of
order per resource, verifies a sample with the package ``standardwebhooks``, and measures until the arrival.

Each event goes to one endpoint (they ask for a tenth of the events each), so there are as many deliveries as events.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import orjson
import sqlalchemy as sa
import uvloop
from pydantic import SecretStr

from bench.receivers import CUT, HANG, Arrival, Receiver
from ringline.clock import SystemClock
from ringline.events import Event, emit
from ringline.events.publisher import Publisher
from ringline.settings import Settings
from ringline.storage import Database, migrate
from ringline.webhooks.endpoints.models import WebhookCreate
from ringline.webhooks.room import Webhooks

SETTINGS: Final = Settings(
    webhook_secret=SecretStr("a key of the bench"), fetch_allowed_networks=[ip_network("127.0.0.0/8")]
)
BAD: Final[tuple[int | str, ...]] = (HANG, 500, CUT)
"""What the last three of the endpoints do."""
RESOURCES: Final = 1000
"""For each endpoint."""
SAMPLE: Final = 100
"""One in so many is verified."""


class Counted:
    """What came to one endpoint."""

    def __init__(self) -> None:
        self.secret = ""
        self._ids: dict[tuple[str, int], str] = {}
        self._last: dict[str, int] = {}
        self.requests = self.twice = self.foreign_ids = self.disordered = self.verified = 0
        self.latencies = array("f")

    def count(self, arrival: Arrival) -> None:
        said = orjson.loads(arrival.body)
        key = said["resource_id"], said["sequence"]
        message_id = arrival.headers["webhook-id"]
        self.requests += 1
        known = self._ids.get(key)
        if known is not None:
            self.twice += 1
            self.foreign_ids += known != message_id
            return
        self._ids[key] = message_id
        if key[1] != self._last.get(key[0], 0) + 1:
            self.disordered += 1
        self._last[key[0]] = max(key[1], self._last.get(key[0], 0))
        self.latencies.append(arrival.at - datetime.fromisoformat(said["timestamp"]).timestamp())
        if len(self._ids) % SAMPLE == 0:
            from standardwebhooks import Webhook  # noqa: PLC0415 - only here

            Webhook(self.secret).verify(arrival.body, arrival.headers)
            self.verified += 1

    def report(self) -> dict[str, Any]:
        ordered = sorted(self.latencies)

        def at(part: float) -> float:
            return round(ordered[min(int(len(ordered) * part), len(ordered) - 1)], 4) if ordered else 0.0

        return {
            "requests": self.requests,
            "events": len(self._ids),
            "twice": self.twice,
            "foreign_ids": self.foreign_ids,
            "disordered": self.disordered,
            "verified": self.verified,
            "p50": at(0.5),
            "p99": at(0.99),
            "worst": at(1.0),
        }


async def receive() -> None:
    """A receiver process: told on its standard input what its endpoints do, and then their secrets, it says their
    ports, and what it has counted whenever it is asked.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def read() -> None:
        while line := await reader.readline():
            lines.put_nowait(line)
        lines.put_nowait(b"")

    reading = asyncio.create_task(read())
    receivers, counts = [], []
    for behaviour in json.loads(await lines.get()):
        counted = Counted()
        counts.append(counted)
        good = behaviour == 200
        receiver = Receiver(lambda _, how=behaviour: how, keep=counted.count if good else lambda _: None)
        receivers.append(await receiver.start())
    print(json.dumps([receiver.port for receiver in receivers]), flush=True)
    for counted, secret in zip(counts, json.loads(await lines.get()), strict=True):
        counted.secret = secret
    while await lines.get():
        print(json.dumps([counted.report() for counted in counts]), flush=True)
    reading.cancel()
    for receiver in receivers:
        await receiver.close()


async def work(url: str) -> None:
    """A worker process: publishes and delivers until it is ended."""
    database = Database(url, pool_size=6)
    room = Webhooks(SETTINGS, database, SystemClock())
    publisher = Publisher(database)
    publisher.steps.append(room.deliver)
    await publisher.start()
    await room.worker.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()
    await publisher.close()
    await room.close()
    await database.close()


@dataclass
class Process:
    """A child that says when it is ready, and what it used."""

    process: asyncio.subprocess.Process

    @classmethod
    async def begin(cls, *arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bench.webhooks", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        return cls(process)

    async def ready(self) -> None:
        while (await self.line()).strip() != "ready":
            pass

    async def line(self) -> str:
        assert self.process.stdout is not None
        text = await self.process.stdout.readline()
        if not text:
            raise RuntimeError("a process of the bench has ended")
        return text.decode()

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def own_database(server: str) -> AsyncIterator[str]:
    """A database with all tables, on a server (``postgresql+asyncpg://``) or one of its own."""
    if not server:
        from tests.component.conftest import postgres_server, until_postgres  # noqa: PLC0415 - only here

        with postgres_server() as (_, url):
            await until_postgres(url)
            await migrate.upgrade(url)
            yield url
        return
    name = f"bench_{uuid4().hex}"
    admin = await asyncpg.connect(server.replace("+asyncpg", ""))
    await admin.execute(f"CREATE DATABASE {name}")
    try:
        url = f"{server.rsplit('/', 1)[0]}/{name}"
        await migrate.upgrade(url)
        yield url
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


@dataclass
class Target:
    """An endpoint of the bench: which events it asks for, and how it answers."""

    index: int
    behaviour: int | str
    port: int = 0
    secret: str = ""

    @property
    def name(self) -> str:
        return f"bench{self.index}"


class Plan:
    """The endpoints and the events that go to them."""

    def __init__(self, database: Database, endpoints: int, bad: int) -> None:
        self.database = database
        behaviours = [200] * (endpoints - bad) + [BAD[index % len(BAD)] for index in range(bad)]
        self.targets = [Target(index, how) for index, how in enumerate(behaviours)]
        self.customer_id = uuid4()
        self._resources = [[uuid4() for _ in range(RESOURCES)] for _ in self.targets]
        self.emitted = 0

    @property
    def good(self) -> list[Target]:
        return [target for target in self.targets if target.behaviour == 200]

    async def make(self) -> Process:
        """The receiver of all events, and everything that leads there."""
        receiver = await Process.begin("receiver")
        receiver.say(json.dumps([target.behaviour for target in self.targets]))
        for target, port in zip(self.targets, json.loads(await receiver.line()), strict=True):
            target.port = port
        account = uuid4()
        async with self.database.begin() as connection:
            await connection.execute(
                sa.text(
                    "INSERT INTO customers (id, name, domain_label, billing_account_id, tm_create)"
                    " VALUES (:id, 'bench', 'bench', :account, now())"
                ),
                {"id": self.customer_id, "account": account},
            )
            await connection.execute(
                sa.text(
                    "INSERT INTO billing_accounts (id, customer_id, plan_type, tm_create)"
                    " VALUES (:id, :customer, 'unlimited', now())"
                ),
                {"id": account, "customer": self.customer_id},
            )
        service = Webhooks(SETTINGS, self.database, SystemClock()).endpoints
        for target in self.targets:
            wanted = WebhookCreate(uri=f"http://127.0.0.1:{target.port}/hook", events=[f"{target.name}_*"])
            row = await service.create(self.customer_id, wanted)
            target.secret = service.with_secret(row).secret
        receiver.say(json.dumps([target.secret for target in self.targets]))
        return receiver

    async def emit(self, count: int) -> None:
        """The next events, one to each endpoint in turn, in one transaction."""
        now = datetime.now(UTC)
        batch = []
        for number in range(self.emitted, self.emitted + count):
            target = self.targets[number % len(self.targets)]
            resource = self._resources[target.index][number // len(self.targets) % RESOURCES]
            batch.append(
                Event(
                    type=f"{target.name}_updated",
                    customer_id=self.customer_id,
                    resource=target.name,
                    resource_id=resource,
                    data=_data(resource),
                    tm_create=now,
                )
            )
        async with self.database.begin() as connection:
            await emit(connection, batch)
        self.emitted += count

    def expected(self, target: Target) -> int:
        """How many events were emitted for one."""
        whole, rest = divmod(self.emitted, len(self.targets))
        return whole + (target.index < rest)


def _data(resource: UUID) -> dict[str, Any]:
    """About as much as a call has."""
    party = {"type": "tel", "target": "+15551234567", "target_name": "", "name": "", "detail": ""}
    return {
        "id": str(resource),
        "flow_id": str(resource),
        "type": "flow",
        "source": party,
        "destination": party,
        "status": "progressing",
        "direction": "outgoing",
        "hangup_by": "",
        "hangup_reason": "",
        "chained_call_ids": [],
        "recording_ids": [],
        "tm_create": "2026-01-01T00:00:00Z",
        "tm_ringing": "2026-01-01T00:00:01Z",
        "tm_progressing": None,
        "tm_hangup": None,
    }


async def reports(receiver: Process, plan: Plan) -> list[dict[str, Any]]:
    """What has come to the good endpoints."""
    receiver.say("report")
    found = json.loads(await receiver.line())
    return [found[target.index] for target in plan.good]


async def bench(arguments: argparse.Namespace) -> None:
    async with own_database(arguments.database) as url:
        database = Database(url)
        plan = Plan(database, arguments.endpoints, arguments.bad)
        receiver = await plan.make()
        workers = [await Process.begin("worker", "--database", url) for _ in range(arguments.workers)]
        for worker in workers:
            await worker.ready()
        began = time.monotonic()
        cpu = [process.cpu() for process in (receiver, *workers)]
        batch = 100
        while plan.emitted < arguments.events:
            await plan.emit(min(batch, arguments.events - plan.emitted))
            if arguments.rate:
                await asyncio.sleep(max(began + plan.emitted / arguments.rate - time.monotonic(), 0))
        emitted = time.monotonic() - began
        expected = sum(plan.expected(target) for target in plan.good)
        moved = time.monotonic()
        last = -1
        while (arrived := sum(one["events"] for one in await reports(receiver, plan))) < expected:
            if arrived != last:
                last, moved = arrived, time.monotonic()
            if time.monotonic() - moved > 60:
                print("nothing more arrives")
                break
            await asyncio.sleep(0.5)
        seconds = time.monotonic() - began
        used = [process.cpu() - before for process, before in zip((receiver, *workers), cpu, strict=True)]
        found = await reports(receiver, plan)
        for process in (*workers, receiver):
            await process.end()
        await database.close()
        if arguments.json:
            summary = {
                "arrived": arrived,
                "seconds": seconds,
                "worker_cpu": sum(used[1:]),
                "lost": expected - arrived,
                "twice": sum(one["twice"] for one in found),
                "p50": sorted(one["p50"] for one in found)[len(found) // 2],
                "p99": max(one["p99"] for one in found),
            }
            print(json.dumps(summary))
            return
        print(f"\n{plan.emitted} events, {len(plan.targets)} endpoints of which {arguments.bad} are bad")
        print(f"emitted in {emitted:.1f} s; {arrived} deliveries to good ones in {seconds:.1f} s,", end=" ")
        print(f"{arrived / seconds:.0f} a second")
        print(
            "CPU seconds: receivers {:.1f}, workers {}".format(
                used[0], ", ".join(f"{one:.1f}" for one in used[1:])
            )
        )
        print("\n| endpoint | events | arrived | twice | out of order | verified | p50 s | p99 s | worst s |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for target, one in zip(plan.good, found, strict=True):
            print(
                f"| {target.name} | {plan.expected(target)} | {one['events']} | {one['twice']} |"
                f" {one['disordered']} | {one['verified']} | {one['p50']} | {one['p99']} | {one['worst']} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("bench", "worker", "receiver"), default="bench")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument(
        "--bad", type=int, default=3, help="How many of them hang, answer 500 or cut the connection."
    )
    parser.add_argument("--rate", type=float, default=0.0, help="Events a second; 0: as many as it takes.")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--database", default="")
    parser.add_argument("--json", action="store_true", help="Say it in one line, for a program.")
    arguments = parser.parse_args()
    if arguments.part == "receiver":
        uvloop.run(receive())
    elif arguments.part == "worker":
        uvloop.run(work(arguments.database))
    else:
        uvloop.run(bench(arguments))


if __name__ == "__main__":
    main()
