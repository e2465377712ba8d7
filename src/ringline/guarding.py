"""Limits put together: who may ask how often, from where, and how many calls wait.

A part of ``ringline.app``, which makes one, starts it with the rest and closes it with the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import uuid4

from redis.exceptions import RedisError

from ringline.calls.elsewhere import KEEP_SECONDS, Elsewhere
from ringline.calls.limits import Limits
from ringline.calls.pacing import Pacing
from ringline.cluster.census import Census, Report
from ringline.customers import CustomerDirectory
from ringline.customers.attempts import PasswordAttempts
from ringline.customers.doors import AuthDoors
from ringline.errors import Unavailable
from ringline.events.sockets import Sockets
from ringline.http import Route
from ringline.limits.directory import Defaults, LimitDirectory
from ringline.limits.http import limit_routes
from ringline.limits.requests import Rate, Requests
from ringline.limits.service import Fixed, LimitService
from ringline.limits.sharing import Sharing
from ringline.outbound import OutboundDirectory
from ringline.settings import Settings
from ringline.storage import Database, Live
from ringline.storage.scripts import Scripts

SOCKETS_KEEP_SECONDS: Final = 3.0
"""So long the WebSockets of a process that says nothing count: their readers come to another one."""


class CallCounts:
    """Calls of customers, which controllers count together where there are several."""

    def __init__(self, settings: Settings, live: Live, limits: Limits, pacing: Pacing, *, epoch: int) -> None:
        """``epoch``: of the lease under which calls are driven here; 0 where nobody else could drive any."""
        self._drives = bool(epoch)
        self._census: Census | None = None
        if epoch or settings.role == "api":
            elsewhere = Elsewhere(limits, pacing)
            # a successor has the same name, so calls that it takes over count once
            name = settings.asterisk_name if epoch else ""
            self._census = Census(live, "calls", name, elsewhere.mine, elsewhere.heard, keep=KEEP_SECONDS)

    async def start(self) -> None:
        """Tell others of the calls here, and hear of theirs."""
        if self._census is not None and self._drives:
            await self._census.start()

    async def close(self) -> None:
        """Calls that last are the next controller's, and count until that one tells of them."""
        if self._census is not None:
            await self._census.close()

    async def look(self) -> None:
        """For who wants to know and drives nothing: hear of all controllers now. Raises ``Unavailable``."""
        if self._census is None or self._drives:
            return
        try:
            await self._census.exchange()
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(
                "Redis does not answer, and controllers tell there how many calls last."
            ) from error


class Guarding:
    """Everything that limits requests."""

    def __init__(self, settings: Settings, database: Database, live: Live) -> None:
        self._settings = settings
        self._database = database
        scripts = Scripts(live)
        self.doors = AuthDoors(scripts)
        self.guesses = PasswordAttempts(scripts)
        self.directory = LimitDirectory(
            database,
            Defaults(
                Rate(settings.max_requests_per_second, settings.max_requests_burst),
                Rate(
                    settings.max_requests_per_second_per_credential,
                    settings.max_requests_burst_per_credential,
                ),
                settings.max_waiting_calls_per_customer,
            ),
        )
        self.requests = Requests(self.directory.requests, self.directory.credential_requests)
        self.directory.watchers.append(self.requests.changed)
        self._sharing = Sharing(live, self.requests)
        self._live = live
        self._sockets: Census | None = None

    def share(self, sockets: Sockets) -> None:
        """Count WebSockets together with other processes where there may be any."""
        if self._settings.role != "api":
            return

        def heard(told: Mapping[str, Report]) -> None:
            sockets.heard(one.counts for one in told.values())
            self.doors.processes = 1 + len(told)

        name = uuid4().hex
        self._sockets = Census(self._live, "sockets", name, sockets.mine, heard, keep=SOCKETS_KEEP_SECONDS)

    def routes(
        self,
        calls: Limits,
        pacing: Pacing,
        outbound: OutboundDirectory,
        customers: CustomerDirectory,
        counts: CallCounts,
        sockets: Sockets,
    ) -> list[Route]:
        """The operations of limits."""
        settings = self._settings
        fixed = Fixed(settings.max_calls_per_account, settings.message_rate, settings.recording_max_seconds)
        return limit_routes(
            LimitService(
                self._database,
                self.directory,
                self.requests,
                calls,
                pacing,
                outbound,
                customers,
                fixed,
                sockets=sockets,
                look=counts.look,
            )
        )

    async def start(self) -> None:
        """Follow what is set, and count together with other processes where there may be any."""
        await self.directory.start()
        if self._settings.role == "api":
            await self._sharing.start()
        if self._sockets is not None:
            await self._sockets.start()

    async def close(self) -> None:
        """Stop everything. Idempotent."""
        if self._sockets is not None:
            await self._sockets.leave()
        await self._sharing.close()
        await self.doors.close()
        await self.directory.close()
