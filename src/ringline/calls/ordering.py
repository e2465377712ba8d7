"""Who calls whom, and as whom: the decisions behind every outgoing leg, and the leg's record and request.

``POST /v1.0/calls``, the flow actions ``connect`` and ``call`` and whatever else dials come through here, so that no
leg leaves for the telephone network without a number that the customer owns (``shared/spec/decisions.md`` section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

import structlog

from ringline.calls.call import ZERO, Call
from ringline.calls.caller import Anonymity, Caller, hides, shown_source, shown_user
from ringline.calls.destinations import Destinations, RingMethod, Route
from ringline.calls.limits import Caps, Limits
from ringline.calls.line import LegHooks, Start
from ringline.calls.states import Direction, Status
from ringline.calls.switchboard import CHANNEL_PREFIX, Switchboard
from ringline.customers import Customer, CustomerDirectory, Identity
from ringline.errors import InvalidArgument, NotFound, PermissionDenied, RinglineError
from ringline.http import utc_now
from ringline.numbers import NumberDirectory, resolve_source
from ringline.sip import e164
from ringline.sip.address import Address

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """One outgoing leg: who calls whom, how the caller is shown, and where it is sent."""

    source: Address
    destination: Address
    caller: Caller
    route: Route


@dataclass(frozen=True, slots=True)
class Party:
    """A destination that rings as a groupcall of its own: an agent with the phones of theirs, an extension.

    Within one whose phones ring one after another, an extension with two kinds of phones is a party itself.
    """

    source: Address
    destination: Address
    ring_method: RingMethod
    orders: tuple[Plan, ...]


Plan = Order | Party

MAX_LEGS = 100
"""Phones that may ring for one request, those of agents included; single calls are not counted, they can wait."""
MAX_CALLS = 1000
"""Calls that one request may ask for."""


class Countries(Protocol):
    """Which numbers of the telephone network a customer may call (``outbound.Whitelist``)."""

    def check(self, customer: Customer, number: str, field: str) -> None:
        """Raises ``InvalidArgument`` for one it may not."""


class Money(Protocol):
    """Whether calls are paid (``charging.meters.Meters``)."""

    def check(self, customer_id: UUID, destinations: Iterable[Address]) -> None:
        """Raises ``PaymentRequired``, with what it takes, where these cannot all begin."""

    def reserve(self, customer_id: UUID, destinations: Iterable[Address]) -> AbstractContextManager[None]:
        """As ``check``, and the money is nobody else's within."""


class Gratis:
    """Nothing costs anything."""

    def check(self, customer_id: UUID, destinations: Iterable[Address]) -> None:
        pass

    def reserve(self, customer_id: UUID, destinations: Iterable[Address]) -> AbstractContextManager[None]:
        return nullcontext()


def destinations_of(plans: Iterable[Plan]) -> list[Address]:
    """Whom all legs of these call."""
    return [order.destination for plan in plans for order in orders_of(plan)]


def legs_of(plan: Plan) -> int:
    """How many phones ring for a plan, all of them counted."""
    return len(orders_of(plan))


def orders_of(plan: Plan) -> list[Order]:
    """Every leg of a plan."""
    if isinstance(plan, Order):
        return [plan]
    return [order for one in plan.orders for order in orders_of(one)]


def check_size(plans: Sequence[Plan]) -> None:
    """Raises ``InvalidArgument`` for more phones than one request may ring."""
    legs = sum(map(legs_of, plans))
    if legs > MAX_LEGS:
        message = (
            f"destinations: they have {legs} phones together; {MAX_LEGS} at most can ring for one request"
        )
        raise InvalidArgument(message, details=[{"field": "destinations", "message": message}])


