"""One WebSocket: its topics, what waits to be sent on it, and what it missed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import structlog
from aiohttp import WSMsgType, web

from ringline.errors import InvalidArgument, RinglineError, Unauthenticated, Unavailable
from ringline.events.models import ZERO, Published
from ringline.events.sockets import frames, metrics
from ringline.events.sockets.frames import MAX_TOPICS, Command
from ringline.events.sockets.topics import Line, Topic
from ringline.http import Principal

log = structlog.get_logger(__name__)

GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006
UNREADABLE: Final = 1003
POLICY: Final = 1008
TRY_LATER: Final = 1013
CREDENTIAL_GONE: Final = 4001
FORBIDDEN: Final = 4003
TOO_SLOW: Final = 4008
"""Close codes: below 4000 they are RFC 6455's (section 7.4.1 and its registry), the others ours, after the HTTP
statuses that they resemble."""

_PAGE = 200
_COMMANDS_WAITING = 32


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one socket may take. Bytes and frames are those that wait for a slow reader.

    ``commands`` a second are taken from a reader, and as many seconds' worth as ``burst`` says at once.
    ``patience`` is how long (s) missed events wait for a reader that does not take them.
    """

    queued_bytes: int = 8 * 1024**2
    queued_frames: int = 10_000
    held: int = 2_000
    frame_bytes: int = 32 * 1024
    heartbeat: float = 25.0
    commands: float = 10.0
    burst: int = 50
    patience: float = 30.0
    write_buffer: int = 64 * 1024


class Past(Protocol):
    """What was published before."""

    async def last(self, customer_id: UUID) -> Published | None: ...

    async def by_id(self, customer_id: UUID, event_id: UUID) -> Published | None: ...

    async def kept_after(self, customer_id: UUID, event_id: UUID) -> Published | None: ...

    async def page(
        self, customer_id: UUID, published: int, limit: int, resources: frozenset[str]
    ) -> list[Published]: ...


