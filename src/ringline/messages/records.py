"""A text before it is stored: one to send, one that has arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

from ringline.numbers import Number
from ringline.sip.address import Address
from ringline.vendors.events import Media

ZERO: Final = UUID(int=0)
INSIDE: Final = "virtual"
"""In place of a vendor for texts between two numbers of the installation."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text to send, checked: ``source`` is a number of the customer's, no destination stands twice.

    ``automatic`` ones are our answers to STOP, HELP and START. ``hops`` counts the flows that answered each other up
    to it.
    """

    id: UUID
    customer_id: UUID
    source: Number
    shown: Address
    destinations: Sequence[Address]
    text: str
    media: tuple[str, ...] = ()
    automatic: bool = False
    activeflow_id: UUID = ZERO
    hops: int = 0

    def target_id(self, number: str) -> UUID:
        """What the vendor is told, and repeats."""
        return uuid5(self.id, number)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A text for a number of ours. ``reference`` is what the ``vendor`` calls it."""

    vendor: str
    reference: str
    number: Number
    source: Address
    text: str
    media: tuple[Media, ...] = ()
    automatic: bool = False
    hops: int = 0

    @property
    def id(self) -> UUID:
        return uuid5(self.number.id, f"{self.vendor} {self.reference}")


def tel(number: str) -> Address:
    """The address of a telephone number."""
    return Address(type="tel", target=number)


def media_rows(media: Sequence[Media]) -> list[dict[str, Any]]:
    """Media as they are stored."""
    return [{"url": one.url, "content_type": one.content_type} for one in media]
