"""From ``POST /v1.0/calls`` to the INVITE at the far side's door, through Asterisk and Kamailio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from bench.api import FAR_PREFIX, SOURCE_NUMBER, Api, ApiFailed, prompt_actions
from bench.far_side import FarSide

ARRIVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Placed:
    """``to_invite_ms``: from just before the request was sent to the INVITE's arrival at the far side."""

    rate: int
    requested: int
    refused: int
    lost: int
    """Accepted by the API, but no INVITE came."""
    to_invite_ms: Sequence[float]
    answer_ms: Sequence[float]
    """How long the API took to answer the POST."""


async def place(
    api: Api, far: FarSide, prompt_url: str, *, rate: int, seconds: float, first: int = 0
) -> Placed:
    """Place calls at an even rate, each to a number of its own, counted from ``first``."""
    hung_up = far.hung_up
    total = round(rate * seconds)
    sent: dict[str, float] = {}
    took: list[float] = []
    refused = 0

    async def one(number: str) -> None:
        nonlocal refused
        body = {
            "source": {"type": "tel", "target": SOURCE_NUMBER},
            "destinations": [{"type": "tel", "target": number}],
            "actions": prompt_actions(prompt_url)[1:],
        }
        sent[number] = time.time()
        began = time.monotonic()
        try:
            await api.ask("POST", "/v1.0/calls", body)
        except (ApiFailed, TimeoutError, aiohttp.ClientError):
            refused += 1
            del sent[number]
        else:
            took.append((time.monotonic() - began) * 1000)

    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for index in range(total):
            await asyncio.sleep(max(began + index / rate - loop.time(), 0))
            group.create_task(one(f"{FAR_PREFIX}{first + index:07d}"))
    deadline = loop.time() + ARRIVAL_SECONDS
    # every call ends with a BYE from our side, half a second after its answer
    while len(sent.keys() - far.arrivals.keys()) or far.hung_up - hung_up < len(sent):
        if loop.time() > deadline:
            break
        await asyncio.sleep(0.1)
    times = [
        (far.arrivals[number] - moment) * 1000 for number, moment in sent.items() if number in far.arrivals
    ]
    return Placed(rate, total, refused, len(sent) - len(times), times, took)
