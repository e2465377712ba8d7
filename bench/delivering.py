"""Webhook deliveries a second: ``bench.webhooks`` for a short while, in a database of its own beside the stack's."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from typing import Final

import orjson

ENDPOINTS: Final = 10
BAD: Final = 3
SECONDS: Final = 90.0
"""At most, for each of the two turns."""


class NotDelivered(Exception):
    """There is no figure; the message says why."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One worker's deliveries to good endpoints, beside bad ones: ``per_second`` as many as it bears.

    ``p50`` and ``p99`` are seconds from the event to its arrival, at ``rate`` events a second.
    """

    per_second: float
    cpu_ms: float
    rate: int
    p50: float
    p99: float
    lost: int
    """Of both turns together."""
    twice: int


async def deliver(server: str, *, events: int, rate: int, rate_seconds: int) -> Delivered:
    """Measure on the PostgreSQL of this SQLAlchemy URL. Raises ``NotDelivered``."""
    full = await _turn(server, events, 0)
    paced = await _turn(server, rate * rate_seconds, rate)
    return Delivered(
        per_second=full["arrived"] / full["seconds"],
        cpu_ms=1000 * full["worker_cpu"] / full["arrived"],
        rate=rate,
        p50=paced["p50"],
        p99=paced["p99"],
        lost=int(full["lost"] + paced["lost"]),
        twice=int(full["twice"] + paced["twice"]),
    )


async def _turn(server: str, events: int, rate: int) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.webhooks", "--json", "--database", server),
        *("--events", str(events), "--rate", str(rate), "--endpoints", str(ENDPOINTS), "--bad", str(BAD)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
        found: dict[str, float] = orjson.loads(said.splitlines()[-1])
    except TimeoutError:
        raise NotDelivered(f"{events} events took more than {SECONDS:.0f} s") from None
    except (IndexError, orjson.JSONDecodeError):
        raise NotDelivered(f"bench.webhooks ended with {process.returncode}") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if not found["arrived"]:
        raise NotDelivered("nothing has arrived")
    return found
