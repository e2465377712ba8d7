"""What is said to vendors of numbers and texts, and what they say: the same for all of them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal
from uuid import UUID


class Capability(enum.StrEnum):
    """What a vendor may be asked for."""

    SEARCH = "search"
    BUY = "buy"
    RELEASE = "release"
    CONFIGURE_VOICE = "configure_voice"
    CONFIGURE_MESSAGING = "configure_messaging"
    SEND_MESSAGE = "send_message"
    RECEIVE_MESSAGE = "receive_message"
    PORT = "port"
    EMERGENCY_ADDRESS = "emergency_address"


Kind = Literal["local", "toll_free", "mobile", "national"]
"""What sort of normal number it is."""

Feature = Literal["voice", "sms", "mms", "fax", "emergency"]


@dataclass(frozen=True, slots=True)
class Search:
    """Numbers wanted. ``country`` is ISO 3166 alpha-2 in upper case; ``contains`` is digits, with ``*`` for any one.

    ``region`` is what the country calls it: ``CA`` (states and provinces of the US and Canada by their two letters),
    ``Bayern``; ``""`` and ``()`` ask for nothing. ``order`` is of virtual numbers.
    """

    country: str
    kind: Kind | None = None
    region: str = ""
    contains: str = ""
    features: tuple[Feature, ...] = ()
    limit: int = 100
    order: Literal["ascending", "random"] = "ascending"


@dataclass(frozen=True, slots=True)
class Offer:
    """A number that may be bought now."""

    number: str
    country: str
    kind: Kind
    region: str = ""
    city: str = ""
    postal_code: str = ""
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody is when they dial an emergency number, or who owns a number that is ported.

    ``country`` is ISO 3166 alpha-2 in upper case.
    """

    name: str
    street: str
    city: str
    region: str
    postal_code: str
    country: str
    extended: str = ""


@dataclass(frozen=True, slots=True)
class Purchase:
    """A number to buy. ``id`` was stored before the vendor hears of it, and goes along as the vendor's client
    reference wherever it has one: what became of a purchase is found out by it.
    """

    id: UUID
    number: str


OrderState = Literal["pending", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a vendor says of a purchase. ``reference`` is its id of the order, ``number_reference`` of the number.

    ``reason`` is for the customer, where it failed.
    """

    state: OrderState
    reference: str = ""
    number_reference: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A number that we have of a vendor, and what it is to do.

    ``voice`` and ``messaging``: calls come to our edge, texts to our webhook. ``emergency``: where it is, for
    emergency calls.
    """

    number: str
    reference: str
    voice: bool = True
    messaging: bool = True
    t38: bool = False
    emergency: Address | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A text to one handset. ``id`` was stored before the vendor hears of it (see ``Purchase``).

    ``media`` are URLs of pictures and the like: with any of them it is an MMS. ``tm_sent`` is when the vendor was
    first asked, if it was: one that keeps no reference of ours tells texts apart by it.
    """

    id: UUID
    source: str
    destination: str
    text: str
    media: tuple[str, ...] = ()
    tm_sent: datetime | None = None


TextState = Literal["sending", "sent", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a vendor says of a text; ``reason`` is the vendor's code and words where it failed."""

    state: TextState
    reference: str = ""
    reason: str = ""
    parts: int = 0


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter of authorisation: the file as the customer gave it (PDF, PNG or JPEG)."""

    name: str
    content_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Port:
    """Numbers to bring in from another carrier. ``id`` as in ``Purchase``; ``pin`` is the old carrier's.

    ``email`` is the authorised person's; ``bill`` the old carrier's latest one. Not every vendor asks for them.
    """

    id: UUID
    numbers: tuple[str, ...]
    carrier: str
    account: str
    owner: Address
    authorised_person: str
    pin: str = field(default="", repr=False)
    wanted: date | None = None
    letter: Letter | None = None
    email: str = ""
    bill: Letter | None = None


PortState = Literal["draft", "submitted", "in-process", "exception", "foc-confirmed", "ported", "cancelled"]
"""A vendor's word for it, translated. ``exception``: the customer must mend something, ``reason`` says what.
``foc-confirmed``: the old carrier has agreed to a date (firm order commitment).
"""


@dataclass(frozen=True, slots=True)
class PortProgress:
    """What a vendor says of a port."""

    state: PortState
    reference: str = ""
    reason: str = ""
    tm_foc: datetime | None = None
    number_references: Mapping[str, str] = field(default_factory=dict)
