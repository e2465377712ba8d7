"""The command: reads events, prints them, forwards them, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import aiohttp

from ringline.listening import showing
from ringline.listening.forwarding import Forwarder
from ringline.listening.stream import Refused, Stream


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants. ``events`` are patterns of names, none: all; ``most`` 0: until it is stopped."""

    url: str
    credential: str
    events: Sequence[str] = ()
    forward: str = ""
    secret: str = ""
    as_json: bool = False
    since: str = ""
    most: int = 0
    until_eof: bool = False
    """Whether it ends with its input: what ends the client of ``docker exec`` ends nothing else in the container."""


def run(wish: Wish) -> int:
    """The exit status: 0 when it was stopped or had as many as were wanted, 1 when it cannot listen."""
    return asyncio.run(_until_stopped(wish))


async def _until_stopped(wish: Wish) -> int:
    listening = asyncio.create_task(_listen(wish))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, listening.cancel)
    if wish.until_eof:
        loop.add_reader(sys.stdin.fileno(), _at_eof, listening)
    try:
        return await listening
    except asyncio.CancelledError:
        return 0
    except BrokenPipeError:
        # whoever read what is printed has enough; what is in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _at_eof(listening: asyncio.Task[int]) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        listening.cancel()


async def _listen(wish: Wish) -> int:
    async with aiohttp.ClientSession() as session:
        forwarder = Forwarder(session, wish.forward, wish.secret) if wish.forward else None
        stream = Stream(wish.url, wish.credential, _say, wish.since)
        try:
            async with aclosing(stream.events(session)) as events:
                return await _each(wish, events, forwarder)
        except Refused as error:
            _say(str(error))
        except BrokenPipeError:
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _say(f"No answer from {wish.url}: {error or 'timeout'}. `ringline doctor` looks at each part.")
        return 1


async def _each(
    wish: Wish, events: AsyncIterable[tuple[dict[str, Any], bytes]], forwarder: Forwarder | None
) -> int:
    show = _shower(as_json=wish.as_json)
    had = 0
    async for event, raw in events:
        if wish.events and not any(fnmatchcase(event["type"], pattern) for pattern in wish.events):
            continue
        outcome = "" if forwarder is None else await forwarder.post(event["id"], raw)
        show(event, raw, outcome)
        had += 1
        if wish.most and had >= wish.most:
            break
    return 0


def _shower(*, as_json: bool) -> Callable[[Any, bytes, str], None]:
    colours = showing.may_colour()

    def show(event: Any, raw: bytes, outcome: str) -> None:
        text = raw.decode() if as_json else showing.line(event, colours=colours)
        if outcome and as_json:
            _say(f"{event['type']} {event['id']} => {outcome}")
        elif outcome:
            text += f"  => {outcome}"
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    return show


def _say(text: str) -> None:
    with suppress(ValueError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
