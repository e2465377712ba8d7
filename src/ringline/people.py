"""Accounts of people put together: how they come and go, the mail to them, and the trail of what is changed.

A part of ``ringline.app``, which makes one, starts it with the rest and closes it with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.audit import AuditService, Trail, audit_routes
from ringline.audit.logins import Logins
from ringline.billing import accounts
from ringline.clock import Clock
from ringline.customers import AccesskeyDirectory, AgentDirectory, CustomerDirectory, CustomerService
from ringline.customers.administration import CustomersService, administration_routes
from ringline.customers.entry import Leaving, PasswordResets, Signups, entry_routes
from ringline.customers.entry.letters import Letters
from ringline.customers.removal import Part, Removal
from ringline.housekeeping import Chore
from ringline.http import Route
from ringline.mail import Mailer, MailServer
from ringline.media.address_guard import check_url
from ringline.outbound import store as outbound_store
from ringline.settings import Settings
from ringline.storage import Database


class Call(Protocol):
    """A call that lasts."""

    @property
    def customer_id(self) -> UUID: ...


@dataclass(frozen=True, slots=True)
class Directories:
    """What is known of people, in memory."""

    customers: CustomerDirectory
    agents: AgentDirectory
    keys: AccesskeyDirectory


class People:
    """Everything about accounts that is more than one customer's own."""

    def __init__(self, settings: Settings, database: Database, clock: Clock, known: Directories) -> None:
        self._database = database
        self._known = known
        self._role = settings.role
        self._enders: list[Callable[[], None]] = []
        self.trail = Trail(database, keep_days=settings.audit_keep_days)
        self.logins = Logins(self.trail)
        self.audit = AuditService(database)
        server = settings.smtp_url.get_secret_value()
        self.mailer = Mailer(MailServer.of(server) if server else None, settings.mail_from)
        self._letters = Letters(settings.public_url or settings.api_url)
        self.removal = Removal(database, known.customers, self.trail, clock)
        self.leaving = Leaving(database, known.customers, self.removal)
        self.resets = PasswordResets(database, known.agents, self.trail, self._letters, self.mailer.post)
        self.signups = Signups(
            database,
            (known.customers, known.agents, known.keys),
            self.trail,
            furnish,
            self._letters,
            self.mailer.post,
            enabled=settings.signup_enabled,
            check_url=partial(check_url, allowed=settings.fetch_allowed_networks),
        )

    def routes(self, own: CustomerService) -> list[Route]:
        """The operations of these rooms."""
        known = self._known
        customers = CustomersService(
            self._database,
            (known.customers, known.agents, known.keys),
            own,
            furnish,
            self._letters,
            self.mailer.post,
        )
        return [
            *entry_routes(self.signups, self.resets, self.leaving),
            *administration_routes(customers, self.leaving),
            *audit_routes(self.audit),
        ]

    def end_calls(self, calls: Callable[[], Iterable[Call]], hang_up: Callable[[Any], object]) -> None:
        """Have the calls of customers ended that are deleted, in this process, whichever process deletes them."""
        directory = self._known.customers

        def look() -> None:
            for call in [call for call in calls() if directory.by_id(call.customer_id) is None]:
                hang_up(call)

        directory.watchers.append(look)
        self._enders.append(look)

    def chores(self) -> list[Chore]:
        """What is done now and then."""
        return [Chore("audit", 3600.0, self.trail.sweep)]

    def call_chores(self) -> list[Chore]:
        """What is done where calls are."""

        async def nobodys() -> None:
            # also those that a controller before has left
            for look in self._enders:
                look()

        return [Chore("calls-of-nobody", 10.0, nobodys)]

    async def start(self, belongings: Iterable[Part]) -> None:
        """Begin to write behind, and take up what a former process left undone.

        ``belongings`` are what customers have, in the order in which it is taken down when they are deleted.
        """
        await self.logins.start()
        await self.resets.start()
        if self._role in {"all", "controller"}:
            # where conferences and recordings are in memory
            self.removal.parts += belongings
            await self.removal.start()

    async def close(self) -> None:
        """Stop everything. Idempotent."""
        await self.removal.close()
        await self.resets.close()
        await self.logins.close()
        await self.mailer.close()


async def furnish(connection: AsyncConnection, customer_id: UUID, account_id: UUID, now: datetime) -> None:
    """What other rooms keep for each customer: an account of the free plan, and a list of no countries."""
    await accounts.create(connection, account_id=account_id, customer_id=customer_id, name="Account")
    await outbound_store.ensure(connection, customer_id, now, destination_whitelist=[])