class Ordering:
    """Makes orders, and the calls that carry them out. Looks only into memory."""

    def __init__(
        self,
        switchboard: Switchboard,
        customers: CustomerDirectory,
        numbers: NumberDirectory,
        *,
        sip_domain: str,
        destinations: Destinations | None = None,
        countries: Countries | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Without ``countries`` and ``limits`` everybody may call everywhere, as often as they like."""
        self._switchboard = switchboard
        self._customers = customers
        self._numbers = numbers
        self.money: Money = Gratis()
        self.identity = Identity()
        self._destinations = destinations or Destinations(sip_domain=sip_domain)
        self._countries = countries
        self.limits = limits or Limits(switchboard.tally, lambda _: None, Caps())

    def customer(self, customer_id: UUID) -> Customer:
        """The customer that dials. Raises ``PermissionDenied`` for one that is not active."""
        customer = self._customers.by_id(customer_id)
        if customer is None or customer.status != "active":
            frozen = customer is not None and customer.status == "frozen"
            raise PermissionDenied(
                "The customer is not active; no calls can be placed.",
                reason="ACCOUNT_FROZEN" if frozen else "PERMISSION_DENIED",
            )
        return customer

    def plan(
        self, customer: Customer, source: Address, destination: Address, field: str, anonymous: Anonymity
    ) -> Plan:
        """What an API request asks for. Raises ``InvalidArgument`` naming ``field`` or ``source``, ``NotFound``."""

        def order(one: Address, route: Route) -> Order:
            return self._order(customer, source, one, route, anonymous)

        return self._plan(customer, source, destination, field, order)

    def plans_from(
        self,
        parent: Call,
        source: Address,
        destinations: Sequence[Address],
        anonymous: Anonymity,
        *,
        counted: bool = True,
    ) -> list[Plan]:
        """What a flow that runs on ``parent`` asks for: without a number of its own a leg is anonymous.

        A destination that cannot be called is left out as long as another one can. Raises ``InvalidArgument`` or
        ``NotFound`` where none can, ``PermissionDenied``, and ``LimitReached`` where they are too many calls, unless
        they were ``counted`` before.
        """
        customer = self.customer(parent.customer_id)

        def order(one: Address, route: Route) -> Order:
            return self._order_from(customer, parent, source, one, route, anonymous)

        plans: list[Plan] = []
        faults: list[RinglineError] = []
        for index, destination in enumerate(destinations):
            try:
                plans.append(self._plan(customer, source, destination, f"destinations[{index}]", order))
            except (InvalidArgument, NotFound) as error:
                log.info("destination_left_out", call_id=str(parent.id), why=error.message)
                faults.append(error)
        if not plans:
            raise faults[0]
        if counted:
            self.limits.take(customer.id, sum(map(legs_of, plans)))
            self.money.check(customer.id, destinations_of(plans))
        return plans

    def orders_from(
        self, parent: Call, source: Address, destinations: Sequence[Address], anonymous: Anonymity
    ) -> list[Order]:
        """``plans_from`` for whoever rings single legs: the phones of a party are legs like any other."""
        plans = self.plans_from(parent, source, destinations, anonymous)
        return [order for plan in plans for order in orders_of(plan)]

    def _plan(
        self,
        customer: Customer,
        source: Address,
        destination: Address,
        field: str,
        order: Callable[[Address, Route], Order],
    ) -> Plan:
        found = self._destinations.resolve(customer, destination, field)
        if isinstance(found, Route):
            self._permit(customer, destination, found, field)
            return order(destination, found)
        orders: list[Plan] = []
        faults: list[RinglineError] = []
        for phone in found.destinations:
            try:
                routes = self._destinations.phone(customer, phone, field)
                for route in routes:
                    self._permit(customer, phone, route, field)
                legs = [order(phone, route) for route in routes]
                if len(legs) > 1 and found.ring_method is RingMethod.LINEAR:
                    orders.append(Party(source, phone, RingMethod.RING_ALL, tuple(legs)))
                else:
                    orders += legs
            except (InvalidArgument, NotFound) as error:
                log.info("phone_left_out", customer_id=str(customer.id), why=error.message)
                faults.append(error)
        if not orders:
            raise faults[0]
        return Party(source, destination, found.ring_method, tuple(orders))

    def _permit(self, customer: Customer, destination: Address, route: Route, field: str) -> None:
        if route.telephone:
            self.identity.check(customer, "A call to the telephone network")
        if route.telephone and self._countries is not None:
            self._countries.check(customer, destination.target, f"{field}.target")

    def _order(
        self, customer: Customer, source: Address, destination: Address, route: Route, anonymous: Anonymity
    ) -> Order:
        if destination.type != "tel":
            return self._untouched(customer, source, destination, route, hidden=False)
        if not route.telephone:
            return self._inside(customer, source, destination, route, hides(anonymous))
        if source.type == "tel" and source.target:
            e164.check(source.target, "source.target")
        given = source.target if source.type == "tel" else ""
        resolved = resolve_source(self._numbers, customer, given)
        if resolved.number is None:
            raise InvalidArgument(resolved.problem, details=list(resolved.details))
        shown = shown_source(source, resolved.number.number)
        caller = Caller(resolved.number.number, shown.target_name, hidden=hides(anonymous))
        return Order(shown, destination, caller, route)

    def _order_from(
        self,
        customer: Customer,
        parent: Call,
        source: Address,
        destination: Address,
        route: Route,
        anonymous: Anonymity,
    ) -> Order:
        incoming = parent.anonymous if parent.direction is Direction.INCOMING else None
        hidden = hides(anonymous, incoming)
        if destination.type != "tel":
            # a caller who withheld the number is not given away: never to strangers, to one's own phones when asked
            withheld = bool(incoming) and source.target in ("", parent.source.target)
            hidden = withheld and (route.outside or anonymous != "no")
            return self._untouched(customer, source, destination, route, hidden=hidden)
        if not route.telephone:
            return self._inside(customer, source, destination, route, hidden)
        resolved = resolve_source(self._numbers, customer, source.target if source.type == "tel" else "")
        if resolved.number is None:
            return Order(source, destination, Caller("", hidden=True), route)
        shown = shown_source(source, resolved.number.number)
        return Order(
            shown, destination, Caller(resolved.number.number, shown.target_name, hidden=hidden), route
        )

    def _untouched(
        self, customer: Customer, source: Address, destination: Address, route: Route, *, hidden: bool
    ) -> Order:
        """Phones and SIP hosts are shown the source as it is given, save for a number of somebody else's here."""
        if source.type == "tel" and e164.is_e164(source.target):
            known = self._numbers.by_number(source.target)
            if known is None or known.customer_id == customer.id:
                name = source.target_name or source.name
                return Order(source, destination, Caller(source.target, name, hidden=hidden), route)
        elif source.type in ("sip", "extension", "endpoint") and (user := shown_user(source.target)):
            name = source.target_name or source.name
            return Order(source, destination, Caller("", name, hidden=hidden, user=user), route)
        return self._inside(customer, source, destination, route, hidden)

    def _inside(
        self, customer: Customer, source: Address, destination: Address, route: Route, hidden: bool
    ) -> Order:
        """Between numbers of the installation a virtual number may call too; without any it is anonymous."""
        number = self._numbers.owned(customer.id, source.target) if source.type == "tel" else None
        if number is None or number.status != "active":
            number = resolve_source(self._numbers, customer, "").number
        if number is None:
            return Order(source, destination, Caller("", hidden=True), route)
        shown = shown_source(source, number.number)
        return Order(shown, destination, Caller(number.number, shown.target_name, hidden=hidden), route)

    def record(
        self,
        customer_id: UUID,
        order: Order,
        *,
        master: UUID = ZERO,
        groupcall: UUID = ZERO,
        call_id: UUID | None = None,
    ) -> Call:
        """The call that will carry out an order, at once. Nothing is sent and nothing stored yet."""
        call_id, now = call_id or uuid4(), utc_now()
        return Call(
            id=call_id,
            customer_id=customer_id,
            direction=Direction.OUTGOING,
            source=order.source,
            destination=order.destination,
            channel_id=f"{CHANNEL_PREFIX}{call_id}",
            status=Status.DIALING,
            master_call_id=master,
            groupcall_id=groupcall,
            anonymous=order.caller.hidden,
            tm_create=now,
            tm_dialing=now,
        )

    def dial(
        self, call: Call, order: Order, *, hooks: LegHooks | None = None, start: Start = Start.ON_ANSWER
    ) -> None:
        """Place the call. Never raises: a call that cannot be placed ends."""
        self._switchboard.dial(
            call,
            order.route.channel,
            order.caller.variables(call.customer_id, call.id) | order.route.variables(),
            hooks=hooks,
            start=start,
        )
