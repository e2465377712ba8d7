"""Numbers and texts put together: vendors, orders, messages, ports and the webhooks of vendors.

A part of ``ringline.app``, which makes one, starts it with the rest and closes it with the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

from ringline.billing import BalanceDirectory
from ringline.billing.rates import Rates
from ringline.clock import Clock
from ringline.customers import CustomerDirectory, Identity
from ringline.flows import store as flow_store
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.service import FlowService
from ringline.hooks import Dealer, Intake, hook_routes
from ringline.housekeeping import Chore
from ringline.http import Route
from ringline.messages.composing import Countries
from ringline.messages.room import Messages
from ringline.numbers import (
    NumberDirectory,
    NumberOrders,
    NumberRenewals,
    NumberService,
    NumberShop,
    number_routes,
)
from ringline.numbers.acquiring import acquired
from ringline.numbers.available.http import available_routes
from ringline.numbers.available.service import AvailableNumberService
from ringline.numbers.ports import NumberPorts, PortService, PortSteps, port_routes
from ringline.settings import Settings
from ringline.storage import Bells, Database
from ringline.vendors.events import Consumers
from ringline.vendors.setup import vendors_of

CHANNEL = "ringline_work"
"""Where processes tell each other that there is something to do."""


class Numbering:
    """Everything about numbers and texts that outlives a request."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        *,
        numbers: NumberDirectory,
        customers: CustomerDirectory,
        balances: BalanceDirectory,
        definitions: FlowDefinitions,
        flows: FlowService,
        countries: Countries,
        check_url: Callable[[str], object],
        rates: Rates | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._numbers = numbers
        self._customers = customers
        self._balances = balances
        self._definitions = definitions
        self._flows = flows
        self._bells = Bells(database, CHANNEL, tell=settings.role in {"api", "controller"})
        self.vendors = vendors_of(settings, numbers.virtual)
        self.available = AvailableNumberService(
            self.vendors, lambda number: numbers.by_number(number) is not None, clock
        )
        self.messages = Messages(
            settings,
            database,
            clock,
            self.vendors,
            numbers=numbers,
            customers=customers,
            balances=balances,
            countries=countries,
            check_url=check_url,
            flows=flows,
            stored=flow_store.stored_among,
            ring=self._bells.ring,
        )
        if flows.services is not None:
            flows.services.texts = self.messages.texts
        self.orders = NumberOrders(database, self.vendors, numbers, clock)
        self.renewals = NumberRenewals(database, numbers, customers, balances)
        self.number_service = NumberService(
            database,
            numbers,
            definitions.exists,
            self.orders,
            self.renewals,
            hold_flow=flow_store.hold_flow,
        )
        self.shop = NumberShop(
            database, numbers, self.vendors, self.number_service, self.orders, customers, balances
        )
        self.shop.identity = Identity(required=settings.identity_verification_required)
        if rates is not None:
            self.shop.rates = self.renewals.rates = self.messages.composer.rates = rates
        self.ports = NumberPorts(
            database,
            clock,
            PortSteps(
                database,
                self.vendors,
                clock,
                acquire=acquired,
                acquired=self._acquired,
                hold_flow=flow_store.hold_flow,
            ),
        )
        self.port_service = PortService(database, self.vendors, clock, definitions.exists, self.ports.wake)
        # rooms put themselves in here: what nobody consumes stays stored
        self.consumers = Consumers(
            order=self.orders.changed,
            text_arrived=self.messages.reports.arrived,
            text_changed=self.messages.reports.changed,
            port=self.ports.changed,
        )
        self.dealer = Dealer(database, clock, self.consumers)
        self.hooks = Intake(database, clock, self.vendors, self._hooked)
        self.orders.elsewhere = partial(self._bells.ring, "orders")
        self.ports.elsewhere = partial(self._bells.ring, "ports")

    def routes(self) -> list[Route]:
        """The operations of these rooms."""
        settings = self._settings
        return [
            *available_routes(self.available),
            *number_routes(self.number_service, self.shop, self.renewals),
            *self.messages.routes(),
            *port_routes(self.port_service),
            *hook_routes(self.hooks, settings.public_url or settings.api_url),
        ]

    def chores(self) -> list[Chore]:
        """What they do now and then."""
        return [
            Chore("hooks", 3600.0, self.dealer.sweep),
            Chore("number-renewals", 3600.0, self.renewals.sweep),
            Chore("number-orders", 10.0, self.orders.read_gauges),
            *self.messages.chores(),
            Chore("number-ports", 60.0, self.ports.upkeep),
        ]

    async def start(self) -> None:
        """Take up what a former process left undone."""
        role = self._settings.role
        works = role in {"all", "worker"}
        if role == "worker":
            wakes = {"orders": self.orders.wake, "ports": self.ports.wake, "hooks": self.dealer.wake}
            await self._bells.start({**wakes, "messages": self.messages.wake})
        elif role == "controller":
            await self._bells.start({"messages": self.messages.wake})
        # flows run where calls do: they go on with them when their controller dies
        await self.messages.start(sending=works, starting=role in {"all", "controller"})
        if works:
            await self.orders.start()
            await self.ports.start()
            await self.dealer.start()

    async def close(self) -> None:
        """Stop everything. Idempotent."""
        await self.hooks.close()
        await self.dealer.close()
        await self.ports.close()
        await self.orders.close()
        await self.messages.close()
        await self.vendors.close()
        await self._bells.close()

    def _hooked(self) -> None:
        self.dealer.wake()
        self._bells.ring("hooks")

    async def _acquired(self, number_ids: list[UUID]) -> None:
        """Numbers have come by a port: calls find them, and their vendor is told where calls and texts go."""
        for number_id in number_ids:
            await self._numbers.refresh(number_id)
        self.orders.wake()
