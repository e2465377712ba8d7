"""From one stream of events to the handlers that want them, through pyee.

A plain function is called at once, in the order in which Asterisk sent the events, by the code that reads
the socket: it must not block. A coroutine function is queued per channel: in order within a channel,
independent between channels, and however slow it is, reading goes on.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from pyee.base import EventEmitter

from .lanes import Lanes
from .stats import NoObserver, Observer, Stats

log = structlog.get_logger(__name__)

Event = dict[str, Any]
Handler = Callable[..., Any]

ANY = "*"
"""Stands for every type of event."""

LEAVING_SECONDS = 60.0
"""A channel that left Stasis may come back (``continue``, then ``Stasis()`` again): its handlers wait this
long."""

_ENDS = {
    "ChannelDestroyed": "channel",
    "BridgeDestroyed": "bridge",
    "PlaybackFinished": "playback",
    "RecordingFinished": "recording",
    "RecordingFailed": "recording",
}
_FIELDS = {
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
    "bridge_from": "bridge",
    "transferer_first_leg_bridge": "bridge",
    "transferer_second_leg_bridge": "bridge",
}


def identity(kind: str, value: dict[str, Any]) -> str:
    """What names an object of ``kind``: recordings and device states have names, endpoints two parts."""
    if kind in {"recording", "device_state"}:
        return str(value.get("name", ""))
    if kind == "endpoint":
        return f"{value.get('technology', '')}/{value.get('resource', '')}"
    return str(value.get("id", ""))


def objects(event: Event, kind: str) -> dict[str, dict[str, Any]]:
    """The objects of ``kind`` in ``event`` by the name of their field."""
    return {
        field: value
        for field, of_kind in _FIELDS.items()
        if of_kind == kind and isinstance(value := event.get(field), dict) and value
    }


def lane_of(event: Event) -> str:
    """The queue that keeps ``event`` in order: its channel, else its bridge, else one for all others."""
    channel = event.get("channel") or event.get("peer")
    if channel:
        return str(channel.get("id", ""))
    target: str = (event.get("playback") or event.get("recording") or {}).get("target_uri", "")
    if target:
        kind, _, name = target.partition(":")
        return name if kind == "channel" else target
    bridge = event.get("bridge")
    return f"bridge:{bridge.get('id', '')}" if bridge else ""


class Subscription:
    """A registered handler. ``close()`` ends it; closing twice does no harm. Usable as a context manager."""

    __slots__ = ("_close",)

    def __init__(self, close: Callable[[], None]) -> None:
        self._close: Callable[[], None] | None = close

    def close(self) -> None:
        """Call the handler no more. What is queued for it already still reaches it."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Events:
    """Handlers and the way of an event to them."""

    def __init__(self, stats: Stats, observer: Observer | None, queue_size: int) -> None:
        self._stats = stats
        self._observer: Observer = observer or NoObserver()
        self._emitter = EventEmitter()
        self._types: set[str] = set()
        self._objects: dict[tuple[str, str], EventEmitter] = {}
        self._leaving: dict[str, float] = {}
        self._overflowing: set[str] = set()
        self.lanes = Lanes(queue_size, self._handler_failed)

    # -- registering -------------------------------------------------------------------------------

    def on(self, event_type: str, handler: Handler) -> Subscription:
        """``handler(event)`` for each event of the type, or of every type with ``"*"``."""
        listener = self._listener(handler)
        self._emitter.add_listener(event_type, listener)
        self._types.add(event_type)

        def close() -> None:
            self._emitter.remove_listener(event_type, listener)
            if not self._emitter.listeners(event_type):
                self._types.discard(event_type)

        return Subscription(close)

    def on_object(self, kind: str, name: str, event_type: str, handler: Handler) -> Subscription:
        """``handler(event)`` for events about one object, until the object is gone."""
        emitter = self._objects.get((kind, name))
        if emitter is None:
            emitter = self._objects[kind, name] = EventEmitter()
        listener = self._listener(handler)
        emitter.add_listener(event_type, listener)

        def close() -> None:
            if listener in emitter.listeners(event_type):
                emitter.remove_listener(event_type, listener)
            if not emitter.event_names() and self._objects.get((kind, name)) is emitter:
                del self._objects[kind, name]

        return Subscription(close)

    def _listener(self, handler: Handler) -> Callable[..., None]:
        """A function of its own for each registration: one handler may be registered many times."""
        if _is_async(handler):

            def queued(event: Event) -> None:
                self._queue(event, handler)

            return queued

        def inline(event: Event) -> None:
            try:
                result = handler(event)
            except Exception:
                self._handler_failed()
                log.exception("ari_handler_failed", handler=repr(handler), event_type=event.get("type"))
                return
            if result is not None and inspect.iscoroutine(result):
                self._queue(event, _await, result)

        return inline

    # -- dispatching -------------------------------------------------------------------------------

    def dispatch(self, event: Event) -> None:
        """Hand ``event`` to whoever wants it. Never raises for a handler's sake, never waits."""
        kind = event.get("type", "")
        self._stats.events += 1
        types = self._types
        if kind in types:
            self._emitter.emit(kind, event)
        if ANY in types:
            self._emitter.emit(ANY, event)
        if self._objects:
            self._to_objects(kind, event)

    def _to_objects(self, kind: str, event: Event) -> None:
        emitters = self._objects
        seen: list[EventEmitter] = []
        for field, of_kind in _FIELDS.items():
            value = event.get(field)
            if not value or not isinstance(value, dict):
                continue
            emitter = emitters.get((of_kind, identity(of_kind, value)))
            if emitter is None or emitter in seen:
                continue
            seen.append(emitter)
            emitter.emit(kind, event)
            emitter.emit(ANY, event)
        ends = _ENDS.get(kind)
        if ends is not None and isinstance(gone := event.get(ends), dict):
            emitters.pop((ends, identity(ends, gone)), None)
            if ends == "channel":
                self._leaving.pop(gone.get("id", ""), None)
        elif kind == "StasisEnd":
            channel_id = event["channel"]["id"]
            if ("channel", channel_id) in emitters:
                self._leaving[channel_id] = -1.0
        elif kind == "StasisStart":
            self._leaving.pop(event["channel"]["id"], None)

    def _queue(self, event: Event, job: Callable[..., Awaitable[Any]], *args: Any) -> None:
        lane = lane_of(event)
        if self.lanes.put(lane, job, *(args or (event,))):
            if self._overflowing:
                self._overflowing.discard(lane)
            return
        for result in args:
            if inspect.iscoroutine(result):
                result.close()
        self._stats.events_dropped += 1
        self._observer.event_dropped(event.get("type", ""), lane)
        if lane not in self._overflowing:
            # Once per overflow: a thousand lines a second would make the trouble worse. The counter has
            # them all.
            self._overflowing.add(lane)
            log.error("ari_queue_full", lane=lane, event_type=event.get("type"), hint="a handler is too slow")

    def _handler_failed(self) -> None:
        self._stats.handlers_failed += 1

    # -- keeping house -----------------------------------------------------------------------------

    @property
    def object_count(self) -> int:
        """Objects with handlers of their own."""
        return len(self._objects)

    def names(self, kind: str) -> list[str]:
        """Ids of the objects of ``kind`` that have handlers of their own."""
        return [name for of_kind, name in self._objects if of_kind == kind]

    def forget(self, kind: str, name: str) -> None:
        """The object is gone: so are its handlers."""
        self._objects.pop((kind, name), None)

    def tick(self, now: float) -> None:
        """Forget channels that left Stasis a while ago and were not told destroyed (nobody subscribed to
        them)."""
        for channel_id, deadline in list(self._leaving.items()):
            if deadline < 0:
                self._leaving[channel_id] = now + LEAVING_SECONDS
            elif deadline <= now:
                del self._leaving[channel_id]
                self.forget("channel", channel_id)
        if self._overflowing and not len(self.lanes):
            self._overflowing.clear()


async def _await(coroutine: Awaitable[Any]) -> None:
    await coroutine


def _is_async(handler: Handler) -> bool:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - looks at how it is called, not whether
    )
