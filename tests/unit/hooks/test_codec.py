"""What is stored of an event is the event."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from uuid import UUID

import orjson
import pytest

from ringline.hooks.codec import decode, encode
from ringline.vendors.events import Event, Media, OrderChanged, PortChanged, TextArrived, TextChanged
from ringline.vendors.models import Order, PortProgress, Sent

ID = UUID("d157ce07-0360-4cad-9007-c8ab89fccf9c")
FOC = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)

EVENTS = [
    OrderChanged("1", ID, "+15551234567", Order("failed", "o-1", "n-1", "gone")),
    OrderChanged("2", None, "", Order("pending", "o-2")),
    TextArrived("3", "t", "+1", "+2", "hi \U0001f600", (Media("https://x/1", "image/png"),)),
    TextChanged("4", ID, "+2", Sent("delivered", "t-1", "", 3)),
    PortChanged("5", None, PortProgress("ported", "p-1", "", FOC, MappingProxyType({"+15551234567": "n-1"}))),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_there_and_back(event: Event) -> None:
    stored = encode(event)
    assert stored.event_id == event.event_id
    assert decode(stored.kind, orjson.loads(orjson.dumps(stored.payload))) == event


def test_lanes_tell_things_apart() -> None:
    assert [encode(event).lane for event in EVENTS] == [
        "order +15551234567",
        "order o-2",
        "text +1 +2",
        "sent t-1",
        "port p-1",
    ]


def test_what_postgresql_cannot_hold_is_left_out() -> None:
    stored = encode(TextArrived("a\0", "\0r", "+1", "+2\0", "x\0\ud800y"))
    assert stored.event_id == "a"
    assert stored.lane == "text +1 +2"
    assert stored.payload["text"] == "x?y"


def test_nonsense_is_told() -> None:
    with pytest.raises(ValueError, match="no kind"):
        decode("weather", {})
    with pytest.raises(ValueError, match="validation"):
        decode("order", {"event_id": "x"})
