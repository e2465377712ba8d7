"""What a call is charged as: VoIPBIN's ``cost_type``, and the number that its rate is found by.

Source: ``shared/spec/voipbin-api.md`` section 8, "Classification".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ringline.calls.call import ZERO, Call
from ringline.calls.states import Direction
from ringline.sip import e164
from ringline.sip.address import Address

PSTN_OUTGOING: Final = "call_pstn_outgoing"
PSTN_INCOMING: Final = "call_pstn_incoming"
VIRTUAL: Final = "call_vn"
EXTENSION: Final = "call_extension"
DIRECT: Final = "call_direct_ext"


class Kind(NamedTuple):
    """A ``cost_type``, and the number by whose prefix its rate is found (E.164, or ``""``)."""

    cost_type: str
    number: str = ""


def of(call: Call) -> Kind:
    """How one call record is charged. Each leg is a call of its own and charged as itself."""
    if call.direction is Direction.OUTGOING:
        return towards(call.destination)
    destination = call.destination
    if destination.type == "tel" and e164.is_virtual(destination.target):
        # Where no flow of the customer's own answers, a leg goes on to somebody else's number: that one is charged.
        return Kind(EXTENSION) if _dialled_on(call) else Kind(VIRTUAL, destination.target)
    if _has_account(call):
        # what a phone or a trunk dials; a leg that this leads to is charged as itself
        return Kind(EXTENSION)
    if destination.type == "tel":
        return Kind(PSTN_INCOMING, destination.target)
    return Kind(DIRECT) if call.source.type == "sip" else Kind(EXTENSION)


def towards(destination: Address) -> Kind:
    """How an outgoing leg is charged. To a number inside (+899) it is free: the side that answers is charged."""
    if destination.type == "tel" and not e164.is_virtual(destination.target):
        return Kind(PSTN_OUTGOING, destination.target)
    return Kind(EXTENSION)


def onward(call: Call) -> Kind:
    """How the leg will be charged that a phone's or a trunk's call leads to; ``EXTENSION`` where it leads to none."""
    if call.direction is Direction.INCOMING and _dialled_on(call):
        return towards(call.destination)
    return Kind(EXTENSION)


def paid(destinations: Iterable[Address]) -> list[Kind]:
    """The kinds of those legs that can cost anything."""
    return [kind for kind in map(towards, destinations) if kind.cost_type != EXTENSION]


def _has_account(call: Call) -> bool:
    return call.account_id != ZERO or call.source.type in ("extension", "endpoint")


def _dialled_on(call: Call) -> bool:
    return _has_account(call) and call.flow_id == ZERO
