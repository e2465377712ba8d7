"""Who calls whom, and as whom: the decisions behind every outgoing leg, and the leg's record and request.

``POST /v1.0/calls``, the flow actions ``connect`` and ``call`` and whatever else dials come through here, so that no
leg leaves for the telephone network without a number that the customer owns (``shared/spec/decisions.md`` section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog

from ringline.calls.call import ZERO, Call
from ringline.calls.caller import Anonymity, Caller, hides, shown_source
from ringline.calls.line import LegHooks, Start
from ringline.calls.states import Direction, Status
from ringline.calls.switchboard import CHANNEL_PREFIX, Switchboard
from ringline.customers import Customer, CustomerDirectory
from ringline.errors import InvalidArgument, PermissionDenied
from ringline.http import utc_now
from ringline.numbers import NumberDirectory, resolve_source
from ringline.sip import e164
from ringline.sip.address import Address

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """One outgoing leg: who calls whom, and how the caller is shown."""

    source: Address
    destination: Address
    caller: Caller


class Ordering:
    """Makes orders, and the calls that carry them out. Looks only into memory."""

    def __init__(
        self,
        switchboard: Switchboard,
        customers: CustomerDirectory,
        numbers: NumberDirectory,
        *,
        sip_domain: str,
    ) -> None:
        self._switchboard = switchboard
        self._customers = customers
        self._numbers = numbers
        self._sip_domain = sip_domain

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

    def order(
        self, customer: Customer, source: Address, destination: Address, field: str, anonymous: Anonymity
    ) -> Order:
        """What an API request asks for. Raises ``InvalidArgument`` naming ``field`` or ``source``."""
        if destination.type != "tel":
            raise InvalidArgument(
                f"{field}.type: {destination.type!r} cannot be called by POST /v1.0/calls yet; use `tel` with a"
                " number in E.164"
            )
        number = e164.check(destination.target, f"{field}.target")
        if e164.is_virtual(number):
            return self._inside(customer, source, destination, hides(anonymous))
        if source.type == "tel" and source.target:
            e164.check(source.target, "source.target")
        given = source.target if source.type == "tel" else ""
        resolved = resolve_source(self._numbers, customer, given)
        if resolved.number is None:
            raise InvalidArgument(resolved.problem, details=list(resolved.details))
        shown = shown_source(source, resolved.number.number)
        caller = Caller(resolved.number.number, shown.target_name, hidden=hides(anonymous))
        return Order(shown, destination, caller)

    def orders_from(
        self, parent: Call, source: Address, destinations: Sequence[Address], anonymous: Anonymity
    ) -> list[Order]:
        """What a flow that runs on ``parent`` asks for: without a number of its own a leg is anonymous.

        A destination that cannot be called is left out as long as another one can. Raises ``InvalidArgument`` where
        none can, ``PermissionDenied``.
        """
        customer = self.customer(parent.customer_id)
        incoming = parent.anonymous if parent.direction is Direction.INCOMING else None
        hidden = hides(anonymous, incoming)
        orders, faults = [], []
        for index, destination in enumerate(destinations):
            try:
                orders.append(
                    self._order_from(customer, source, destination, f"destinations[{index}]", hidden)
                )
            except InvalidArgument as error:
                log.info("destination_left_out", call_id=str(parent.id), why=error.message)
                faults.append(error)
        if not orders:
            raise faults[0]
        return orders

    def _order_from(
        self, customer: Customer, source: Address, destination: Address, field: str, hidden: bool
    ) -> Order:
        if destination.type != "tel":
            raise InvalidArgument(f"{field}.type: {destination.type!r} cannot be called yet; use `tel`")
        if e164.is_virtual(e164.check(destination.target, f"{field}.target")):
            return self._inside(customer, source, destination, hidden)
        resolved = resolve_source(self._numbers, customer, source.target if source.type == "tel" else "")
        if resolved.number is None:
            return Order(source, destination, Caller("", hidden=True))
        shown = shown_source(source, resolved.number.number)
        return Order(shown, destination, Caller(resolved.number.number, shown.target_name, hidden=hidden))

    def _inside(self, customer: Customer, source: Address, destination: Address, hidden: bool) -> Order:
        """Between numbers of the installation a virtual number may call too; without any it is anonymous."""
        number = self._numbers.owned(customer.id, source.target) if source.type == "tel" else None
        if number is None or number.status != "active":
            number = resolve_source(self._numbers, customer, "").number
        if number is None:
            return Order(source, destination, Caller("", hidden=True))
        shown = shown_source(source, number.number)
        return Order(shown, destination, Caller(number.number, shown.target_name, hidden=hidden))

    def record(
        self, customer_id: UUID, order: Order, *, master: UUID = ZERO, call_id: UUID | None = None
    ) -> Call:
        """The call that will carry out an order. Nothing is sent and nothing stored yet."""
        call_id = call_id or uuid4()
        return Call(
            id=call_id,
            customer_id=customer_id,
            direction=Direction.OUTGOING,
            source=order.source,
            destination=order.destination,
            channel_id=f"{CHANNEL_PREFIX}{call_id}",
            status=Status.DIALING,
            master_call_id=master,
            anonymous=order.caller.hidden,
            tm_create=utc_now(),
        )

    def dial(
        self, call: Call, order: Order, *, hooks: LegHooks | None = None, start: Start = Start.ON_ANSWER
    ) -> None:
        """Place the call. Never raises: a call that cannot be placed ends."""
        self._switchboard.dial(
            call,
            f"PJSIP/kamailio/sip:{call.destination.target}@{self._sip_domain}",
            order.caller.variables(call.customer_id, call.id),
            hooks=hooks,
            start=start,
        )
