"""What vendors report of their own accord: their webhooks, translated. Any of them may come twice, late, before the
answer to the request that caused it, and in any order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from ringline.vendors.models import Order, PortProgress, Sent


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as it came in. ``url`` is the public one, with its query; header names are in lower case."""

    vendor: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """A purchase went on. ``purchase_id`` where the vendor repeats our reference; else ``order.reference`` tells."""

    event_id: str
    purchase_id: UUID | None
    number: str
    order: Order


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or the like that came with a text: where the vendor keeps it."""

    url: str
    content_type: str


@dataclass(frozen=True, slots=True)
class TextArrived:
    """Somebody texts one of our numbers. ``reference`` is the vendor's id of the text."""

    event_id: str
    reference: str
    source: str
    destination: str
    text: str
    media: tuple[Media, ...] = ()


@dataclass(frozen=True, slots=True)
class TextChanged:
    """A text of ours went on. ``text_id`` where the vendor repeats our reference; else ``sent.reference`` tells."""

    event_id: str
    text_id: UUID | None
    destination: str
    sent: Sent


@dataclass(frozen=True, slots=True)
class PortChanged:
    """A port went on. ``port_id`` where the vendor repeats our reference; else ``progress.reference`` tells."""

    event_id: str
    port_id: UUID | None
    progress: PortProgress


Event = OrderChanged | TextArrived | TextChanged | PortChanged


@dataclass(slots=True)
class Consumers:
    """Who deals with what: each is called with the vendor's name and an event until it returns without an exception.

    The same event may come again after a success, also after a restart: consumers are idempotent. Events that nobody
    consumes stay stored until somebody does.
    """

    order: Callable[[str, OrderChanged], Awaitable[None]] | None = None
    text_arrived: Callable[[str, TextArrived], Awaitable[None]] | None = None
    text_changed: Callable[[str, TextChanged], Awaitable[None]] | None = None
    port: Callable[[str, PortChanged], Awaitable[None]] | None = None
