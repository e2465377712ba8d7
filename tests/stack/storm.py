"""Thousands of telephones that register: SIPp plays them, and what it costs Kamailio is measured.

By hand, on a test instance's database: ``python -m tests.stack.storm --contacts 10000 --rate 500``.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tests.stack import edge as edges
from tests.stack.edge import CRLF, Edge

PASSWORD = "storm-password"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Round:
    """One registration of every contact. ``cpu`` is Kamailio's, in cores; a refresh is two REGISTERs."""

    refreshed: int
    failed: int
    retransmissions: int
    seconds: float
    cpu: float
    database_cpu: float

    @property
    def rate(self) -> float:
        return self.refreshed / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.refreshed} refreshed in {self.seconds:.1f} s ({self.rate:.0f}/s), {self.failed} failed,"
            f" {self.retransmissions} sent again, Kamailio {self.cpu:.2f} cores, PostgreSQL {self.database_cpu:.2f}"
        )


class Storm:
    """``contacts`` extensions of one customer, ``s1`` and on, each with one telephone."""

    def __init__(self, edge: Edge, contacts: int, folder: Path, label: str = "storm") -> None:
        self._edge = edge
        self._contacts = contacts
        self._folder = folder
        self.domain = f"{label}.{edge.domain}"
        self._label = label

    async def prepare(self) -> None:
        """Make the extensions."""
        async with self._edge.database.begin() as connection:
            await connection.execute(
                sa.text(
                    "INSERT INTO customers (id, name, domain_label, status, tm_create)"
                    " VALUES (gen_random_uuid(), 'storm', :label, 'active', now())"
                ),
                {"label": self._label},
            )
            await connection.execute(
                sa.text(
                    "INSERT INTO extensions (id, customer_id, name, extension, domain_name, username, ha1, tm_create)"
                    " SELECT gen_random_uuid(), customers.id, 's' || n, 's' || n, CAST(:domain AS text), 's' || n,"
                    " md5('s' || n || ':' || CAST(:domain AS text) || ':' || CAST(:password AS text)), now()"
                    " FROM customers, generate_series(1, :count) AS n WHERE domain_label = :label"
                ),
                {"label": self._label, "domain": self.domain, "password": PASSWORD, "count": self._contacts},
            )
            # so many at once are no news to a server that has run for some minutes
            await connection.execute(sa.text("ANALYZE extensions"))
        await self._edge.rpc.reload_accounts()
        lines = [
            f"s{n};[authentication username=s{n} password={PASSWORD}]" for n in range(1, self._contacts + 1)
        ]
        (self._folder / "users.csv").write_text("\n".join(["SEQUENTIAL", *lines, ""]))
        (self._folder / "register.xml").write_text(_SCENARIO.replace("@DOMAIN@", self.domain))

    async def register(self, rate: int) -> Round:
        """Have every telephone register once, ``rate`` of them a second."""
        statistics = self._folder / f"round-{time.monotonic_ns()}.csv"
        before, database_before = await self._cpu(), await self._database_cpu()
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(
                "sipp",
                f"127.0.0.1:{self._edge.port}",
                "-i",
                "127.0.0.1",
                "-sf",
                str(self._folder / "register.xml"),
            ),
            *("-inf", str(self._folder / "users.csv"), "-r", str(rate), "-m", str(self._contacts)),
            *(
                "-l",
                str(self._contacts),
                "-trace_stat",
                "-stf",
                str(statistics),
                "-nostdin",
                "-timeout",
                "120",
            ),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await process.wait()
        seconds = time.monotonic() - started
        after, database_after = await self._cpu(), await self._database_cpu()
        with statistics.open() as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        return Round(
            refreshed=int(last["SuccessfulCall(C)"]),
            failed=int(last["FailedCall(C)"]),
            retransmissions=int(last["Retransmissions(C)"]),
            seconds=seconds,
            cpu=(after - before) / seconds,
            database_cpu=(database_after - database_before) / seconds,
        )

    async def rows(self) -> int:
        """How many contacts the database holds."""
        async with self._edge.database.connect() as connection:
            found = await connection.scalar(
                sa.text(
                    "SELECT count(*) FROM kamailio.location"
                    " WHERE domain = :domain AND expires > now() AT TIME ZONE 'utc'"
                ),
                {"domain": self.domain},
            )
        return int(found or 0)

    async def contacts(self) -> int:
        """How many Kamailio has in memory."""
        lines = await self._edge.rpc.call("stats.get_statistics", "usrloc:")
        found = [str(line) for line in lines if "contacts" in str(line)]
        return int(found[0].partition("=")[2])

    async def _cpu(self) -> float:
        return await _spent(self._edge.container)

    async def _database_cpu(self) -> float:
        """What the backends that Kamailio is connected to have used, in seconds."""
        container = os.environ.get("RINGLINE_PROJECT", "ringline-test") + "-postgres-1"
        return await _spent(container)


