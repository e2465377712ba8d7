"""Events of vendors as JSON, and back: what lies in ``hook_events`` between a webhook and who deals with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Final, assert_never

from ringline.vendors.events import Event, OrderChanged, PortChanged, TextArrived, TextChanged

KINDS: Final[Mapping[str, type[Any]]] = {
    "order": OrderChanged,
    "text_arrived": TextArrived,
    "text_changed": TextChanged,
    "port": PortChanged,
}
"""By the name of the consumer (``vendors.events.Consumers``)."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event as it is stored. Events of one ``lane`` are dealt with in the order in which they came."""

    event_id: str
    kind: str
    lane: str
    payload: Any


def encode(event: Event) -> Encoded:
    """What is stored of an event; PostgreSQL's text cannot hold U+0000, so it is left out of all of it."""
    plain = _plain(event)
    kind, lane = _place(event)
    return Encoded(plain["event_id"], kind, _text(lane), plain)


def decode(kind: str, payload: Any) -> Event:
    """The event that ``encode`` was given. Raises ``ValueError`` for what is none (any more)."""
    try:
        event: Event = _reader(kind)(payload)
    except KeyError as unknown:
        raise ValueError(f"there is no kind of event {kind!r}") from unknown
    return event


def _place(event: Event) -> tuple[str, str]:
    """Kind and lane."""
    match event:
        case OrderChanged():
            return "order", f"order {event.number or event.order.reference}"
        case TextArrived():
            return "text_arrived", f"text {event.source} {event.destination}"
        case TextChanged():
            return "text_changed", f"sent {event.sent.reference or event.text_id}"
        case PortChanged():
            return "port", f"port {event.progress.reference or event.port_id}"
    assert_never(event)


@cache
def _reader(kind: str) -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415 - schemas take a while to make, and not at the start

    return TypeAdapter(KINDS[kind]).validate_python


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _text(value: str) -> str:
    """Without what cannot be stored: U+0000 and halves of surrogate pairs."""
    if value.isascii():
        return value.replace("\0", "")
    return value.encode("utf-8", "replace").decode().replace("\0", "")
