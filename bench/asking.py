"""How many requests a second the API answers, beside a bare aiohttp handler in a process of its own.

wrk asks with so many connections at once that the server is never idle; it takes a part of the same cores.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import usage
from bench.api import FAR_PREFIX, SOURCE_NUMBER

BARE_PORT = 28180
CONNECTIONS = 16
PLACE_CONNECTIONS = 4
START_SECONDS = 10.0
_SCRIPT = Path(__file__).parent / "wrk" / "place.lua"
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class WrkFailed(Exception):
    """wrk did not run; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """``label`` for the report, ``url`` whole; with ``place`` it is a ``POST /v1.0/calls`` for each request."""

    label: str
    url: str
    place: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """``refused``: answers other than 2xx and 3xx, and connections that failed. ``cpu_ms`` of the server, each."""

    label: str
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    refused: int
    cpu_ms: float


async def ask(question: Question, *, seconds: int, pid: int, token: str = "", first: int = 0) -> Asked:
    """Ask one thing for some time; ``pid`` is the server's process. Raises ``WrkFailed``."""
    connections = PLACE_CONNECTIONS if question.place else CONNECTIONS
    arguments = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    if token:
        arguments += ["-H", f"Authorization: Bearer {token}"]
    if question.place:
        arguments += ["-s", str(_SCRIPT)]
    arguments.append(question.url)
    if question.place:
        arguments += ["--", f"{FAR_PREFIX}{first}", SOURCE_NUMBER]
    before = usage.Processes().cpu(pid)
    text = await _wrk(arguments, seconds + START_SECONDS)
    used = usage.Processes().cpu(pid) - before
    return parse(question.label, text, used)


def parse(label: str, text: str, cpu_seconds: float) -> Asked:
    """What wrk printed. Raises ``WrkFailed``."""
    requests = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    times = {share: _ms(text, share) for share in ("50", "99")}
    if requests is None or rate is None:
        raise WrkFailed(f"wrk said: {text.strip()[-300:]}")
    refused = sum(int(found) for found in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    if broken := re.search(r"Socket errors: (.*)", text):
        refused += sum(int(count) for count in re.findall(r"\d+", broken[1]))
    count = int(requests[1])
    each = cpu_seconds / count * 1000 if count else float("inf")
    return Asked(label, count, float(rate[1]), times["50"], times["99"], refused, each)


def _ms(text: str, share: str) -> float:
    found = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s|m)$", text, re.MULTILINE)
    if found is None:
        raise WrkFailed(f"wrk printed no time of {share}%: {text.strip()[-300:]}")
    return float(found[1]) * _UNITS[found[2]]


async def _wrk(arguments: Sequence[str], seconds: float) -> str:
    process = await asyncio.create_subprocess_exec(
        "wrk", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise WrkFailed(f"wrk ended with {process.returncode}: {output.decode(errors='replace')[-300:]}")
    return output.decode(errors="replace")


@asynccontextmanager
async def bare() -> AsyncIterator[tuple[str, int]]:
    """The bare handler while it runs: its URL and its process."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.bare", str(BARE_PORT))
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", BARE_PORT)
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    writer.close()
                    break
        yield f"http://127.0.0.1:{BARE_PORT}/", process.pid
    finally:
        process.terminate()
        await process.wait()