async def _spent(container: str) -> float:
    """CPU seconds of all processes of a container, 0 where there is none."""
    process = await asyncio.create_subprocess_exec(
        *("docker", "top", container, "-eo", "pid"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    total = 0
    for pid in output.split()[1:]:
        try:
            values = Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        total += int(values[11]) + int(values[12])
    return total / _TICKS


@asynccontextmanager
async def storm(edge: Edge, contacts: int) -> AsyncIterator[Storm]:
    """A storm that is ready to begin."""
    with tempfile.TemporaryDirectory() as folder:
        made = Storm(edge, contacts, Path(folder))
        await made.prepare()
        yield made


_SCENARIO = CRLF.join(
    (
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<scenario name="register">',
        '<send retrans="500"><![CDATA[',
        "",
        "@REGISTER 1@",
        "Content-Length: 0",
        "",
        "]]></send>",
        '<recv response="401" auth="true"/>',
        '<send retrans="500"><![CDATA[',
        "",
        "@REGISTER 2@",
        "[field1]",
        "Content-Length: 0",
        "",
        "]]></send>",
        '<recv response="401" optional="true"/>',
        '<recv response="200"/>',
        "</scenario>",
        "",
    )
)
_REGISTER = "\n".join(
    (
        "REGISTER sip:@DOMAIN@ SIP/2.0",
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]",
        "From: <sip:[field0]@@DOMAIN@>;tag=[call_number]",
        "To: <sip:[field0]@@DOMAIN@>",
        "Call-ID: [call_id]",
        "CSeq: @CSEQ@ REGISTER",
        "Max-Forwards: 70",
        "Contact: <sip:[field0]@[local_ip]:[local_port]>",
        "Expires: 3600",
        "User-Agent: storm",
    )
)
for _cseq in ("1", "2"):
    _SCENARIO = _SCENARIO.replace(f"@REGISTER {_cseq}@", _REGISTER.replace("@CSEQ@", _cseq))
_SCENARIO = _SCENARIO.replace(CRLF, "\n")


async def _measure(env: Mapping[str, str], contacts: int, rate: int, rounds: int) -> None:
    edge = await edges.start(env)
    try:
        async with storm(edge, contacts) as made:
            for number in range(rounds + 1):
                result = await made.register(rate)
                print("first:  " if number == 0 else "refresh:", result)
                print("         contacts in memory", await made.contacts(), "rows", await made.rows())
    finally:
        await edges.stop(edge, env)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    path = Path(os.environ.get("RINGLINE_ENV_FILE", ".env.test"))
    pairs = (
        line.partition("=") for line in path.read_text().splitlines() if line and not line.startswith("#")
    )
    env = {name: value.strip().strip("'\"") for name, _, value in pairs}
    asyncio.run(_measure(env, chosen.contacts, chosen.rate, chosen.rounds))


if __name__ == "__main__":
    _main()
