"""The parts of texts put together."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from ringline.billing import BalanceDirectory
from ringline.clock import Clock
from ringline.customers import CustomerDirectory
from ringline.housekeeping import Chore
from ringline.http import Route
from ringline.messages.composing import Composer, Countries
from ringline.messages.http import message_routes
from ringline.messages.media import Media
from ringline.messages.reports import Reports
from ringline.messages.sending import Sending
from ringline.messages.service import MessageService
from ringline.messages.starting import Flows, Starting, Stored
from ringline.messages.texting import FlowTexts
from ringline.messages.writing import Writer
from ringline.numbers import NumberDirectory
from ringline.settings import Settings
from ringline.storage import Database
from ringline.vendors.registry import Vendors


class Messages:
    """Everything about texts that outlives a request. ``reports`` are the consumers of vendors' events."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        vendors: Vendors,
        *,
        numbers: NumberDirectory,
        customers: CustomerDirectory,
        balances: BalanceDirectory,
        countries: Countries | None,
        check_url: Callable[[str], object],
        flows: Flows,
        stored: Stored,
        ring: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``ring``: tells other processes that there is work of some kind."""
        keep = settings.message_opt_out == "keep"

        def active(customer_id: UUID) -> bool:
            customer = customers.by_id(customer_id)
            return customer is not None and customer.status == "active"

        self.sending = Sending(
            database,
            vendors,
            numbers,
            clock,
            per_second=settings.message_rate,
            optouts=keep,
            active=active,
        )
        self.starting = Starting(database, flows, stored)
        self.writer = Writer(
            numbers,
            active,
            vendors,
            optouts=keep,
            help_text=settings.message_help_text,
            wake=lambda: self.wake(ring),
        )
        self.composer = composer = Composer(customers, numbers, self.writer, balances, countries, check_url)
        self.service = MessageService(database, composer, self.writer)
        self.media = Media(database, vendors)
        self.reports = Reports(database, numbers, active, self.writer)
        self.texts = FlowTexts(database, composer, self.service, clock)

    def routes(self) -> list[Route]:
        """The operations of this room."""
        return message_routes(self.service, self.media)

    def chores(self) -> list[Chore]:
        """What it does now and then."""
        return [Chore("messages", 10.0, self.sending.measure)]

    async def start(self, *, sending: bool = True, starting: bool = True) -> None:
        """Go on with what a former process left: hand texts to vendors, start the flows of those that came."""
        if starting:
            await self.starting.start()
        if sending:
            await self.sending.start()

    async def close(self) -> None:
        """Stop; what was not sent is sent by a successor."""
        await self.starting.close()
        await self.sending.close()

    def wake(self, ring: Callable[[str], None] = lambda _: None) -> None:
        """There is something new."""
        self.sending.wake()
        self.starting.wake()
        ring("messages")
