"""Whose telephone a call is of, and what that telephone means by a name or number that it wants called."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from ringline.calls.call import Call
from ringline.calls.inbound import Refusal
from ringline.calls.states import Direction
from ringline.customers import Customer
from ringline.extensions import Extension
from ringline.phones.arrivals import Meant
from ringline.sip.address import Address


class Extensions(Protocol):
    """``extensions.ExtensionDirectory``."""

    def by_id(self, row_id: UUID) -> Extension | None: ...

    def by_name(self, domain_name: str, extension: str) -> Extension | None: ...


class Customers(Protocol):
    """``customers.CustomerDirectory``."""

    def by_id(self, row_id: UUID) -> Customer | None: ...


class Dialling(Protocol):
    """``phones.PhoneArrivals``."""

    def meant_by(self, customer: Customer, dialled: str) -> Meant | Refusal: ...


class Telephones:
    """Looks only into memory."""

    def __init__(
        self, extensions: Extensions, customers: Customers, dialling: Dialling, *, sip_domain: str
    ) -> None:
        self._extensions = extensions
        self._customers = customers
        self._dialling = dialling
        self._sip_domain = sip_domain

    def account(self, call: Call) -> UUID | None:
        """The extension whose telephone is at the other end; ``None`` for providers, strangers and trunks."""
        side = call.source if call.direction is Direction.INCOMING else call.destination
        if side.type not in ("extension", "endpoint"):
            return None
        found = self._named(call.customer_id, side.target.partition("@")[0])
        return None if found is None else found.id

    def meant(self, call: Call, text: str) -> Address | None:
        """Whom the call's telephone would reach by dialling this: an extension, a number of the telephone network or
        one inside; ``None`` for everything else, service codes among it.
        """
        customer = self._customers.by_id(call.customer_id)
        if customer is None:
            return None
        meant = self._dialling.meant_by(customer, text)
        if isinstance(meant, Refusal) or meant.destination.type not in ("extension", "tel"):
            return None
        return meant.destination

    def _named(self, customer_id: UUID, name: str) -> Extension | None:
        customer = self._customers.by_id(customer_id)
        if customer is None:
            return None
        found = self._extensions.by_name(f"{customer.domain_label}.{self._sip_domain}", name)
        if found is None:
            try:
                found = self._extensions.by_id(UUID(name))
            except ValueError:
                return None
        return found if found is not None and found.customer_id == customer_id else None
