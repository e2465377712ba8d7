"""What Kamailio has to be told when accounts change: at once, and again until it has heard it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Protocol

import structlog

from ringline.errors import Unavailable

log = structlog.get_logger(__name__)

PATIENCE = 2.0
"""Seconds for which a request waits until Kamailio knows of its change; after that it is told in the background."""
TABLE = "location"


class Kamailio(Protocol):
    """What is needed of it (``routing.KamailioRpc``)."""

    async def call(self, method: str, *params: str | int) -> Any: ...

    async def reload_accounts(self) -> None: ...


class Edge:
    """Keeps Kamailio's memory in step with stored accounts.

    A change is committed before Kamailio is told. While it is away nothing is lost: it reads the accounts when it
    starts, and whatever it has in memory by then is put right as soon as it answers.
    """

    def __init__(self, kamailio: Kamailio, *, retry_delay: float = 1.0, patience: float = PATIENCE) -> None:
        self._kamailio = kamailio
        self._retry_delay = retry_delay
        self._patience = patience
        self._stale = False
        self._gone: dict[str, None] = {}
        self._work: asyncio.Task[None] | None = None

    async def tell(self, *, reload: bool = False, gone: Iterable[str] = ()) -> None:
        """Have it read realms and addresses again (``reload``), and forget all contacts of addresses of record."""
        self._stale = self._stale or reload
        self._gone.update(dict.fromkeys(gone))
        if not (self._stale or self._gone):
            return
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._settle(), name="edge accounts")
        await asyncio.wait([self._work], timeout=self._patience)

    async def close(self) -> None:
        """Stop trying."""
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work

    async def _settle(self) -> None:
        while self._stale or self._gone:
            try:
                await self._step()
            except Unavailable as error:
                log.warning("edge_not_told", error=error.message, contacts_of=len(self._gone))
                await asyncio.sleep(self._retry_delay)

    async def _step(self) -> None:
        if self._stale:
            self._stale = False
            try:
                await self._kamailio.reload_accounts()
            except BaseException:
                self._stale = True
                raise
        # after the reload: what is forgotten cannot come back by an account that is gone
        for aor in list(self._gone):
            await self._kamailio.call("ul.rm", TABLE, aor)
            self._gone.pop(aor, None)
