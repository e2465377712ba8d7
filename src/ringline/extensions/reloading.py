"""Kamailio is told when realms or the addresses of trunks may have changed, whoever changed them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

from ringline.errors import Unavailable
from ringline.storage import Mirror

log = structlog.get_logger(__name__)

_PAUSE = 0.1
"""Seconds in which changes gather: a thousand extensions made one after another are some reloads."""
_RETRY = 2.0


class AccountReloads:
    """Runs ``reload`` (``KamailioRpc.reload_accounts``) after each change that one of ``mirrors`` sees, soon."""

    def __init__(self, reload: Callable[[], Awaitable[None]], mirrors: Iterable[Mirror[Any]]) -> None:
        self._reload = reload
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        for mirror in mirrors:
            mirror.watchers.append(self._changed.set)

    async def start(self) -> None:
        """Tell Kamailio once, for it may have started before the last change, and go on."""
        self._changed.set()
        self._task = asyncio.create_task(self._follow(), name="account-reloads")

    async def close(self) -> None:
        """Stop; a Kamailio that starts later reads everything by itself."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(_PAUSE)
            self._changed.clear()
            try:
                await self._reload()
            except Unavailable as error:
                log.warning("account_reload_failed", error=error.message)
                self._changed.set()
                await asyncio.sleep(_RETRY)