class Socket:
    """A reader. ``principal`` is who it is; ``again`` asks anew who that credential belongs to."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        principal: Principal,
        again: Callable[[], Principal],
        past: Past,
        bounds: Bounds,
    ) -> None:
        self.principal = principal
        self._ws = ws
        self._again = again
        self._past = past
        self._bounds = bounds
        # each with the number behind which its events are live, and that behind which all were told
        self._topics: dict[Topic, int] = {}
        self._told: dict[Topic, int] = {}
        self._coming: tuple[Topic, ...] = ()
        self._held: list[Line] = []
        self._overflown = False
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._commands: asyncio.Queue[Command] = asyncio.Queue(_COMMANDS_WAITING)
        self._allowance = float(bounds.burst)
        self._counted = time.monotonic()
        self._ended = asyncio.Event()
        self._farewell: tuple[int, str] | None = None

    # what is told

    def offer(self, line: Line) -> None:
        """Take an event that is live. Events of topics whose past is being told are held back until then."""
        if self._matches(line):
            self._put(line.encoded)
        elif any(topic.matches(line) for topic in self._coming):
            if len(self._held) < self._bounds.held:
                self._held.append(line)
            else:
                self._overflown = True

    def tell(self, frame: bytes) -> None:
        """Send a frame of ours, after what waits already."""
        self._put(frame)

    def drop(self, code: int, reason: str) -> None:
        """End the connection, soon, and say why."""
        if self._farewell is None:
            self._farewell = (code, reason)
            self._queue.clear()
            self._queued_bytes = 0
            self._ended.set()

    def check(self) -> None:
        """End it if its credential is not good (any more) for what it reads."""
        try:
            self.principal = self._again()
            for topic in self._topics:
                topic.check(self.principal)
        except Unauthenticated as error:
            self.drop(CREDENTIAL_GONE, error.message)
        except RinglineError as error:
            self.drop(FORBIDDEN, error.message)

    def _matches(self, line: Line) -> bool:
        return any(line.number > floor and topic.matches(line) for topic, floor in self._topics.items())

    def _was_told(self, line: Line) -> bool:
        return any(line.number > start and topic.matches(line) for topic, start in self._told.items())

    def _put(self, frame: bytes) -> None:
        if self._farewell is not None:
            return
        bounds = self._bounds
        if (
            len(self._queue) >= bounds.queued_frames
            or self._queued_bytes + len(frame) > bounds.queued_bytes + bounds.frame_bytes
        ):
            waiting = len(self._queue)
            self.drop(
                TOO_SLOW, f"too slow: {waiting} events wait; come again with `after`: the last you have"
            )
            return
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        self._wake.set()

    # its life

    async def run(self) -> tuple[int, str]:
        """Serve until either side ends it; the close code and the reason."""
        tasks = [
            asyncio.create_task(work(), name=f"event-socket-{name}")
            for name, work in (("write", self._write), ("read", self._read), ("carry-out", self._carry_out))
        ]
        ended = asyncio.create_task(self._ended.wait(), name="event-socket-ended")
        try:
            await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, ended):
                task.cancel()
            results = await asyncio.gather(*tasks, ended, return_exceptions=True)
            for result in results:
                if isinstance(result, Exception) and not isinstance(result, ConnectionError):
                    log.error("event_socket_failed", error=repr(result))
        if self._farewell is None:
            return self._ws.close_code or ABNORMAL, "the reader left"
        return self._farewell

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                frame = self._queue.popleft()
                self._queued_bytes -= len(frame)
                await self._ws.send_frame(frame, WSMsgType.TEXT)
                metrics.sent.inc()
                if self._queued_bytes <= self._bounds.queued_bytes // 2:
                    self._drained.set()

    async def _read(self) -> None:
        async for message in self._ws:
            if message.type is WSMsgType.ERROR:
                # the connection broke, or no pong came
                return
            if message.type is not WSMsgType.TEXT:
                self.drop(UNREADABLE, "frames are JSON in text")
                return
            if not self._allowed():
                self.drop(POLICY, f"more than {self._bounds.commands:g} frames a second")
                return
            try:
                self._commands.put_nowait(frames.parse(message.data))
            except RinglineError as error:
                self.tell(frames.refused(error, frames.ref_of(message.data)))
            except asyncio.QueueFull:
                self.drop(POLICY, "too many commands at once; wait for the answers")
                return

    def _allowed(self) -> bool:
        now = time.monotonic()
        earned = (now - self._counted) * self._bounds.commands
        self._allowance = min(self._allowance + earned, self._bounds.burst)
        self._counted = now
        self._allowance -= 1
        return self._allowance >= 0

    async def _carry_out(self) -> None:
        while True:
            command = await self._commands.get()
            try:
                if command.type == "subscribe":
                    await self._subscribe(command)
                elif command.type == "unsubscribe":
                    for topic in command.topics:
                        self._topics.pop(topic, None)
                        self._told.pop(topic, None)
                    named = [topic.text for topic in self._topics]
                    self.tell(frames.told("unsubscribed", command.ref, topics=named))
                else:
                    self.tell(frames.told("pong", command.ref))
            except Unavailable as error:
                # it comes again and goes on from where it was
                self.drop(TRY_LATER, error.message)
            except RinglineError as error:
                self.tell(frames.refused(error, command.ref))

    # subscribing

    async def _subscribe(self, command: Command) -> None:
        """Add topics; with ``after``, tell first what was published since that event.

        No event is missed or told twice: what the feed tells meanwhile is held back, what was committed before is
        read, and of what was held back the rest is sent. Without ``after`` it begins at the newest event.
        """
        for topic in command.topics:
            topic.check(self.principal)
        fresh = tuple(topic for topic in command.topics if topic not in self._topics)
        if len(self._topics) + len(fresh) > MAX_TOPICS:
            raise InvalidArgument(f"A socket has at most {MAX_TOPICS} topics; open another one.")
        self._coming = fresh
        try:
            number, last, gap = await self._place(command)
            named = [topic.text for topic in (*self._topics, *fresh)]
            self.tell(frames.told("subscribed", command.ref, topics=named, last=str(last)))
            if gap is not None:
                self.tell(gap)
            live = await self._tell_past(command, number)
            self._topics.update(dict.fromkeys(fresh, live))
            for topic in command.topics:
                self._told[topic] = min(number, self._told.get(topic, number))
            for line in self._held:
                if self._matches(line):
                    self._put(line.encoded)
        finally:
            self._held, self._coming, self._overflown = [], (), False

    async def _place(self, command: Command) -> tuple[int, UUID, bytes | None]:
        """Where to begin: the number behind which, the event that it is of, and what is to be said of a gap."""
        customer_id, after = self.principal.customer_id, command.after
        if after == ZERO:
            return 0, ZERO, None
        found = await (
            self._past.last(customer_id) if after is None else self._past.by_id(customer_id, after)
        )
        if found is not None:
            return found.published, found.event.id, None
        if after is None:
            return 0, ZERO, None
        first = await self._past.kept_after(customer_id, after)
        message = "That event is not kept any more, or was never one of yours; what is kept since about then follows."
        oldest = ZERO if first is None else first.event.id
        gap = frames.told("resume_gap", command.ref, after=str(after), oldest=str(oldest), message=message)
        return (0 if first is None else first.published - 1), after, gap

    async def _tell_past(self, command: Command, number: int) -> int:
        """Tell what was published behind ``number``; the number up to which everything was."""
        topics = command.topics
        resources = frozenset(topic.resource for topic in topics)
        if "" in resources:
            resources = frozenset()
        told = 0
        while True:
            if self._overflown:
                # what was held back is read instead
                self._held, self._overflown = [], False
            page = await self._past.page(self.principal.customer_id, number, _PAGE, resources)
            for published in page:
                line, number = Line(published), published.published
                if any(topic.matches(line) for topic in topics) and not self._was_told(line):
                    await self._room()
                    self._put(line.encoded)
                    told += 1
            if len(page) < _PAGE and not self._overflown:
                break
        if command.after is not None:
            self.tell(frames.told("resumed", command.ref, events=told))
        return number

    async def _room(self) -> None:
        """Wait while the reader has enough to read."""
        while self._queued_bytes > self._bounds.queued_bytes // 2 and self._farewell is None:
            self._drained.clear()
            try:
                async with asyncio.timeout(self._bounds.patience):
                    await self._drained.wait()
            except TimeoutError:
                self.drop(
                    TOO_SLOW,
                    "too slow: missed events are not taken; come again with `after`: the last you have",
                )
