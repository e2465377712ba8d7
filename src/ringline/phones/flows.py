"""The flows of calls that phones make, where no number has one: made when the call starts.

They follow from the call's record and from what is in memory alone, so that a controller that takes over a call
before its flow was stored makes the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID, uuid5

from ringline.calls.call import Call
from ringline.calls.states import Direction
from ringline.customers import Customer
from ringline.flows.snapshot import RawAction
from ringline.phones.arrivals import SERVICE
from ringline.phones.codes import CODES, Speaker, Step
from ringline.sip.address import Address

_NO_JUMP = str(UUID(int=0))


class Customers(Protocol):
    """``customers.CustomerDirectory``."""

    def by_id(self, row_id: UUID) -> Customer | None: ...


class Contacts(Protocol):
    """What is registered (``phones.contacts.Contacts``)."""

    def count(self, customer_id: UUID, extension: str) -> int | None:
        """How many phones, ``None`` where nobody knows."""


class PhoneFlows:
    """Makes them (``flows.service.Generated``)."""

    def __init__(
        self, customers: Customers, shown: Callable[[Customer, str], str], contacts: Contacts
    ) -> None:
        """``shown``: the number that a customer's call to the telephone network shows when this one is asked for."""
        self._customers = customers
        self._shown = shown
        self._contacts = contacts

    async def actions(self, call: Call) -> list[RawAction] | None:
        """``None`` for a call that is none of a phone's or trunk's."""
        if call.direction is not Direction.INCOMING:
            return None
        if call.type == SERVICE:
            return _listed(call, self._service(call))
        if call.destination.type in ("extension", "tel"):
            return _listed(call, [("connect", connecting(call))])
        return None

    def _service(self, call: Call) -> list[Step]:
        code = CODES.get(call.destination.target.partition("@")[0])
        if code is None:
            return []
        customer = self._customers.by_id(call.customer_id)
        trunk = call.source.type != "extension"
        speaker = Speaker(
            extension=call.source.name if trunk else call.source.target,
            customer="" if customer is None else customer.name,
            number="" if customer is None else self._shown(customer, call.source.target if trunk else ""),
            contacts=None if trunk else self._contacts.count(call.customer_id, call.source.target),
            anonymous=call.anonymous,
            trunk=trunk,
        )
        return code.steps(speaker)


def connecting(call: Call) -> dict[str, Any]:
    """The options of the ``connect`` that a dialled number or extension becomes.

    The caller hears the far side before it answers and is told how it refused (VoIPBIN: "anonymous auto").
    """
    source = call.source
    if call.destination.type == "tel" and source.type == "extension":
        # phones are people: which number they show is the customer's to say (its default outgoing number)
        source = Address(type="tel", target_name=source.target_name)
    return {
        "source": source.as_json(),
        "destinations": [call.destination.as_json()],
        "early_media": True,
        "relay_reason": True,
        "anonymous": "auto",
    }


def _listed(call: Call, steps: list[Step]) -> list[RawAction]:
    return [
        {"id": str(uuid5(call.id, f"{index}:{kind}")), "next_id": _NO_JUMP, "type": kind, "option": option}
        for index, (kind, option) in enumerate(steps)
    ]
