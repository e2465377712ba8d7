"""Handlers of single objects (a channel, a bridge, a playback, a recording) and when to forget them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyee.base import EventEmitter

Event = dict[str, Any]

ANY = "*"
"""Stands for every type of event."""

GONE = "_gone"
"""Type of the event that this module sends to the handlers of an object when it forgets them."""

LEAVING_SECONDS = 60.0
"""A channel that left Stasis may come back (``continue``, then ``Stasis()`` again): its handlers wait this long."""

_NAMED = frozenset({"recording", "device_state", "application", "mailbox"})

FIELDS = {
    "channel": "channel",
    "bridge": "bridge",
    "playback": "playback",
    "recording": "recording",
    "endpoint": "endpoint",
    "device_state": "device_state",
    # fields of Dial and of the transfer events that hold further channels and bridges
    "peer": "channel",
    "caller": "channel",
    "forwarded": "channel",
    "replace_channel": "channel",
    "transferee": "channel",
    "transfer_target": "channel",
    "transferer_first_leg": "channel",
    "transferer_second_leg": "channel",
    "destination_link_first_leg": "channel",
    "destination_link_second_leg": "channel",
    "destination_threeway_channel": "channel",
    "bridge_from": "bridge",
    "transferer_first_leg_bridge": "bridge",
    "transferer_second_leg_bridge": "bridge",
    "destination_threeway_bridge": "bridge",
}
"""Fields of events that hold an object, and its kind."""

_ENDS = {
    "ChannelDestroyed": "channel",
    "BridgeDestroyed": "bridge",
    "PlaybackFinished": "playback",
    "RecordingFinished": "recording",
    "RecordingFailed": "recording",
}


def identity(kind: str, value: dict[str, Any]) -> str:
    """What names an object of ``kind``: some have names, endpoints have two parts, most have ids."""
    if kind in _NAMED:
        return str(value.get("name", ""))
    if kind == "endpoint":
        return f"{value.get('technology', '')}/{value.get('resource', '')}"
    return str(value.get("id", ""))


def objects(event: Event, kind: str) -> dict[str, dict[str, Any]]:
    """The objects of ``kind`` in ``event`` by the name of their field."""
    return {
        field: value
        for field, value in event.items()
        if FIELDS.get(field) == kind and isinstance(value, dict) and value
    }


class _Handlers(EventEmitter):
    """The handlers of one object; ``since`` is the loop's time of the first."""

    def __init__(self, since: float) -> None:
        super().__init__()
        self.since = since


class ObjectHandlers:
    """Emitters by kind and id; each goes with its object."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._emitters: dict[tuple[str, str], _Handlers] = {}
        self._leaving: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._emitters)

    def on(
        self, kind: str, name: str, event_type: str, listener: Callable[[Event], None]
    ) -> Callable[[], None]:
        """Register ``listener``; the returned function ends it."""
        emitter = self._emitters.get((kind, name))
        if emitter is None:
            emitter = self._emitters[kind, name] = _Handlers(self._clock())
        emitter.add_listener(event_type, listener)
        registered = emitter

        def close() -> None:
            if listener in registered.listeners(event_type):
                registered.remove_listener(event_type, listener)
            if not registered.event_names() and self._emitters.get((kind, name)) is registered:
                del self._emitters[kind, name]

        return close

    def emit(self, kind: str, event: Event) -> None:
        """Hand ``event`` (of type ``kind``) to the handlers of the objects it is about, and let the dead rest."""
        emitters = self._emitters
        seen: list[_Handlers] = []
        for field, value in event.items():
            of_kind = FIELDS.get(field)
            if of_kind is None or not isinstance(value, dict):
                continue
            emitter = emitters.get((of_kind, identity(of_kind, value)))
            if emitter is None or emitter in seen:
                continue
            seen.append(emitter)
            emitter.emit(kind, event)
            emitter.emit(ANY, event)
        ends = _ENDS.get(kind)
        if ends is not None and isinstance(gone := event.get(ends), dict):
            self.forget(ends, identity(ends, gone))
        elif kind == "StasisEnd":
            channel_id = event["channel"]["id"]
            if ("channel", channel_id) in emitters:
                self._leaving[channel_id] = self._clock() + LEAVING_SECONDS
        elif kind == "StasisStart":
            self._leaving.pop(event["channel"]["id"], None)

    def forget(self, kind: str, name: str) -> None:
        """The object is gone: so are its handlers, told by a last event of type ``GONE``."""
        if kind == "channel":
            self._leaving.pop(name, None)
        emitter = self._emitters.pop((kind, name), None)
        if emitter is not None:
            emitter.emit(ANY, {"type": GONE})

    def older_than(self, kind: str, age: float) -> list[str]:
        """Ids of the objects of ``kind`` whose handlers were registered more than ``age`` seconds ago."""
        limit = self._clock() - age
        return [
            name
            for (of_kind, name), emitter in self._emitters.items()
            if of_kind == kind and emitter.since < limit
        ]

    def tick(self, now: float) -> None:
        """Forget channels that left Stasis a while ago; nobody told of their end if nobody subscribed to them."""
        while self._leaving:
            channel_id, deadline = next(iter(self._leaving.items()))
            if deadline > now:
                return
            self.forget("channel", channel_id)
