"""PostgreSQL's LISTEN on one connection for all who follow something; it comes back whenever the server does."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import asyncpg
import structlog

log = structlog.get_logger(__name__)

_CONNECT_TIMEOUT = 3.0
_PROVE_INTERVAL = 0.25
_BACKOFF_FIRST, _BACKOFF_LAST = 0.1, 5.0


@dataclass(slots=True, eq=False)
class Following:
    """One who listens to one channel (``Listener.follow``)."""

    channel: str
    deliver: Callable[[str], None]
    catch_up: Callable[[], Awaitable[None]]
    heard: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done once what is said on the channel arrives for the first time."""


class Listener:
    """One connection for all channels; it is there while somebody follows one."""

    def __init__(self, url: str) -> None:
        self._dsn = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._followings: list[Following] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.connected = False
        """Everybody hears, and has caught up with what was said before."""
        self.proved = -1e9
        """Until when (``time.monotonic``) everything that was said is known to have been delivered."""

    async def follow(
        self, channel: str, deliver: Callable[[str], None], catch_up: Callable[[], Awaitable[None]]
    ) -> Following:
        """Have ``deliver(payload)`` called for each notification on ``channel`` from now on, until ``leave``.

        ``catch_up`` runs each time the connection stands again: what was missed meanwhile must be read there.
        Notifications that arrive while it runs are delivered, so nothing falls between. Raises ``OSError``,
        ``TimeoutError`` or asyncpg's errors when the server cannot be reached.
        """
        following = Following(channel, deliver, catch_up)
        self._followings.append(following)
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="listener")
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await following.heard
        except BaseException:
            await self.leave(following)
            raise
        return following

    async def leave(self, following: Following) -> None:
        """Stop following. Idempotent. The last one closes the connection."""
        if following in self._followings:
            self._followings.remove(following)
        if self._followings or self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _keep(self) -> None:
        wait = _BACKOFF_FIRST
        while True:
            try:
                connection = await asyncpg.connect(
                    self._dsn,
                    timeout=_CONNECT_TIMEOUT,
                    command_timeout=_CONNECT_TIMEOUT,
                    server_settings={"application_name": "ringline-listener"},
                )
                try:
                    await self._listen(connection)
                finally:
                    self.connected = False
                    connection.terminate()
                wait = _BACKOFF_FIRST
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever ended it, the answer is to connect again
                log.warning("listener_lost", channels=self._channels(), error=str(error) or repr(error))
                for following in self._followings:
                    if not following.heard.done():
                        following.heard.set_exception(error)
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            wait = min(wait * 2, _BACKOFF_LAST)

    async def _listen(self, connection: asyncpg.Connection) -> None:
        connection.add_termination_listener(lambda _: self._wake.set())
        channels: set[str] = set()
        returning = [following for following in self._followings if following.heard.done()]
        while not connection.is_closed():
            self._wake.clear()
            for following in list(self._followings):
                if following.channel not in channels:
                    await connection.add_listener(following.channel, self._deliver)
                    channels.add(following.channel)
                if not following.heard.done():
                    following.heard.set_result(None)
            if not self.connected:
                began = time.monotonic()
                await asyncio.gather(*(following.catch_up() for following in returning))
                self.connected, self.proved = True, began
                log.info("listener_connected", channels=self._channels())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _PROVE_INTERVAL)
                continue
            # the server sends what was committed before ahead of this answer
            began = time.monotonic()
            await connection.execute("SELECT 1")
            self.proved = began

    def _channels(self) -> list[str]:
        return sorted({following.channel for following in self._followings})

    def _deliver(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        for following in list(self._followings):
            if following.channel == channel:
                try:
                    following.deliver(str(payload))
                except Exception:
                    log.exception("listener_callback_failed", channel=channel)
