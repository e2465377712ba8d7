"""PostgreSQL's LISTEN on a connection of its own that comes back whenever the server does."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping

import asyncpg
import structlog

log = structlog.get_logger(__name__)

_CONNECT_TIMEOUT = 3.0
_ALIVE_INTERVAL = 15.0
_BACKOFF_FIRST, _BACKOFF_LAST = 0.1, 5.0


class Listener:
    """Calls ``channels[name](payload)`` for each notification.

    ``on_connect`` runs each time the connection stands, after LISTEN: what was missed meanwhile must be read
    there. Notifications that arrive while it runs are delivered, so nothing falls between.
    """

    def __init__(
        self,
        url: str,
        channels: Mapping[str, Callable[[str], None]],
        *,
        on_connect: Callable[[], Awaitable[None]],
    ) -> None:
        self._dsn = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._channels = channels
        self._on_connect = on_connect
        self._task: asyncio.Task[None] | None = None
        self.connected = False

    async def start(self) -> None:
        """Connect in the background and keep doing so until ``close``."""
        self._task = asyncio.create_task(self._keep(), name=f"listener {', '.join(self._channels)}")

    async def close(self) -> None:
        """Stop listening."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

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
                log.warning("listener_lost", channels=list(self._channels), error=str(error) or repr(error))
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            wait = min(wait * 2, _BACKOFF_LAST)

    async def _listen(self, connection: asyncpg.Connection) -> None:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        for channel in self._channels:
            await connection.add_listener(channel, self._deliver)
        await self._on_connect()
        self.connected = True
        log.info("listener_connected", channels=list(self._channels))
        while not lost.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), _ALIVE_INTERVAL)
                continue
            await connection.execute("SELECT 1")

    def _deliver(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        try:
            self._channels[channel](str(payload))
        except Exception:
            log.exception("listener_callback_failed", channel=channel)
