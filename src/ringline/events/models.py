"""An event: something that happened to a resource, in the words of the API."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

ZERO = UUID(int=0)
_VERSION = 8 << 76 | 2 << 62
_FREE = ((1 << 128) - 1) ^ (15 << 76 | 3 << 62)


def new_id() -> UUID:
    """An id that sorts by time (UUID version 7, RFC 9562 section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76
    value |= secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return UUID(int=value)


def mask(name: str) -> int:
    """What ``derived`` makes the id of a record's event of this name with."""
    return uuid5(NAMESPACE_OID, f"ringline {name}").int


def derived(record_id: UUID, by: int) -> str:
    """The id of an event that follows from its record's, as 32 hexadecimal digits.

    Where ids are random already this is as good as version 5, at a fraction of its cost (there are several for each
    call): version 8, RFC 9562 section 5.8.
    """
    return f"{(record_id.int ^ by) & _FREE | _VERSION:032x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``type`` is the event's name (``call_hangup``), ``resource`` the kind of what it happened to (``call``).

    ``data`` is that resource as its ``GET`` shows it at that moment, as JSON. ``activeflow_id`` is the flow run that
    it belongs to: one with a webhook of its own is told too. ``tm_create`` is when it happened.
    """

    type: str
    customer_id: UUID
    resource: str
    resource_id: UUID
    data: Mapping[str, Any]
    tm_create: datetime
    activeflow_id: UUID = ZERO
    id: UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Published:
    """An event that is committed and has its place among all others.

    ``sequence`` counts the events of its resource from 1 without a gap. ``published`` grows with every event of the
    installation, and no event appears behind one with a greater number: readers go on from the last they have seen.
    """

    event: Event
    sequence: int
    published: int
