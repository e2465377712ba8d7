"""A connection to Redis for writing without waiting: what is sent is on its way when the call returns.

redis-py's client costs a task switch and some 0.3 ms for each pipeline, too much for what is written at every step
of every call. Here a write is a call into the kernel; answers are counted, an error or silence ends the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import hiredis
import structlog
from redis.asyncio.connection import parse_url

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 2.0
SILENCE_SECONDS = 3.0
"""How long Redis may owe an answer."""
MAX_UNSENT = 64 * 1024 * 1024
MAX_BACKOFF_SECONDS = 2.0

Command = Sequence[bytes | str]
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)


class _Reader(Protocol):
    def feed(self, data: bytes) -> None: ...

    def gets(self) -> Any: ...


class Pipe:
    """Keeps connected until ``close``. ``on_ready`` is called at each connect: all is to be written anew then."""

    def __init__(self, url: str, on_ready: Callable[[], None]) -> None:
        self._url = url
        self._on_ready = on_ready
        self._link: _Link | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether what is sent now is on its way."""
        return self._link is not None and self._link.ready

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return 0 if self._link is None else self._link.unsent

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="redis-pipe")

    def send(self, *commands: Command) -> bool:
        """Write commands, in order; ``False`` where there is no connection: all is written anew when there is one."""
        link = self._link
        if link is None or not link.ready:
            return False
        link.send(commands)
        return True

    async def close(self, grace: float = 2.0) -> None:
        """Wait for the answers that are owed, then close."""
        link = self._link
        if link is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await link.answered()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff = 0.05
        while True:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    link = await self._open()
            except (OSError, TimeoutError, hiredis.HiredisError) as error:
                log.warning("redis_pipe_not_connected", error=str(error) or type(error).__name__)
            else:
                self._link, backoff = link, 0.05
                try:
                    self._on_ready()
                    reason = await link.watch()
                    log.warning("redis_pipe_lost", reason=reason)
                finally:
                    self._link = None
                    link.abort("closed")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def _open(self) -> _Link:
        options: dict[str, Any] = dict(parse_url(self._url))
        loop = asyncio.get_running_loop()
        if "path" in options:
            _, link = await loop.create_unix_connection(_Link, options["path"])
        else:
            secure = ssl.create_default_context() if self._url.startswith("rediss:") else None
            _, link = await loop.create_connection(
                _Link, options.get("host", "127.0.0.1"), options.get("port", 6379), ssl=secure
            )
        greeting: list[Command] = [("CLIENT", "SETNAME", "ringline-live")]
        if options.get("password"):
            name = [str(options["username"])] if options.get("username") else []
            greeting.insert(0, ("AUTH", *name, str(options["password"])))
        if options.get("db"):
            greeting.append(("SELECT", str(options["db"])))
        try:
            link.send(greeting)
            await link.answered()
        except BaseException:
            link.abort("not welcome")
            raise
        return link


class _Link(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = cast("_Reader", hiredis.Reader(notEnoughData=self))
        self._transport: asyncio.Transport | None = None
        self._owed = 0
        self._heard = self._loop.time()
        self._settled = asyncio.Event()
        self._lost: asyncio.Future[str] = self._loop.create_future()

    @property
    def ready(self) -> bool:
        return not self._lost.done()

    @property
    def unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, commands: Sequence[Command]) -> None:
        if self._transport is None or self._lost.done():
            return
        if not self._owed:
            self._heard = self._loop.time()
        self._owed += len(commands)
        self._settled.clear()
        self._transport.write(b"".join([_pack(tuple(command)) for command in commands]))
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort("Redis takes nothing any more")

    async def answered(self) -> None:
        """Return when nothing is owed. Raises ``ConnectionError`` where the connection ends first."""
        settled = asyncio.ensure_future(self._settled.wait())
        either: set[asyncio.Future[Any]] = {settled, self._lost}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            settled.cancel()
        if self._lost.done():
            raise ConnectionError(self._lost.result())

    async def watch(self) -> str:
        """Until the connection is lost, or given up because nothing is answered. Why."""
        while not self._lost.done():
            await asyncio.wait({self._lost}, timeout=1.0)
            if self._owed and self._loop.time() - self._heard > SILENCE_SECONDS:
                self.abort(f"no answer for {SILENCE_SECONDS:g} s")
        return self._lost.result()

    def abort(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)
        if self._transport is not None:
            self._transport.abort()

    # called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not self:
            self._owed -= 1
            if isinstance(answer, hiredis.HiredisError):
                self.abort(f"Redis refused: {answer}")
                return
        if self._owed <= 0:
            self._settled.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(str(exc) if exc else "closed by Redis")
