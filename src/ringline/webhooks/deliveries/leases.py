"""Which endpoints are this process's: each is seen to by one worker at a time, so that its order is kept.

A worker that dies is silent; what it had is taken by others when its leases have run out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final
from uuid import UUID, uuid4

from ringline.storage import Database
from ringline.webhooks.deliveries import store

RENEW_SECONDS: Final = 4.0


class Leases:
    """The endpoints of one worker."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.worker = uuid4()
        self.held: set[UUID] = set()
        self._good_until = 0.0
        self._one = asyncio.Lock()

    @property
    def good(self) -> bool:
        """Whether nobody else can have taken what is held."""
        return asyncio.get_running_loop().time() < self._good_until

    async def acquire(self, ids: Iterable[UUID]) -> set[UUID]:
        """Of these, what is ours from now on and was not before."""
        async with self._one:
            wanted = [one for one in ids if one not in self.held]
            if not wanted:
                return set()
            began = asyncio.get_running_loop().time()
            async with self._database.connect() as connection:
                got = await store.acquire(connection, self.worker, wanted)
            if not self.held:
                self._good_until = began + store.LEASE.total_seconds()
            self.held |= got
            return got

    async def renew(self) -> set[UUID]:
        """Keep what is held; what somebody else has taken meanwhile."""
        async with self._one:
            if not self.held:
                return set()
            began = asyncio.get_running_loop().time()
            async with self._database.connect() as connection:
                kept = await store.renew(connection, self.worker)
            self._good_until = began + store.LEASE.total_seconds()
            lost = self.held - kept
            self.held &= kept
            return lost

    async def release(self, ids: Iterable[UUID]) -> None:
        """Give these back: they are nobody's."""
        async with self._one:
            mine = [one for one in ids if one in self.held]
            if not mine:
                return
            self.held.difference_update(mine)
            async with self._database.connect() as connection:
                await store.release(connection, self.worker, mine)
